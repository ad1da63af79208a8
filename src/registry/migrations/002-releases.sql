-- What was deployed. The order of releases is this table's, never the clock's.
CREATE TABLE releases (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('failed', 'good', 'staged')),
    source TEXT NOT NULL,
    revision TEXT,
    spec TEXT NOT NULL,
    made_at TEXT NOT NULL,
    UNIQUE (project, id)
) STRICT;

-- Every attempt to move a project to a release, and how it ended.
CREATE TABLE deploys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    verb TEXT NOT NULL,
    release TEXT NOT NULL,
    previous TEXT,
    source TEXT NOT NULL,
    revision TEXT,
    actor TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT NOT NULL CHECK (outcome IN ('done', 'failed', 'interrupted', 'running')),
    error TEXT,
    phases TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX deploys_of_a_project ON deploys (project, id);

-- The release that answers, and whether deploys are paused, with the reason.
ALTER TABLE projects ADD COLUMN live TEXT;
ALTER TABLE projects ADD COLUMN paused TEXT;
