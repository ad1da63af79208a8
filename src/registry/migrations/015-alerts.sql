-- What is wrong, since when, and who was told of it by which channel. What is over stays until
-- those who heard of it have heard that, too.
CREATE TABLE alerts (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    since TEXT NOT NULL,
    over_at TEXT
) STRICT;

CREATE TABLE alerts_told (
    key TEXT NOT NULL REFERENCES alerts (key) ON DELETE CASCADE,
    channel TEXT NOT NULL,
    told_at TEXT NOT NULL,
    PRIMARY KEY (key, channel)
) STRICT;
