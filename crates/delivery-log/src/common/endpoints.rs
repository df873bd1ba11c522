//! Endpoints, with their secrets sealed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};

use model::attempt::ErrorClass;
use model::audit::Entry;
use model::calls::CallOptions;
use model::clock::Timestamp;
use model::endpoint::{ActiveSecret, CustomHeader, DEFAULT_TIMEOUT, Endpoint, EndpointStatus};
use model::entropy::Entropy;
use model::event_type::{InvalidEventType, Subscription};
use model::ids::{EndpointId, ProjectId, TenantId};
use model::payload::PayloadMode;
use model::secret::SigningSecret;
use model::vault::Vault;

use super::configuration::next_version;
use super::idempotency::Outcome;
use super::rows::{
    broken, coded, count, json, json_list, parsed, status_option, time, time_option, to_json, uuid,
};
use super::sealed::{
    credentials, has_same_credentials, seal_credentials, seal_headers, seal_secrets, unseal,
};
use super::{Connection, Db, Row, Store, filter, lane_rows, lanes, statements, store_error};
use crate::endpoints::{
    COUNTED_BACKLOG, EndpointCreated, EndpointReport, Endpoints, RECENT_ATTEMPTS, RecentAttempt,
    SecretEndpoint,
};
use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::{Edited, Result, View};

pub(crate) fn secret_endpoint(row: &Row, vault: &Vault) -> sqlx::Result<SecretEndpoint> {
    let id = EndpointId(uuid(row, "id")?);
    let headers: Vec<(String, String)> = unseal(row, vault, "sealed_headers", "headers", id)?;
    let secrets: Vec<(String, Option<i64>)> = unseal(row, vault, "sealed_secrets", "secrets", id)?;
    let subscriptions: Vec<String> = json(row, "subscriptions")?;
    let subscribed_at: Vec<i64> = json_list(row, "subscribed_at")?;
    let created_at = time(row, "created_at")?;
    let made_at =
        |place: usize| subscribed_at.get(place).map_or(created_at, |at| Timestamp::from_micros(*at));
    let calls: CallOptions = json(row, "options")?;
    let timeout_ms: i64 = row.try_get("timeout_ms")?;
    let active = |(text, end): (String, Option<i64>)| {
        let bytes = STANDARD.decode(text).map_err(|error| broken("sealed_secrets", error))?;
        let secret = SigningSecret::from_bytes(bytes).map_err(|error| broken("sealed_secrets", error))?;
        Ok(ActiveSecret { secret, expires_at: end.map(Timestamp::from_micros) })
    };
    Ok(SecretEndpoint {
        endpoint: Endpoint {
            id,
            project: ProjectId(uuid(row, "project")?),
            tenant: TenantId(uuid(row, "tenant")?),
            url: parsed(row, "url", str::parse)?,
            description: row.try_get("description")?,
            subscriptions: subscriptions
                .iter()
                .enumerate()
                .map(|(place, text)| Ok(text.parse::<Subscription>()?.made_at(made_at(place))))
                .collect::<Result<_, InvalidEventType>>()
                .map_err(|error| broken("subscriptions", error))?,
            payload: parsed(row, "payload", str::parse::<PayloadMode>)?,
            headers: headers
                .into_iter()
                .map(|(name, value)| CustomHeader { name, value: value.into() })
                .collect(),
            timeout: (!calls.timeout_by_policy).then_some(Duration::from_millis(timeout_ms.max(0) as u64)),
            calls: CallOptions { timeout_by_policy: false, ..calls },
            credentials: credentials(row, vault, id)?,
            status: parsed(row, "status", str::parse::<EndpointStatus>)?,
            disabled_reason: row.try_get("disabled_reason")?,
            missed_since: time_option(row, "missed_since")?,
            metadata: row.try_get("metadata")?,
            created_at,
            updated_at: time(row, "updated_at")?,
        },
        secrets: secrets.into_iter().map(active).collect::<sqlx::Result<_>>()?,
    })
}

fn timeout_ms(endpoint: &Endpoint) -> i64 {
    endpoint.timeout.unwrap_or(DEFAULT_TIMEOUT).as_millis() as i64
}

fn options_text(endpoint: &Endpoint) -> String {
    to_json(&CallOptions { timeout_by_policy: endpoint.timeout.is_none(), ..endpoint.calls.clone() })
}

