//! Removing events for ever.

use sqlx::PgConnection;
use uuid::Uuid;

use model::ids::{DeliveryId, EndpointId, ErasureId, TenantId};
use model::names::Subject;

use super::shared::erasures::Removed;
use super::statements::last_delivery;

/// Takes away all that endpoints of a tenant are known by, and their secrets.
pub(super) const SCRUB_ENDPOINTS: &str = "UPDATE endpoints SET url = 'https://erased.invalid/', description = '', \
    subscriptions = '[]', metadata = '{}', options = '{}', sealed_headers = '', sealed_secrets = '', \
    sealed_credentials = NULL, disabled_reason = NULL, subscribed_at = NULL, version = $1 WHERE tenant = $2";

/// The tables that hold what is erased, the small ones first.
pub(super) const TABLES: [&str; 11] = [
    "tenants",
    "endpoints",
    "api_keys",
    "portal_sessions",
    "quarantine",
    "replays",
    "audit_contents",
    "idempotency_keys",
    "events",
    "deliveries",
    "attempts",
];

/// What an erasure does not reach.
pub(super) const REMAINS: [&str; 3] = [
    "answers to requests that the product made about the tenant with an Idempotency-Key: sealed, for three days",
    "space of removed rows that PostgreSQL has not vacuumed yet: until autovacuum has come by, mostly within minutes",
    "page images in the write-ahead log, its archive, and base backups: as long as you keep those",
];

/// Removes events from before an erasure, at most `limit`, with their deliveries.
/// Those that a replay made later are removed when no event is left.
pub(super) async fn remove_events(
    connection: &mut PgConnection,
    tenant: TenantId,
    subject: Option<&Subject>,
    before: ErasureId,
    limit: u32,
) -> sqlx::Result<Removed> {
    let events: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM events WHERE tenant = $1 AND ($2::text IS NULL OR subject = $2) AND id < $3 \
         ORDER BY id LIMIT $4 FOR UPDATE",
    )
    .bind(tenant.0)
    .bind(subject.map(Subject::as_str))
    .bind(before.0)
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    let endpoints: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM endpoints WHERE tenant = $1")
        .bind(tenant.0)
        .fetch_all(&mut *connection)
        .await?;
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return match subject {
            Some(_) => Ok(Removed::default()),
            None => remove_deliveries(connection, &endpoints, limit).await,
        };
    };
    // Events of one subject are few, and all of their deliveries are looked for.
    let beyond = if subject.is_some() { Uuid::max() } else { last_delivery(*last) };
    let waiting: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "DELETE FROM waiting WHERE endpoint = ANY($1) AND event = ANY($2) RETURNING endpoint, id",
    )
    .bind(&endpoints)
    .bind(&events)
    .fetch_all(&mut *connection)
    .await?;
    let ended: Vec<Uuid> = sqlx::query_scalar(
        "DELETE FROM deliveries WHERE endpoint = ANY($1) AND event = ANY($2) AND id > $3 AND id < $4 RETURNING id",
    )
    .bind(&endpoints)
    .bind(&events)
    .bind(first)
    .bind(beyond)
    .fetch_all(&mut *connection)
    .await?;
    let deliveries: Vec<Uuid> = waiting.iter().map(|(_, id)| *id).chain(ended).collect();
    let attempts = remove_attempts(connection, &deliveries).await?;
    for sql in ["DELETE FROM fan_outs WHERE event = ANY($1)", "DELETE FROM events WHERE id = ANY($1)"] {
        sqlx::query(sql).bind(&events).execute(&mut *connection).await?;
    }
    Ok(Removed { events, deliveries: deliveries.len() as u64, attempts, withdrawn: withdrawn(&waiting) })
}

fn withdrawn(waiting: &[(Uuid, Uuid)]) -> Vec<(EndpointId, DeliveryId)> {
    waiting.iter().map(|(endpoint, id)| (EndpointId(*endpoint), DeliveryId(*id))).collect()
}

async fn remove_attempts(connection: &mut PgConnection, deliveries: &[Uuid]) -> sqlx::Result<u64> {
    let removed = sqlx::query("DELETE FROM attempts WHERE delivery = ANY($1)").bind(deliveries);
    Ok(removed.execute(connection).await?.rows_affected())
}

/// Removes what is left of the deliveries of endpoints.
async fn remove_deliveries(
    connection: &mut PgConnection,
    endpoints: &[Uuid],
    limit: u32,
) -> sqlx::Result<Removed> {
    let waiting: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "DELETE FROM waiting WHERE id IN (SELECT id FROM waiting WHERE endpoint = ANY($1) LIMIT $2) \
         RETURNING endpoint, id",
    )
    .bind(endpoints)
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    let ended: Vec<Uuid> = sqlx::query_scalar(
        "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE endpoint = ANY($1) LIMIT $2) \
         RETURNING id",
    )
    .bind(endpoints)
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    let deliveries: Vec<Uuid> = waiting.iter().map(|(_, id)| *id).chain(ended).collect();
    Ok(Removed {
        events: Vec::new(),
        deliveries: deliveries.len() as u64,
        attempts: remove_attempts(connection, &deliveries).await?,
        withdrawn: withdrawn(&waiting),
    })
}
