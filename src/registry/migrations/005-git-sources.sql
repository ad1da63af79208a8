-- Where a project is deployed from when nothing else is said.
CREATE TABLE git_sources (
    project TEXT PRIMARY KEY REFERENCES projects (name) ON DELETE CASCADE,
    url TEXT NOT NULL,
    branch TEXT,
    submodules INTEGER NOT NULL
) STRICT;
