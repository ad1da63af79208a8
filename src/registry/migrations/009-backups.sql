-- What was backed up, and how that went. A backup outlives its project, so it refers to none; the
-- server's own have the project ''. The order is this table's, never the clock's.
CREATE TABLE backups (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('credentials', 'db', 'files', 'full', 'host')),
    origin TEXT NOT NULL CHECK (origin IN ('manual', 'pre_restore', 'scheduled')),
    state TEXT NOT NULL CHECK (state IN ('complete', 'failed', 'running')),
    -- Whether a drill has brought it back as it was; NULL where none has tried.
    proven INTEGER CHECK (proven IN (0, 1)),
    actor TEXT NOT NULL,
    made_at TEXT NOT NULL,
    ended_at TEXT,
    bytes INTEGER NOT NULL DEFAULT 0,
    stored INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    -- What it holds, and what the drill found, as documents.
    record TEXT,
    proof TEXT,
    proven_at TEXT,
    -- When it was copied to the repository elsewhere; whether it is still here.
    copied_at TEXT,
    is_local INTEGER NOT NULL DEFAULT 1 CHECK (is_local IN (0, 1)),
    UNIQUE (project, id)
) STRICT;
