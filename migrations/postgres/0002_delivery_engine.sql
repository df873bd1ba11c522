-- Breakers, limits, order, pauses and filters.
--
-- Columns are added with constant defaults and indexes on small tables, so that
-- no statement rewrites a table or holds a lock for long; processes of the
-- version before go on meanwhile. lanes.gone is not read any more (it is in
-- lanes.health) and goes with the next version.

ALTER TABLE projects ADD COLUMN paused_at bigint;

ALTER TABLE tenants
    ADD COLUMN paused_at bigint,
    ADD COLUMN contacts  text NOT NULL DEFAULT '[]';

-- How calls are made (crates/model/src/calls.rs), and what they need that is
-- secret.
ALTER TABLE endpoints
    ADD COLUMN options            text NOT NULL DEFAULT '{}',
    ADD COLUMN sealed_credentials bytea;

CREATE TABLE retry_policies (
    project    uuid NOT NULL REFERENCES projects,
    name       text COLLATE "C" NOT NULL,
    definition text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint,
    version    bigint NOT NULL,
    PRIMARY KEY (project, name)
);
CREATE INDEX retry_policies_by_version ON retry_policies (version);

-- What the owner of a lane knows of its endpoint (crates/model/src/health.rs),
-- and by what it is held.
ALTER TABLE lanes
    ADD COLUMN hold_by smallint,
    ADD COLUMN health  text;

-- The place of a delivery in its order, where its endpoint wants one.
ALTER TABLE waiting
    ADD COLUMN order_key      text COLLATE "C",
    ADD COLUMN order_sequence bigint;

ALTER TABLE deliveries
    ADD COLUMN order_key      text COLLATE "C",
    ADD COLUMN order_sequence bigint;

CREATE OR REPLACE VIEW all_deliveries AS
    SELECT id, project, tenant, endpoint, event, payload, public_url, status, NULL::smallint AS failure,
           due_at, claimed, attempts, trigger, last_error, last_status, created_at, updated_at,
           order_key, order_sequence, tries
    FROM waiting
    UNION ALL
    SELECT id, project, tenant, endpoint, event, payload, public_url, status, failure,
           NULL::bigint, NULL::bigint, attempts, trigger, last_error, last_status, created_at, updated_at,
           NULL, NULL, NULL
    FROM deliveries;

-- A new type beside the old one, which processes of the version before use.
CREATE TYPE delivery_to_come AS (
    id uuid, project uuid, tenant uuid, endpoint uuid, event uuid, due_at bigint, claimed bigint,
    trigger smallint, payload text, public_url text, order_key text, place integer, back bigint
);
