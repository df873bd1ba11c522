-- The catalogue of event types with versions of their schemas, and events that
-- wait because they do not fit theirs.
--
-- Columns are added with constant defaults, which rewrites no table. The new
-- type stands beside the old one, which processes of the version before use.

ALTER TABLE projects
    ADD COLUMN undeclared_types text NOT NULL DEFAULT 'accept',
    ADD COLUMN validation       text NOT NULL DEFAULT 'reject';

-- When each of the subscriptions was made; null where that is when the
-- endpoint was.
ALTER TABLE endpoints ADD COLUMN subscribed_at text;

-- The data in versions before that of the event, for endpoints that are pinned
-- to them: a JSON object with their numbers.
ALTER TABLE events ADD COLUMN older bytea;

CREATE TYPE event_to_come AS (
    id uuid, project uuid, tenant uuid, place integer, back bigint, occurred_at bigint, revision bigint,
    schema_version integer, test boolean, type text, subject text, ordering_key text, labels text,
    unmatched text, data bytea, older bytea
);

CREATE TABLE event_types (
    project     uuid NOT NULL REFERENCES projects,
    name        text COLLATE "C" NOT NULL,
    description text NOT NULL,
    size_budget integer,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL,
    deleted_at  bigint,
    version     bigint NOT NULL,
    PRIMARY KEY (project, name)
);
CREATE INDEX event_types_by_version ON event_types (version);

CREATE TABLE event_type_versions (
    project       uuid NOT NULL,
    name          text COLLATE "C" NOT NULL,
    number        integer NOT NULL,
    schema        text NOT NULL,
    example       text,
    changelog     text NOT NULL,
    status        smallint NOT NULL,
    deprecated_at bigint,
    sunset_at     bigint,
    successor     integer,
    downgrade     text,
    relation      smallint NOT NULL,   -- what it is to the version before
    told          integer NOT NULL,    -- notices before the sunset that were sent
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL,
    PRIMARY KEY (project, name, number),
    FOREIGN KEY (project, name) REFERENCES event_types
);

CREATE TABLE quarantine (
    id         uuid PRIMARY KEY,
    project    uuid NOT NULL REFERENCES projects,
    tenant     uuid NOT NULL,
    definition text NOT NULL,
    data       bytea NOT NULL,
    faults     text NOT NULL,
    state      smallint NOT NULL,
    event      uuid,                   -- what it became when it was released
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE INDEX quarantine_of_project ON quarantine (project, id);
CREATE INDEX quarantine_held ON quarantine (project) WHERE state = 0;
