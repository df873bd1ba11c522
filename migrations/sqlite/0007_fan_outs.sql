-- Events of which a part of the deliveries is written, and for whom the others are.
CREATE TABLE fan_outs (
    event    INTEGER PRIMARY KEY REFERENCES events (position) ON DELETE CASCADE,
    targets  BLOB NOT NULL,      -- each an endpoint and a version, or 0
    written  INTEGER NOT NULL,   -- how many of them have their delivery
    moved_at INTEGER NOT NULL
) STRICT;
