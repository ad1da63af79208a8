-- Secrets of projects: their names in the clear, and their values sealed under a key that is in no
-- file of the registry's. `current` is what the next deploy brings, `live` what processes have.
CREATE TABLE secret_names (
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    defined INTEGER NOT NULL DEFAULT 0,
    kind TEXT NOT NULL DEFAULT 'text',
    about TEXT NOT NULL DEFAULT '',
    required INTEGER NOT NULL DEFAULT 0,
    -- How many versions there were: no number is used twice.
    versions INTEGER NOT NULL DEFAULT 0,
    current INTEGER,
    live INTEGER,
    PRIMARY KEY (project, name)
) STRICT;

CREATE TABLE secret_values (
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    key TEXT NOT NULL,
    nonce BLOB NOT NULL,
    text BLOB NOT NULL,
    made_at TEXT NOT NULL,
    actor TEXT NOT NULL,
    PRIMARY KEY (project, name, version),
    FOREIGN KEY (project, name) REFERENCES secret_names (project, name) ON DELETE CASCADE
) STRICT;

-- What a release had when it was live, for the day on which all of it comes back.
CREATE TABLE secret_pins (
    project TEXT NOT NULL,
    release TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (project, release, name),
    FOREIGN KEY (project, release) REFERENCES releases (project, id) ON DELETE CASCADE,
    FOREIGN KEY (project, name, version)
        REFERENCES secret_values (project, name, version) ON DELETE CASCADE
) STRICT;

-- Who read and wrote what. It outlives the project that it is of.
CREATE TABLE secret_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    project TEXT,
    name TEXT,
    version INTEGER,
    what TEXT NOT NULL,
    release TEXT
) STRICT;
CREATE INDEX secret_audit_of_a_project ON secret_audit (project, id);
