-- What a project is for: dev, prod or staging.
ALTER TABLE projects ADD COLUMN environment TEXT NOT NULL DEFAULT 'prod';
