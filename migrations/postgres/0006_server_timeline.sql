-- Which line of history the server writes, and since when that is known. A
-- standby that is promoted begins a new one, and has a clock of its own, by
-- which the heartbeats of before cannot be judged.
CREATE TABLE server_timeline (
    single   smallint PRIMARY KEY DEFAULT 1 CHECK (single = 1),
    timeline text NOT NULL,
    seen_at  timestamptz NOT NULL     -- by the clock of that server
);

INSERT INTO server_timeline (timeline, seen_at)
    SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8), '-infinity';
