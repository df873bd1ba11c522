-- Replays of many deliveries, and since when a disabled endpoint has missed
-- events.

ALTER TABLE endpoints ADD COLUMN missed_since INTEGER;

CREATE TABLE replays (
    id         BLOB PRIMARY KEY,
    project    BLOB NOT NULL REFERENCES projects,
    tenant     BLOB NOT NULL,
    endpoint   BLOB NOT NULL,
    mode       INTEGER NOT NULL,
    filter     TEXT NOT NULL,
    rate       INTEGER NOT NULL,
    max        INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    state      INTEGER NOT NULL,
    detail     TEXT,
    position   BLOB,                   -- the delivery, or event, that was looked at last
    all_sent   INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,       -- when the next part is to be sent
    matched    INTEGER NOT NULL,
    sent       INTEGER NOT NULL,
    skipped    INTEGER NOT NULL,
    delivered  INTEGER NOT NULL,       -- counted when all has ended
    failed     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX replays_running ON replays (next_at) WHERE state = 0;
CREATE INDEX replays_of_project ON replays (project, id);

-- Which deliveries a replay sent.
CREATE TABLE replayed (
    replay   BLOB NOT NULL,
    delivery BLOB NOT NULL,
    PRIMARY KEY (replay, delivery)
) STRICT, WITHOUT ROWID;
