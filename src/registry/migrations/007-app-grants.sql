-- Commands that an operator lets a project's own processes ask for.
CREATE TABLE app_grants (
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    line TEXT NOT NULL,
    PRIMARY KEY (project, line)
) STRICT;
