-- What an operator added to the processes of each release, and timers that are switched off.
CREATE TABLE own_processes (
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    process TEXT NOT NULL,
    PRIMARY KEY (project, name)
) STRICT;

CREATE TABLE timers_off (
    project TEXT NOT NULL REFERENCES projects (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (project, name)
) STRICT;

-- Limits of deploys that differ from the configuration's; 0 is none.
ALTER TABLE projects ADD COLUMN per_hour INTEGER;
ALTER TABLE projects ADD COLUMN pause_after INTEGER;