fn subscriptions_text(endpoint: &Endpoint) -> String {
    to_json(&endpoint.subscriptions.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn subscribed_at_text(endpoint: &Endpoint) -> String {
    to_json(&endpoint.subscriptions.iter().map(|one| one.since().as_micros()).collect::<Vec<_>>())
}

async fn insert(
    connection: &mut Connection,
    new: &SecretEndpoint,
    most: usize,
    vault: &Vault,
    entropy: &dyn Entropy,
) -> sqlx::Result<EndpointCreated> {
    // From here on no other change is made until this one is: the count holds.
    let version = next_version(connection).await?;
    let endpoint = &new.endpoint;
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM endpoints WHERE tenant = $1 AND deleted_at IS NULL")
            .bind(endpoint.tenant.0)
            .fetch_one(&mut *connection)
            .await?;
    if count as usize >= most {
        return Ok(EndpointCreated::TooMany);
    }
    let done = sqlx::query(
        "INSERT INTO endpoints (id, project, tenant, url, description, subscriptions, payload, timeout_ms, \
         status, disabled_reason, metadata, sealed_headers, sealed_secrets, created_at, updated_at, version, \
         options, sealed_credentials, subscribed_at) \
         SELECT $1, project, id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $16, $17, $18 FROM tenants \
         WHERE id = $15 AND deleted_at IS NULL",
    )
    .bind(endpoint.id.0)
    .bind(endpoint.url.as_str())
    .bind(&endpoint.description)
    .bind(subscriptions_text(endpoint))
    .bind(endpoint.payload.as_str())
    .bind(timeout_ms(endpoint))
    .bind(endpoint.status.as_str())
    .bind(endpoint.disabled_reason.as_deref())
    .bind(&endpoint.metadata)
    .bind(seal_headers(vault, endpoint, entropy))
    .bind(seal_secrets(vault, endpoint.id, &new.secrets, entropy))
    .bind(endpoint.created_at.as_micros())
    .bind(endpoint.updated_at.as_micros())
    .bind(version)
    .bind(endpoint.tenant.0)
    .bind(options_text(endpoint))
    .bind(seal_credentials(vault, endpoint, entropy))
    .bind(subscribed_at_text(endpoint))
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(EndpointCreated::NoTenant);
    }
    lane_rows::create(connection, endpoint.id).await?;
    Ok(EndpointCreated::Done)
}

/// What an update writes sealed.
struct Sealed {
    headers: Vec<u8>,
    credentials: Option<Vec<u8>>,
    /// Whether headers or credentials are others than before.
    changed: bool,
}

/// What an update changed that others have to know.
struct Updated {
    /// The URL or the credentials are others, or it was disabled: what it
    /// answered before says nothing any more.
    is_fresh: bool,
}

async fn update(
    connection: &mut Connection,
    new: &Endpoint,
    sealed: Sealed,
    expected: Timestamp,
) -> sqlx::Result<Option<Updated>> {
    let version = next_version(connection).await?;
    let before = sqlx::query(
        "SELECT url, status FROM endpoints WHERE id = $1 AND updated_at = $2 AND deleted_at IS NULL",
    )
    .bind(new.id.0)
    .bind(expected.as_micros())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(before) = before else { return Ok(None) };
    sqlx::query(
        "UPDATE endpoints SET url = $1, description = $2, subscriptions = $3, payload = $4, timeout_ms = $5, \
         status = $6, disabled_reason = $7, metadata = $8, sealed_headers = $9, updated_at = $10, version = $11, \
         options = $13, sealed_credentials = $14, missed_since = $15, \
         subscribed_at = $16 WHERE id = $12",
    )
    .bind(new.url.as_str())
    .bind(&new.description)
    .bind(subscriptions_text(new))
    .bind(new.payload.as_str())
    .bind(timeout_ms(new))
    .bind(new.status.as_str())
    .bind(new.disabled_reason.as_deref())
    .bind(&new.metadata)
    .bind(sealed.headers)
    .bind(new.updated_at.as_micros())
    .bind(version)
    .bind(new.id.0)
    .bind(options_text(new))
    .bind(sealed.credentials)
    .bind(new.missed_since.map(Timestamp::as_micros))
    .bind(subscribed_at_text(new))
    .execute(&mut *connection)
    .await?;
    let was_disabled = before.try_get::<&str, _>(1)? == EndpointStatus::Disabled.as_str();
    let is_fresh = sealed.changed
        || before.try_get::<&str, _>(0)? != new.url.as_str()
        || (was_disabled && new.status != EndpointStatus::Disabled);
    if is_fresh {
        lane_rows::lift_hold(connection, new.id).await?;
    }
    // What was held may go now.
    lanes::wake(connection, &[new.id], new.updated_at).await?;
    Ok(Some(Updated { is_fresh }))
}

fn visible(view: View, tenant: TenantId) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT * FROM endpoints WHERE deleted_at IS NULL AND tenant = ");
    filter::is_seen(sql.push_bind(tenant.0).push(" AND "), view);
    sql
}

