//! Numbers of events: each tenant counts its own, in the order of commits.

use std::collections::HashMap;

use sqlx::{Row, SqliteConnection};

use model::ids::TenantId;

use super::multi_row::{MultiRow, Part, bind_rows};

/// Writes the last numbers of tenants.
pub(super) const SEQUENCES: Part = Part {
    before: "WITH new (tenant, last) AS (VALUES",
    columns: 2,
    after: ") INSERT INTO tenant_sequences (tenant, last) SELECT tenant, last FROM new \
            WHERE tenant IS NOT NULL ON CONFLICT (tenant) DO UPDATE SET last = excluded.last",
};

/// The last sequence number of tenants that published lately. The writer is
/// the only one that counts, so it need not ask each time.
#[derive(Debug, Default)]
pub(super) struct Sequences(HashMap<TenantId, u64>);

impl Sequences {
    /// So many tenants are remembered.
    const MAX: usize = 100_000;

    /// Forgets everything, because what was counted was not committed.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Reads those that are not remembered.
    pub(super) async fn load(
        &mut self,
        connection: &mut SqliteConnection,
        tenants: &[TenantId],
    ) -> sqlx::Result<()> {
        const WANTED: Part = Part {
            before: "WITH wanted (tenant) AS (VALUES",
            columns: 1,
            after: ") SELECT w.tenant, s.last FROM wanted w \
                    LEFT JOIN tenant_sequences s ON s.tenant = w.tenant WHERE w.tenant IS NOT NULL",
        };
        static LOAD: MultiRow = MultiRow::new(&[WANTED]);
        if self.0.len() > Self::MAX {
            self.0.clear();
        }
        let mut unknown: Vec<TenantId> =
            tenants.iter().filter(|t| !self.0.contains_key(t)).copied().collect();
        unknown.sort_unstable();
        unknown.dedup();
        for piece in LOAD.pieces(&unknown) {
            let query = sqlx::query(piece.sql);
            let query = bind_rows(query, piece.rows.iter(), piece.places, WANTED.columns, |query, tenant| {
                query.bind(tenant.0)
            });
            for row in query.fetch_all(&mut *connection).await? {
                let last: Option<i64> = row.try_get(1)?;
                self.0.insert(TenantId(row.try_get(0)?), last.unwrap_or(0) as u64);
            }
        }
        Ok(())
    }

    /// The next number of a tenant that was loaded.
    pub(super) fn next(&mut self, tenant: TenantId) -> u64 {
        let last = self.0.entry(tenant).or_default();
        *last += 1;
        *last
    }
}
