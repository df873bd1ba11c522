-- What a product opens for its customers. Tokens and codes are hashes.
CREATE TABLE portal_sessions (
    id         UUID PRIMARY KEY,
    project    UUID NOT NULL REFERENCES projects,
    tenant     UUID NOT NULL,
    opened_by  UUID NOT NULL,      -- a key, which may be gone
    scopes     TEXT NOT NULL,
    origins    TEXT NOT NULL,
    theme      TEXT NOT NULL,
    locale     TEXT,
    page       TEXT,
    token      BYTEA NOT NULL UNIQUE,
    code       BYTEA,               -- until it was exchanged
    code_until BIGINT NOT NULL,
    page_token BYTEA UNIQUE,        -- what it was exchanged for
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at   BIGINT,
    version    BIGINT NOT NULL
);
CREATE INDEX portal_sessions_by_version ON portal_sessions (version);
CREATE INDEX portal_sessions_of_tenant ON portal_sessions (tenant, expires_at);
CREATE INDEX portal_sessions_by_key ON portal_sessions (opened_by) WHERE ended_at IS NULL;
CREATE INDEX portal_sessions_by_end ON portal_sessions (expires_at);
