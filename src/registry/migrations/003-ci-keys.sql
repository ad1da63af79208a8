-- Keys that may ask the gate, and nothing else: whole lines of authorized_keys.
CREATE TABLE ci_keys (
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    line TEXT NOT NULL,
    PRIMARY KEY (project, line)
) STRICT;
