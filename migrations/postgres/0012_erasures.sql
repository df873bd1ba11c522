-- Erasures, which are their own receipts.
CREATE TABLE erasures (
    id         uuid PRIMARY KEY,
    project    uuid NOT NULL REFERENCES projects,
    handle     text NOT NULL,
    tenants    text NOT NULL,         -- a JSON list of their ids
    subject    text,
    reason     text NOT NULL,
    state      bigint NOT NULL,
    erased     text NOT NULL,         -- how many of each, as a JSON object
    key_after  text COLLATE "C" NOT NULL,         -- idempotency keys up to here were looked at
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE INDEX erasures_of_project ON erasures (project, id);
CREATE INDEX erasures_running ON erasures (id) WHERE state = 0;

-- The events that an erasure has removed, until their idempotency keys are, too.
CREATE TABLE erased_events (
    erasure uuid NOT NULL,
    event   uuid NOT NULL,
    PRIMARY KEY (erasure, event)
);
