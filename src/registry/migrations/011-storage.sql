-- Projects with a bucket of object storage, who may read it, and where their site shows it.
CREATE TABLE storage (
    project TEXT PRIMARY KEY REFERENCES projects (name) ON DELETE CASCADE,
    policy TEXT NOT NULL CHECK (policy IN ('private', 'public-read')),
    path TEXT
) STRICT;
