//! Removing events for ever.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use model::ids::{DeliveryId, EndpointId, TenantId};

use super::shared::erasures::Removed;

/// Takes away all that endpoints of a tenant are known by, and their secrets.
pub(super) const SCRUB_ENDPOINTS: &str = "UPDATE endpoints SET url = 'https://erased.invalid/', description = '', \
    subscriptions = '[]', metadata = '{}', options = '{}', sealed_headers = X'', sealed_secrets = X'', \
    sealed_credentials = NULL, disabled_reason = NULL, subscribed_at = NULL, version = $1 WHERE tenant = $2";

/// What an erasure does not reach.
pub(super) const REMAINS: [&str; 2] = [
    "answers to requests with an Idempotency-Key that the product made about the tenant, or a portal session that had ended before: sealed, for three days",
    "backups and other copies of the database file that were made before: until you delete them",
];

/// Removes events of a tenant, or of some of its subjects, whose ids are below `beyond`,
/// at most `limit`, with their deliveries.
pub(super) async fn remove_events(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    subjects: Option<&[String]>,
    beyond: Option<Uuid>,
    limit: u32,
) -> sqlx::Result<Removed> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT position, id FROM events WHERE tenant = ");
    sql.push_bind(tenant.0);
    if let Some(subjects) = subjects {
        sql.push(" AND subject IN (");
        let mut list = sql.separated(", ");
        for subject in subjects {
            list.push_bind(subject);
        }
        sql.push(")");
    }
    if let Some(beyond) = beyond {
        sql.push(" AND id < ").push_bind(beyond);
    }
    sql.push(" LIMIT ").push_bind(limit);
    let events: Vec<(i64, Uuid)> = sql.build_query_as().fetch_all(&mut *connection).await?;
    let mut removed = Removed::default();
    for (event, id) in events {
        let waiting: Vec<(Uuid, Uuid)> =
            sqlx::query_as("SELECT endpoint, id FROM deliveries WHERE event = ?1 AND due_at IS NOT NULL")
                .bind(event)
                .fetch_all(&mut *connection)
                .await?;
        removed.withdrawn.extend(waiting.into_iter().map(|(to, id)| (EndpointId(to), DeliveryId(id))));
        let mut run = async |sql: &'static str| {
            sqlx::query(sql).bind(event).execute(&mut *connection).await.map(|done| done.rows_affected())
        };
        removed.attempts +=
            run("DELETE FROM attempts WHERE delivery IN (SELECT id FROM deliveries WHERE event = ?1)")
                .await?;
        removed.deliveries += run("DELETE FROM deliveries WHERE event = ?1").await?;
        run("DELETE FROM payloads WHERE event = ?1").await?;
        run("DELETE FROM events WHERE position = ?1").await?;
        removed.events.push(id);
    }
    Ok(removed)
}
