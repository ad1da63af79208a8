-- Whether a project's Redis is an instance of its own instead of a number of the server's.
ALTER TABLE projects ADD COLUMN own_redis INTEGER NOT NULL DEFAULT 0;
