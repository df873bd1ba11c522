-- The catalogue of event types with versions of their schemas, and events that
-- wait because they do not fit theirs.

ALTER TABLE projects ADD COLUMN undeclared_types TEXT NOT NULL DEFAULT 'accept';
ALTER TABLE projects ADD COLUMN validation TEXT NOT NULL DEFAULT 'reject';

-- When each of the subscriptions was made; null where that is when the
-- endpoint was.
ALTER TABLE endpoints ADD COLUMN subscribed_at TEXT;

-- The data in versions before that of the event, for endpoints that are pinned
-- to them: a JSON object with their numbers.
ALTER TABLE payloads ADD COLUMN older BLOB;

CREATE TABLE event_types (
    project     BLOB NOT NULL REFERENCES projects,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    size_budget INTEGER,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    deleted_at  INTEGER,
    version     INTEGER NOT NULL,
    PRIMARY KEY (project, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_types_by_version ON event_types (version);

CREATE TABLE event_type_versions (
    project       BLOB NOT NULL,
    name          TEXT NOT NULL,
    number        INTEGER NOT NULL,
    schema        TEXT NOT NULL,
    example       TEXT,
    changelog     TEXT NOT NULL,
    status        INTEGER NOT NULL,
    deprecated_at INTEGER,
    sunset_at     INTEGER,
    successor     INTEGER,
    downgrade     TEXT,
    relation      INTEGER NOT NULL,    -- what it is to the version before
    told          INTEGER NOT NULL,    -- notices before the sunset that were sent
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (project, name, number),
    FOREIGN KEY (project, name) REFERENCES event_types
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    id         BLOB PRIMARY KEY,
    project    BLOB NOT NULL REFERENCES projects,
    tenant     BLOB NOT NULL,
    definition TEXT NOT NULL,
    data       BLOB NOT NULL,
    faults     TEXT NOT NULL,
    state      INTEGER NOT NULL,
    event      BLOB,                   -- what it became when it was released
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX quarantine_of_project ON quarantine (project, id);
CREATE INDEX quarantine_held ON quarantine (project) WHERE state = 0;
