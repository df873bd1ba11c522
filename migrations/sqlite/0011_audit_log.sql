-- The audit log of each project. The chain holds digests of the contents, which
-- stand beside it, so that one can be erased and the chain stays whole
-- (crates/model/src/audit/chain.rs).
CREATE TABLE audit_logs (
    project      BLOB PRIMARY KEY REFERENCES projects,
    sealed_key   BLOB NOT NULL,
    first_before INTEGER NOT NULL,   -- the number before the first that is kept
    before       BLOB NOT NULL,      -- its link
    last         INTEGER NOT NULL,
    link         BLOB NOT NULL,
    seal         BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_chain (
    project BLOB NOT NULL REFERENCES projects,
    number  INTEGER NOT NULL,
    id      BLOB NOT NULL,
    at      INTEGER NOT NULL,
    digest  BLOB NOT NULL,
    link    BLOB NOT NULL,
    erasure BLOB,                    -- which one removed the content
    mark    BLOB,                    -- and its keyed hash
    PRIMARY KEY (project, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_contents (
    project BLOB NOT NULL,
    number  INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL,
    tenant  BLOB,
    content TEXT NOT NULL,
    PRIMARY KEY (project, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_contents_of_tenant ON audit_contents (project, tenant, number) WHERE tenant IS NOT NULL;
CREATE INDEX audit_contents_of_target ON audit_contents (project, target, number);
