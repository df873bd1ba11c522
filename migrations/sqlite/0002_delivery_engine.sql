-- Breakers, limits, order, pauses and filters. lanes.gone is not read any more
-- (it is in lanes.health) and goes with the next version.

ALTER TABLE projects ADD COLUMN paused_at INTEGER;

ALTER TABLE tenants ADD COLUMN paused_at INTEGER;
ALTER TABLE tenants ADD COLUMN contacts TEXT NOT NULL DEFAULT '[]';

-- How calls are made (crates/model/src/calls.rs), and what they need that is
-- secret.
ALTER TABLE endpoints ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE endpoints ADD COLUMN sealed_credentials BLOB;

CREATE TABLE retry_policies (
    project    BLOB NOT NULL REFERENCES projects,
    name       TEXT NOT NULL,
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    version    INTEGER NOT NULL,
    PRIMARY KEY (project, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX retry_policies_by_version ON retry_policies (version);

-- What the owner of a lane knows of its endpoint (crates/model/src/health.rs),
-- and by what it is held.
ALTER TABLE lanes ADD COLUMN hold_by INTEGER;
ALTER TABLE lanes ADD COLUMN health TEXT;

-- The place of a delivery in its order, where its endpoint wants one.
ALTER TABLE deliveries ADD COLUMN order_key TEXT;
ALTER TABLE deliveries ADD COLUMN order_sequence INTEGER;
