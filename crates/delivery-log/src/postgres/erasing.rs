//! Removing events for ever.

use sqlx::PgConnection;
use uuid::Uuid;

use model::ids::{DeliveryId, EndpointId, TenantId};

use super::shared::erasures::Removed;
use super::statements::last_delivery;

/// Takes away all that endpoints of a tenant are known by, and their secrets.
pub(super) const SCRUB_ENDPOINTS: &str = "UPDATE endpoints SET url = 'https://erased.invalid/', description = '', \
    subscriptions = '[]', metadata = '{}', options = '{}', sealed_headers = '', sealed_secrets = '', \
    sealed_credentials = NULL, disabled_reason = NULL, subscribed_at = NULL, version = $1 WHERE tenant = $2";

/// The tables that hold what is erased, the small ones first.
pub(super) const TABLES: [&str; 16] = [
    "tenants",
    "endpoints",
    "api_keys",
    "portal_sessions",
    "quarantine",
    "replays",
    "lanes",
    "fan_outs",
    "erasures",
    "erased_events",
    "audit_contents",
    "idempotency_keys",
    "waiting",
    "events",
    "deliveries",
    "attempts",
];

/// What an erasure does not reach.
pub(super) const REMAINS: [&str; 4] = [
    "answers to requests with an Idempotency-Key that the product made about the tenant, or a portal session that had ended before: sealed, for three days",
    "a call that another process had in hand when the erasure began: it may still be made, and is not logged",
    "space of removed rows that PostgreSQL has not vacuumed yet: until autovacuum has come by, mostly within minutes",
    "page images in the write-ahead log, its archive, and base backups: as long as you keep those",
];

/// Removes events of a tenant, or of some of its subjects, whose ids are below `beyond`,
/// at most `limit`, with their deliveries.
pub(super) async fn remove_events(
    connection: &mut PgConnection,
    tenant: TenantId,
    subjects: Option<&[String]>,
    beyond: Option<Uuid>,
    limit: u32,
) -> sqlx::Result<Removed> {
    let events: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM events WHERE tenant = $1 AND ($2::text[] IS NULL OR subject = ANY($2)) \
         AND id < $3 ORDER BY id LIMIT $4",
    )
    .bind(tenant.0)
    .bind(subjects)
    .bind(beyond.unwrap_or(Uuid::max()))
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    let endpoints: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM endpoints WHERE tenant = $1")
        .bind(tenant.0)
        .fetch_all(&mut *connection)
        .await?;
    if events.is_empty() {
        return match subjects {
            Some(_) => Ok(Removed::default()),
            // What a replay made later, and what was written while the events went.
            None => remove_deliveries(connection, &endpoints, limit).await,
        };
    }
    // First, so that no part of an event for many endpoints is written any more; then
    // the events, which a replay holds while it adds deliveries of them.
    for sql in ["DELETE FROM fan_outs WHERE event = ANY($1)", "DELETE FROM events WHERE id = ANY($1)"] {
        sqlx::query(sql).bind(&events).execute(&mut *connection).await?;
    }
    let waiting: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "DELETE FROM waiting WHERE endpoint = ANY($1) AND event = ANY($2) RETURNING endpoint, id",
    )
    .bind(&endpoints)
    .bind(&events)
    .fetch_all(&mut *connection)
    .await?;
    // The deliveries of an event follow it within a second, but for those that a replay
    // of what was missing has added.
    let beyond: Vec<Uuid> = events.iter().map(|event| last_delivery(*event)).collect();
    let ended: Vec<Uuid> = sqlx::query_scalar(
        "DELETE FROM deliveries d USING unnest($1::uuid[], $2::uuid[]) AS e (id, beyond) \
         WHERE d.id > e.id AND d.id < e.beyond AND d.event = e.id RETURNING d.id",
    )
    .bind(&events)
    .bind(&beyond)
    .fetch_all(&mut *connection)
    .await?;
    let added: Vec<Uuid> = sqlx::query_scalar(
        "DELETE FROM deliveries d USING replayed r JOIN replays p ON p.id = r.replay \
         WHERE p.tenant = $1 AND d.id = r.delivery AND d.event = ANY($2) RETURNING d.id",
    )
    .bind(tenant.0)
    .bind(&events)
    .fetch_all(&mut *connection)
    .await?;
    let deliveries: Vec<Uuid> = waiting.iter().map(|(_, id)| *id).chain(ended).chain(added).collect();
    Ok(Removed {
        deliveries: deliveries.len() as u64,
        attempts: remove_attempts(connection, &deliveries).await?,
        withdrawn: withdrawn(&waiting),
        events,
    })
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
