-- One row that every registry has: a file without it is none of ours.
CREATE TABLE sentinel (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    words TEXT NOT NULL
) STRICT;
INSERT INTO sentinel VALUES (1, 'hostkit registry');

CREATE TABLE projects (
    name TEXT PRIMARY KEY,
    runtime TEXT NOT NULL,
    uid INTEGER NOT NULL UNIQUE,
    postgres INTEGER NOT NULL,
    start TEXT,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    deleting INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What is handed out. A row belongs to the operation that takes it until that ends well.
CREATE TABLE ports (
    port INTEGER PRIMARY KEY,
    project TEXT NOT NULL,
    role TEXT NOT NULL,
    operation INTEGER,
    UNIQUE (project, role)
) STRICT;

CREATE TABLE redis_databases (
    number INTEGER PRIMARY KEY,
    project TEXT NOT NULL UNIQUE,
    operation INTEGER
) STRICT;

-- Never deleted: a number that was used once is never used again.
CREATE TABLE uids (
    uid INTEGER PRIMARY KEY,
    project TEXT NOT NULL
) STRICT;

CREATE TABLE domains (
    domain TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE
) STRICT;

CREATE TABLE ssh_keys (
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    line TEXT NOT NULL,
    PRIMARY KEY (project, line)
) STRICT;

-- What is being done, and what stood before each step of it.
CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT,
    verb TEXT NOT NULL,
    actor TEXT NOT NULL,
    pid INTEGER NOT NULL,
    way TEXT NOT NULL CHECK (way IN ('finish', 'undo')),
    started_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT
) STRICT;
CREATE INDEX open_operations ON operations (project) WHERE ended_at IS NULL;

CREATE TABLE steps (
    operation INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    step TEXT NOT NULL,
    before TEXT NOT NULL,
    PRIMARY KEY (operation, seq)
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    project TEXT,
    verb TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT,
    milliseconds INTEGER NOT NULL
) STRICT;
CREATE INDEX events_of_a_project ON events (project, id);
