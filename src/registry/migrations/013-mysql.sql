-- Whether a project has a database in MariaDB, and how long the dump of it is that a checkpoint holds.
ALTER TABLE projects ADD COLUMN mysql INTEGER NOT NULL DEFAULT 0;
ALTER TABLE checkpoints ADD COLUMN mysql INTEGER;
