-- States of a project to go back to: its environment, and its database where it has one. The order
-- is this table's. What they hold lies in files that root alone may read.
CREATE TABLE checkpoints (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    id TEXT NOT NULL,
    kind TEXT NOT NULL
        CHECK (kind IN ('auto', 'env', 'manual', 'pre_deploy', 'pre_migration', 'pre_restore')),
    release TEXT,
    dump INTEGER,
    note TEXT,
    actor TEXT NOT NULL,
    made_at TEXT NOT NULL,
    UNIQUE (project, id)
) STRICT;
