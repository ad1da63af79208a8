-- Projects that are to be reached by HTTPS: where their certificate is from, what it holds for and
-- until when, and why there is none or no newer one.
CREATE TABLE tls (
    project TEXT PRIMARY KEY REFERENCES projects (name) ON DELETE CASCADE,
    source TEXT NOT NULL,
    hsts INTEGER NOT NULL DEFAULT 0 CHECK (hsts IN (0, 1)),
    names TEXT,
    issuer TEXT,
    issued_at TEXT,
    expires_at TEXT,
    state TEXT CHECK (state IN ('failed', 'pending')),
    reason TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    next_try TEXT
) STRICT;
