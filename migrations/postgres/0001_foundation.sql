-- Times are microseconds since 1970. Ids are UUIDv7, which sort by the time
-- they were made. Sealed columns are XChaCha20-Poly1305, bound to their row
-- (crates/model/src/vault.rs).

-- What changes seldom. Every change raises configuration.version and stamps
-- the changed row with it, so that a process reads only what is new to it.

CREATE TABLE configuration (
    one     bigint PRIMARY KEY CHECK (one = 1),
    version bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
INSERT INTO configuration VALUES (1, 0);

CREATE TABLE data_keys (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         uuid NOT NULL UNIQUE,
    wrapped    bytea NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE projects (
    id             uuid PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    unknown_tenant text NOT NULL,
    retention_days bigint NOT NULL,
    created_at     bigint NOT NULL,
    updated_at     bigint NOT NULL,
    version        bigint NOT NULL
);
CREATE INDEX projects_by_version ON projects (version);

CREATE TABLE api_keys (
    id               uuid PRIMARY KEY,
    project          uuid NOT NULL REFERENCES projects,
    name             text NOT NULL,
    scopes           text NOT NULL,
    tenant           uuid,
    expires_at       bigint,
    allowed_networks text NOT NULL,
    token            bytea NOT NULL UNIQUE,
    previous_token   bytea,
    previous_until   bigint,
    created_at       bigint NOT NULL,
    updated_at       bigint NOT NULL,
    revoked_at       bigint,
    version          bigint NOT NULL
);
CREATE INDEX api_keys_by_version ON api_keys (version);
CREATE INDEX api_keys_of_project ON api_keys (project, id);

CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    project    uuid NOT NULL REFERENCES projects,
    handle     text COLLATE "C" NOT NULL,
    name       text NOT NULL,
    metadata   text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint,
    version    bigint NOT NULL
);
CREATE UNIQUE INDEX tenants_by_handle ON tenants (project, handle) WHERE deleted_at IS NULL;
CREATE INDEX tenants_by_version ON tenants (version);
CREATE INDEX tenants_of_project ON tenants (project, id);

CREATE TABLE endpoints (
    id              uuid PRIMARY KEY,
    project         uuid NOT NULL REFERENCES projects,
    tenant          uuid NOT NULL REFERENCES tenants,
    url             text NOT NULL,
    description     text NOT NULL,
    subscriptions   text NOT NULL,
    payload         text NOT NULL,
    timeout_ms      bigint NOT NULL,
    status          text NOT NULL,
    disabled_reason text,
    metadata        text NOT NULL,
    sealed_headers  bytea NOT NULL,
    sealed_secrets  bytea NOT NULL,
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL,
    deleted_at      bigint,
    version         bigint NOT NULL
);
CREATE INDEX endpoints_of_tenant ON endpoints (tenant, id);
CREATE INDEX endpoints_by_version ON endpoints (version);

-- One row for each tenant, updated by every publish: room for the next
-- version of a row on the same page, and vacuum before pages fill up.

CREATE TABLE tenant_sequences (
    tenant uuid PRIMARY KEY,
    last   bigint NOT NULL
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);

CREATE TABLE idempotency_keys (
    project     uuid NOT NULL,
    key         text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    event       uuid,                  -- of a publish: what it got
    sequence    bigint,
    status      bigint,                -- of any other request: its answer
    location    text,
    sealed_body bytea,
    expires_at  bigint NOT NULL,
    PRIMARY KEY (project, key)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX idempotency_keys_by_end ON idempotency_keys (expires_at);

-- What was published. Ids begin with their time, so a partition by id is a
-- partition by day, and a lookup by id reads one partition. Large data is
-- kept apart from its row by TOAST. Partitions are made by the program
-- (crates/delivery-log/src/postgres/partitions.rs).

CREATE TABLE events (
    id             uuid NOT NULL,
    project        uuid NOT NULL,
    tenant         uuid NOT NULL,
    sequence       bigint NOT NULL,
    occurred_at    bigint NOT NULL,
    created_at     bigint NOT NULL,
    revision       bigint,
    schema_version integer NOT NULL,
    test           boolean NOT NULL,
    type           text NOT NULL,
    subject        text COLLATE "C" NOT NULL,
    ordering_key   text,               -- null where it is the subject
    labels         text,               -- null where there are none
    unmatched      text,               -- endpoints that did not get it, and why
    data           bytea NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX events_of_tenant ON events (tenant, id);
CREATE INDEX events_of_subject ON events (subject, tenant, id);

-- The ids of an event's deliveries are made right after its own, so they are
-- found without an index of their own: they follow it within a second.

-- What is on its way: small and hot. A row is written when an event is
-- published and deleted when the delivery has ended. Nothing but due_at is
-- indexed that changes, so claiming a row leaves the indexes alone.

CREATE TABLE waiting (
    id             uuid PRIMARY KEY,
    project        uuid NOT NULL,
    tenant         uuid NOT NULL,
    endpoint       uuid NOT NULL,
    event          uuid NOT NULL,
    due_at         bigint NOT NULL,
    claimed        bigint,             -- the epoch in whose owner's hands it is
    schedule_since bigint NOT NULL,
    created_at     bigint NOT NULL,
    updated_at     bigint NOT NULL,
    attempts       integer NOT NULL,
    tries          integer NOT NULL,   -- failures that count in the schedule
    rejections     integer NOT NULL,
    status         smallint NOT NULL CHECK (status IN (0, 1)),
    trigger        smallint NOT NULL,
    last_error     smallint,
    last_status    smallint,
    payload        text NOT NULL,
    public_url     text                -- of a thin payload, as it was at publish
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_scale_factor = 0.5, autovacuum_analyze_scale_factor = 0.5,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX waiting_by_due ON waiting (endpoint, due_at, id);

-- What has ended: written once.

CREATE TABLE deliveries (
    id          uuid NOT NULL,
    project     uuid NOT NULL,
    tenant      uuid NOT NULL,
    endpoint    uuid NOT NULL,
    event       uuid NOT NULL,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL,
    attempts    integer NOT NULL,
    status      smallint NOT NULL CHECK (status IN (2, 3, 4)),
    failure     smallint,
    trigger     smallint NOT NULL,
    last_error  smallint,
    last_status smallint,
    payload     text NOT NULL,
    public_url  text,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint, id);
CREATE INDEX deliveries_failed ON deliveries (endpoint, id) WHERE status = 3;

-- Both, for readers.

CREATE VIEW all_deliveries AS
    SELECT id, project, tenant, endpoint, event, payload, public_url, status, NULL::smallint AS failure,
           due_at, claimed, attempts, trigger, last_error, last_status, created_at, updated_at
    FROM waiting
    UNION ALL
    SELECT id, project, tenant, endpoint, event, payload, public_url, status, failure,
           NULL::bigint, NULL::bigint, attempts, trigger, last_error, last_status, created_at, updated_at
    FROM deliveries;

CREATE TABLE attempts (
    delivery         uuid NOT NULL,
    id               uuid NOT NULL,
    started_at       bigint NOT NULL,
    next_attempt_at  bigint,
    number           integer NOT NULL,
    dns_us           integer,
    connect_us       integer,
    first_byte_us    integer,
    total_us         integer NOT NULL,
    trigger          smallint NOT NULL,
    http_status      smallint,
    error_class      smallint NOT NULL,
    next_reason      smallint NOT NULL,
    truncated        boolean NOT NULL,
    remote_ip        text,
    http_version     text,
    error_detail     text,
    request_headers  text NOT NULL,
    response_headers text,
    body             bytea,
    PRIMARY KEY (delivery, number)
) PARTITION BY RANGE (delivery);

-- What the writer's statement takes: one array of each
-- (crates/delivery-log/src/postgres/composite.rs).

CREATE TYPE tenant_count AS (tenant uuid, events bigint, place text);
CREATE TYPE new_event AS (
    id uuid, project uuid, tenant uuid, place integer, back bigint, occurred_at bigint, revision bigint,
    schema_version integer, test boolean, type text, subject text, ordering_key text, labels text,
    unmatched text, data bytea
);
CREATE TYPE new_key AS (
    project uuid, key text, fingerprint bytea, event uuid, place integer, back bigint, expires_at bigint
);
CREATE TYPE new_delivery AS (
    id uuid, project uuid, tenant uuid, endpoint uuid, event uuid, due_at bigint, claimed bigint,
    trigger smallint, payload text, public_url text
);
CREATE TYPE next_state AS (
    delivery uuid, epoch bigint, ended boolean, status smallint, failure smallint, due_at bigint,
    number integer, tries integer, rejections integer, next_trigger smallint, error_class smallint,
    http_status smallint, at bigint
);
CREATE TYPE new_attempt AS (
    delivery uuid, id uuid, number integer, trigger smallint, started_at bigint, dns_us integer,
    connect_us integer, first_byte_us integer, total_us integer, remote_ip text, http_version text,
    request_headers text, http_status smallint, response_headers text, body bytea, truncated boolean,
    error_class smallint, error_detail text, next_attempt_at bigint, next_reason smallint
);

-- Who may send. wake_at is when somebody should own the lane next; it is 0
-- while somebody does.

CREATE TABLE processes (
    id        uuid PRIMARY KEY,
    joined_at timestamptz NOT NULL,
    beat_at   timestamptz NOT NULL     -- by the database's clock
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE lanes (
    endpoint   uuid PRIMARY KEY,
    owner      uuid,
    epoch      bigint NOT NULL,
    wake_at    bigint NOT NULL,
    hold_until bigint,
    gone       text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lanes_idle ON lanes (wake_at) WHERE owner IS NULL;
CREATE INDEX lanes_owned ON lanes (owner) WHERE owner IS NOT NULL;
