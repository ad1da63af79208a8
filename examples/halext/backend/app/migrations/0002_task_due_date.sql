-- May be null: the release before this one still writes tasks while the deploy runs.
ALTER TABLE tasks ADD COLUMN due_date TIMESTAMPTZ;
