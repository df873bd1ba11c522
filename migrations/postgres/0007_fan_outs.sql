-- Events of which a part of the deliveries is written, and for whom the others are.
CREATE TABLE fan_outs (
    event    uuid PRIMARY KEY,
    targets  bytea NOT NULL,     -- each an endpoint and a version, or 0
    written  integer NOT NULL,   -- how many of them have their delivery
    moved_at bigint NOT NULL
);
