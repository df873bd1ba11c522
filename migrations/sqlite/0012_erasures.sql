-- Erasures, which are their own receipts.
CREATE TABLE erasures (
    id         BLOB PRIMARY KEY,
    project    BLOB NOT NULL REFERENCES projects,
    handle     TEXT NOT NULL,
    tenants    TEXT NOT NULL,         -- a JSON list of their ids
    subject    TEXT,
    reason     TEXT NOT NULL,
    state      INTEGER NOT NULL,
    erased     TEXT NOT NULL,         -- how many of each, as a JSON object
    key_after  TEXT NOT NULL,         -- idempotency keys up to here were looked at
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX erasures_of_project ON erasures (project, id);
CREATE INDEX erasures_running ON erasures (id) WHERE state = 0;

-- The events that an erasure has removed, until their idempotency keys are, too.
CREATE TABLE erased_events (
    erasure BLOB NOT NULL,
    event   BLOB NOT NULL,
    PRIMARY KEY (erasure, event)
) STRICT, WITHOUT ROWID;
