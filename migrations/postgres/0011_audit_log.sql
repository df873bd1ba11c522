-- The audit log of each project. The chain holds digests of the contents, which
-- stand beside it, so that one can be erased and the chain stays whole
-- (crates/model/src/audit/chain.rs).
CREATE TABLE audit_logs (
    project      UUID PRIMARY KEY REFERENCES projects,
    sealed_key   BYTEA NOT NULL,
    first_before BIGINT NOT NULL,   -- the number before the first that is kept
    before       BYTEA NOT NULL,      -- its link
    last         BIGINT NOT NULL,
    link         BYTEA NOT NULL,
    seal         BYTEA NOT NULL
);

CREATE TABLE audit_chain (
    project UUID NOT NULL REFERENCES projects,
    number  BIGINT NOT NULL,
    id      UUID NOT NULL,
    at      BIGINT NOT NULL,
    digest  BYTEA NOT NULL,
    link    BYTEA NOT NULL,
    erasure UUID,                    -- which one removed the content
    mark    BYTEA,                    -- and its keyed hash
    PRIMARY KEY (project, number)
);

CREATE TABLE audit_contents (
    project UUID NOT NULL,
    number  BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL,
    tenant  UUID,
    content TEXT NOT NULL,
    PRIMARY KEY (project, number)
);
CREATE INDEX audit_contents_of_tenant ON audit_contents (project, tenant, number) WHERE tenant IS NOT NULL;
CREATE INDEX audit_contents_of_target ON audit_contents (project, target, number);
