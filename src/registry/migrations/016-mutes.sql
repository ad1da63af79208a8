-- Of whose troubles nobody is told for a while: a project's, or with no project everybody's.
CREATE TABLE mutes (
    project TEXT UNIQUE REFERENCES projects (name) ON DELETE CASCADE,
    since TEXT NOT NULL,
    until TEXT NOT NULL,
    actor TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_mute_of_all ON mutes ((1)) WHERE project IS NULL;