/// So many failed deliveries are made due in one transaction,
const TRIED_AT_ONCE: i64 = 1_000;
/// and so many times.
const TRIED_TIMES: usize = 100;

impl Store {
    /// Tells the lane that a hold was lifted, and makes what failed at the
    /// endpoint and waits for its next try due now: the first hundred thousand,
    /// the rest keeps to its schedule.
    async fn try_now(&self, endpoint: EndpointId) -> Result<()> {
        self.shared.hand_off.get().lift_hold(endpoint);
        let now = self.shared.env.now().as_micros();
        for _ in 0..TRIED_TIMES {
            let made_due = self.edit(move |connection| {
                let statement =
                    sqlx::query(statements::TRY_NOW).bind(endpoint.0).bind(now).bind(TRIED_AT_ONCE);
                async move { statement.execute(connection).await.map(|done| done.rows_affected()) }.boxed()
            });
            if made_due.await? < TRIED_AT_ONCE as u64 {
                break;
            }
        }
        self.shared.hand_off.get().wake(&[endpoint]);
        Ok(())
    }
}

#[async_trait]
impl Endpoints for Store {
    async fn create_endpoint(
        &self,
        new: &SecretEndpoint,
        most: usize,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<EndpointCreated>> {
        let (new, shared) = (new.clone(), Arc::clone(&self.shared));
        self.perform(new.endpoint.project, once, Some(entry), move |connection| {
            async move {
                let entropy = shared.env.entropy.as_ref();
                Ok(Outcome::done_if(
                    EndpointCreated::Done,
                    insert(connection, &new, most, &shared.vault, entropy).await?,
                ))
            }
            .boxed()
        })
        .await
    }

    async fn find_endpoint(
        &self,
        view: View,
        tenant: TenantId,
        id: EndpointId,
    ) -> Result<Option<SecretEndpoint>> {
        let mut sql = visible(view, tenant);
        sql.push(" AND id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await.map_err(store_error("find an endpoint"))?;
        row.map(|row| secret_endpoint(&row, &self.shared.vault))
            .transpose()
            .map_err(store_error("read an endpoint"))
    }

    async fn list_endpoints(
        &self,
        view: View,
        tenant: TenantId,
        page: PageRequest,
    ) -> Result<Page<SecretEndpoint>> {
        let mut sql = visible(view, tenant);
        filter::page(&mut sql, "id", page);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(store_error("list endpoints"))?;
        let endpoints = rows
            .iter()
            .map(|row| secret_endpoint(row, &self.shared.vault))
            .collect::<sqlx::Result<_>>()
            .map_err(store_error("read endpoints"))?;
        Ok(Page::from_overfull(endpoints, page.limit, |secret: &SecretEndpoint| secret.endpoint.id.0))
    }

    async fn update_endpoint(
        &self,
        endpoint: &Endpoint,
        expected: Timestamp,
        entry: Entry,
    ) -> Result<Edited> {
        let new = endpoint.clone();
        let entropy = self.shared.env.entropy.as_ref();
        let known = self.shared.configuration.endpoint(endpoint.id);
        let sealed = Sealed {
            headers: seal_headers(&self.shared.vault, endpoint, entropy),
            credentials: seal_credentials(&self.shared.vault, endpoint, entropy),
            changed: known.is_none_or(|known| !has_same_credentials(&known.endpoint, endpoint)),
        };
        let updated = self.perform_always(new.project, entry, move |connection| {
            async move { update(connection, &new, sealed, expected).await.map(Outcome::of_found) }.boxed()
        });
        let updated = updated.await?;
        match &updated {
            Some(Updated { is_fresh: true }) => self.try_now(endpoint.id).await?,
            Some(Updated { is_fresh: false }) => self.shared.hand_off.get().wake(&[endpoint.id]),
            None => {}
        }
        Ok(if updated.is_some() { Edited::Done } else { Edited::Outdated })
    }

    async fn replace_secrets(
        &self,
        endpoint: &Endpoint,
        secrets: &[ActiveSecret],
        expected: Timestamp,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Edited>> {
        let (new, shared) = (endpoint.clone(), &self.shared);
        let sealed = seal_secrets(&shared.vault, new.id, secrets, shared.env.entropy.as_ref());
        self.perform(new.project, once, Some(entry), move |connection| {
            async move {
                let version = next_version(connection).await?;
                let done = sqlx::query(
                    "UPDATE endpoints SET sealed_secrets = $1, updated_at = $2, version = $3 \
                     WHERE id = $4 AND updated_at = $5 AND deleted_at IS NULL",
                )
                .bind(sealed)
                .bind(new.updated_at.as_micros())
                .bind(version)
                .bind(new.id.0)
                .bind(expected.as_micros())
                .execute(connection)
                .await?;
                Ok(Outcome::of(Edited::of_rows(done.rows_affected())))
            }
            .boxed()
        })
        .await
    }

    async fn disable_endpoint(&self, as_it_was: &Endpoint, reason: &str, entry: Entry) -> Result<Edited> {
        let (reason, now) = (reason.to_owned(), self.shared.env.now());
        let (id, url) = (as_it_was.id, as_it_was.url.to_string());
        self.perform_always(as_it_was.project, entry, move |connection| {
            async move {
                let version = next_version(connection).await?;
                let done = sqlx::query(
                    "UPDATE endpoints SET status = 'disabled', disabled_reason = $1, version = $3, \
                     missed_since = coalesce(missed_since, $2), \
                     updated_at = CASE WHEN updated_at < $2 THEN $2 ELSE updated_at + 1 END \
                     WHERE id = $4 AND url = $5 AND status = 'enabled' AND deleted_at IS NULL",
                )
                .bind(reason)
                .bind(now.as_micros())
                .bind(version)
                .bind(id.0)
                .bind(url)
                .execute(connection)
                .await?;
                Ok(Outcome::of(Edited::of_rows(done.rows_affected())))
            }
            .boxed()
        })
        .await
    }

    async fn report_on_endpoint(&self, id: EndpointId) -> Result<EndpointReport> {
        let failed = || store_error("report on an endpoint");
        let lane = sqlx::query("SELECT health FROM lanes WHERE endpoint = $1").bind(id.0);
        let lane = lane.fetch_optional(&self.readers).await.map_err(failed())?;
        let health = lane.as_ref().map(lane_rows::health).transpose().map_err(failed())?;
        let rows = sqlx::query(statements::RECENT_ATTEMPTS)
            .bind(id.0)
            .bind(i64::from(RECENT_ATTEMPTS))
            .fetch_all(&self.readers)
            .await
            .map_err(failed())?;
        let recent = |row: &Row| {
            Ok(RecentAttempt {
                started_at: time(row, "started_at")?,
                took: Duration::from_micros(u64::from(count(row, "total_us")?)),
                error_class: coded(row, "error_class", ErrorClass::from_code)?,
                http_status: status_option(row, "http_status")?,
                error_detail: row.try_get("error_detail")?,
            })
        };
        let waiting: i64 = sqlx::query_scalar(statements::COUNT_WAITING)
            .bind(id.0)
            .bind(COUNTED_BACKLOG as i64 + 1)
            .fetch_one(&self.readers)
            .await
            .map_err(failed())?;
        Ok(EndpointReport {
            health: health.unwrap_or_default(),
            recent: rows.iter().map(recent).collect::<sqlx::Result<_>>().map_err(failed())?,
            waiting: waiting as u64,
        })
    }

    async fn reset_endpoint(&self, endpoint: &Endpoint, entry: Entry) -> Result<()> {
        let (id, now) = (endpoint.id, self.shared.env.now());
        self.perform_always(endpoint.project, entry, move |connection| {
            async move {
                lane_rows::lift_hold(connection, id).await?;
                lanes::wake(connection, &[id], now).await.map(Outcome::Done)
            }
            .boxed()
        })
        .await?;
        self.try_now(id).await
    }

    async fn delete_endpoint(
        &self,
        view: View,
        id: EndpointId,
        expected: Timestamp,
        entry: Entry,
    ) -> Result<Edited> {
        let now = self.shared.env.now();
        self.perform_always(view.project, entry, move |connection| {
            async move {
                let version = next_version(connection).await?;
                let done = sqlx::query(
                    "UPDATE endpoints SET deleted_at = $1, version = $2 WHERE id = $3 AND project = $4 \
                         AND ($5 IS NULL OR tenant = $5) AND updated_at = $6 AND deleted_at IS NULL",
                )
                .bind(now.as_micros())
                .bind(version)
                .bind(id.0)
                .bind(view.project.0)
                .bind(view.tenant.map(|tenant| tenant.0))
                .bind(expected.as_micros())
                .execute(connection)
                .await?;
                Ok(Outcome::of(Edited::of_rows(done.rows_affected())))
            }
            .boxed()
        })
        .await
    }
}
