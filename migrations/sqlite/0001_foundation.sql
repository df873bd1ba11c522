-- Times are microseconds since 1970. Ids are 16 bytes: UUIDv7, which sort by
-- the time they were made. Sealed columns are XChaCha20-Poly1305, bound to
-- their row (crates/model/src/vault.rs).

-- What changes seldom. Every change raises configuration.version and stamps
-- the changed row with it, so that a process reads only what is new to it.

CREATE TABLE configuration (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO configuration VALUES (1, 0);

CREATE TABLE data_keys (
    number     INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,
    wrapped    BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE projects (
    id             BLOB PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    unknown_tenant TEXT NOT NULL,
    retention_days INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    version        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX projects_by_version ON projects (version);

CREATE TABLE api_keys (
    id                 BLOB PRIMARY KEY,
    project            BLOB NOT NULL REFERENCES projects,
    name               TEXT NOT NULL,
    scopes             TEXT NOT NULL,
    tenant             BLOB,
    expires_at         INTEGER,
    allowed_networks   TEXT NOT NULL,
    token              BLOB NOT NULL UNIQUE,
    previous_token     BLOB,
    previous_until     INTEGER,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    revoked_at         INTEGER,
    version            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_by_version ON api_keys (version);
CREATE INDEX api_keys_of_project ON api_keys (project, id);

CREATE TABLE tenants (
    id         BLOB PRIMARY KEY,
    project    BLOB NOT NULL REFERENCES projects,
    handle     TEXT NOT NULL,
    name       TEXT NOT NULL,
    metadata   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    version    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tenants_by_handle ON tenants (project, handle) WHERE deleted_at IS NULL;
CREATE INDEX tenants_by_version ON tenants (version);
CREATE INDEX tenants_of_project ON tenants (project, id);

CREATE TABLE endpoints (
    id              BLOB PRIMARY KEY,
    project         BLOB NOT NULL REFERENCES projects,
    tenant          BLOB NOT NULL REFERENCES tenants,
    url             TEXT NOT NULL,
    description     TEXT NOT NULL,
    subscriptions   TEXT NOT NULL,
    payload         TEXT NOT NULL,
    timeout_ms      INTEGER NOT NULL,
    status          TEXT NOT NULL,
    disabled_reason TEXT,
    metadata        TEXT NOT NULL,
    sealed_headers  BLOB NOT NULL,
    sealed_secrets  BLOB NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    deleted_at      INTEGER,
    version         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoints_of_tenant ON endpoints (tenant, id);
CREATE INDEX endpoints_by_version ON endpoints (version);

-- What was published. The publisher's bytes stand apart, so that lists read
-- small rows.

CREATE TABLE tenant_sequences (
    tenant BLOB PRIMARY KEY,
    last   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows that are many are numbered in the order in which they came, and every
-- table of them is clustered by that number: appending fills pages from left to
-- right, where a table clustered by id would split them in the middle.

CREATE TABLE events (
    position       INTEGER PRIMARY KEY,
    id             BLOB NOT NULL,
    project        BLOB NOT NULL,
    tenant         BLOB NOT NULL,
    type           TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    subject        TEXT NOT NULL,
    revision       INTEGER,
    occurred_at    INTEGER NOT NULL,
    ordering_key   TEXT,               -- null where it is the subject
    labels         TEXT,               -- null where there are none
    sequence       INTEGER NOT NULL,
    test           INTEGER NOT NULL,
    unmatched      TEXT,               -- endpoints that did not get it, and why
    created_at     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_id ON events (project, id);
CREATE INDEX events_of_tenant ON events (tenant);
CREATE INDEX events_of_subject ON events (subject, tenant);

CREATE TABLE payloads (
    event INTEGER PRIMARY KEY,         -- the position of the event
    data  BLOB NOT NULL
) STRICT;

CREATE TABLE idempotency_keys (
    project     BLOB NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    event       BLOB,                  -- of a publish: what it got
    sequence    INTEGER,
    status      INTEGER,               -- of any other request: its answer
    location    TEXT,
    sealed_body BLOB,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (project, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_end ON idempotency_keys (expires_at);

-- What is on its way, and what became of it. due_at is set exactly while a
-- next attempt is to come, so what waits is a small index of its own.

CREATE TABLE deliveries (
    position       INTEGER PRIMARY KEY,
    id             BLOB NOT NULL,
    project        BLOB NOT NULL,
    tenant         BLOB NOT NULL,
    endpoint       BLOB NOT NULL,
    event          INTEGER NOT NULL,   -- the position of the event
    payload        TEXT NOT NULL,
    public_url     TEXT,               -- of a thin payload, as it was at publish
    status         INTEGER NOT NULL,
    failure        INTEGER,
    due_at         INTEGER,
    claimed        INTEGER,            -- the epoch in whose owner's hands it is
    attempts       INTEGER NOT NULL,
    tries          INTEGER NOT NULL,   -- failures that count in the schedule
    rejections     INTEGER NOT NULL,
    schedule_since INTEGER NOT NULL,
    trigger        INTEGER NOT NULL,
    last_error     INTEGER,
    last_status    INTEGER,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX deliveries_by_id ON deliveries (project, id);
CREATE INDEX deliveries_waiting ON deliveries (endpoint, claimed, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_failed ON deliveries (endpoint) WHERE status = 3;
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint);
CREATE INDEX deliveries_of_event ON deliveries (event);

CREATE TABLE attempts (
    position         INTEGER PRIMARY KEY,
    delivery         BLOB NOT NULL,    -- the id of the delivery
    number           INTEGER NOT NULL,
    id               BLOB NOT NULL,
    trigger          INTEGER NOT NULL,
    started_at       INTEGER NOT NULL,
    dns_us           INTEGER,
    connect_us       INTEGER,
    first_byte_us    INTEGER,
    total_us         INTEGER NOT NULL,
    remote_ip        TEXT,
    http_version     TEXT,
    request_headers  TEXT NOT NULL,
    http_status      INTEGER,
    response_headers TEXT,
    body             BLOB,
    truncated        INTEGER NOT NULL,
    error_class      INTEGER NOT NULL,
    error_detail     TEXT,
    next_attempt_at  INTEGER,
    next_reason      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX attempts_of_delivery ON attempts (delivery, number);

-- Who may send. wake_at is when somebody should own the lane next; it is 0
-- while somebody does.

CREATE TABLE lanes (
    endpoint   BLOB PRIMARY KEY,
    owner      BLOB,
    epoch      INTEGER NOT NULL,
    wake_at    INTEGER NOT NULL,
    hold_until INTEGER,
    gone       TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX lanes_idle ON lanes (wake_at) WHERE owner IS NULL;
CREATE INDEX lanes_owned ON lanes (owner) WHERE owner IS NOT NULL;
