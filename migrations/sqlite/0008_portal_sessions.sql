-- What a product opens for its customers. Tokens and codes are hashes.
CREATE TABLE portal_sessions (
    id         BLOB PRIMARY KEY,
    project    BLOB NOT NULL REFERENCES projects,
    tenant     BLOB NOT NULL,
    opened_by  BLOB NOT NULL,      -- a key, which may be gone
    scopes     TEXT NOT NULL,
    origins    TEXT NOT NULL,
    theme      TEXT NOT NULL,
    locale     TEXT,
    page       TEXT,
    token      BLOB NOT NULL UNIQUE,
    code       BLOB,               -- until it was exchanged
    code_until INTEGER NOT NULL,
    page_token BLOB UNIQUE,        -- what it was exchanged for
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at   INTEGER,
    version    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX portal_sessions_by_version ON portal_sessions (version);
CREATE INDEX portal_sessions_of_tenant ON portal_sessions (tenant, expires_at);
CREATE INDEX portal_sessions_by_key ON portal_sessions (opened_by) WHERE ended_at IS NULL;
CREATE INDEX portal_sessions_by_end ON portal_sessions (expires_at);
