-- Replays of many deliveries, and since when a disabled endpoint has missed
-- events.

ALTER TABLE endpoints ADD COLUMN missed_since bigint;

CREATE TABLE replays (
    id         uuid PRIMARY KEY,
    project    uuid NOT NULL REFERENCES projects,
    tenant     uuid NOT NULL,
    endpoint   uuid NOT NULL,
    mode       smallint NOT NULL,
    filter     text NOT NULL,
    rate       integer NOT NULL,
    max        integer NOT NULL,
    reason     text NOT NULL,
    state      smallint NOT NULL,
    detail     text,
    position   uuid,                   -- the delivery, or event, that was looked at last
    all_sent   boolean NOT NULL,
    next_at    bigint NOT NULL,        -- when the next part is to be sent
    matched    integer NOT NULL,
    sent       integer NOT NULL,
    skipped    integer NOT NULL,
    delivered  integer NOT NULL,       -- counted when all has ended
    failed     integer NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE INDEX replays_running ON replays (next_at) WHERE state = 0;
CREATE INDEX replays_of_project ON replays (project, id);

-- Which deliveries a replay sent.
CREATE TABLE replayed (
    replay   uuid NOT NULL,
    delivery uuid NOT NULL,
    PRIMARY KEY (replay, delivery)
);
