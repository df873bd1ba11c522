//! How values stand in columns, and back.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::Row as _;
use uuid::Uuid;

use model::access::TokenHash;
use model::attempt::{Answer, Attempt, ErrorClass, HeaderList, Phases, Trigger};
use model::clock::Timestamp;
use model::delivery::{Delivery, DeliveryStatus, Failure, HeldBy, Hold};
use model::event::{Event, Labels, OlderData};
use model::event_type::EventType;
use model::ids::{AttemptId, DeliveryId, EndpointId, EventId, ProjectId, TenantId};
use model::names::{OrderingKey, Subject, TenantHandle};
use model::payload::PayloadForm;
use model::retry::NextReason;

use super::columns::int;
use super::{Row, lane_rows};
use crate::events::{StoredEvent, Unmatched};

/// A delivery that is due for so long at an endpoint with a limit of calls is
/// seen as held by it.
pub(crate) const SPACED_AFTER: Duration = Duration::from_secs(1);

/// A column whose value should not be there.
pub(crate) fn broken(column: &'static str, cause: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: cause.to_string().into() }
}

/// Reads a text column through a parser.
pub(crate) fn parsed<T, E: std::fmt::Display>(
    row: &Row,
    column: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> sqlx::Result<T> {
    parse(row.try_get(column)?).map_err(|error| broken(column, error))
}

/// Reads a column of JSON text.
pub(crate) fn json<T: serde::de::DeserializeOwned>(row: &Row, column: &'static str) -> sqlx::Result<T> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| broken(column, error))
}

/// Reads a column of JSON text, or the empty list where it is null.
pub(crate) fn json_list<T: serde::de::DeserializeOwned>(
    row: &Row,
    column: &'static str,
) -> sqlx::Result<Vec<T>> {
    match row.try_get::<Option<&str>, _>(column)? {
        Some(_) => json(row, column),
        None => Ok(Vec::new()),
    }
}

/// Reads a column of microseconds.
pub(crate) fn time(row: &Row, column: &'static str) -> sqlx::Result<Timestamp> {
    number(row, column).map(Timestamp::from_micros)
}

/// Reads a column of microseconds or null.
pub(crate) fn time_option(row: &Row, column: &'static str) -> sqlx::Result<Option<Timestamp>> {
    Ok(int(row, column)?.map(Timestamp::from_micros))
}

fn number(row: &Row, column: &'static str) -> sqlx::Result<i64> {
    int(row, column)?.ok_or_else(|| broken(column, "it is null"))
}

/// Reads a column of small numbers that are not negative.
pub(crate) fn count(row: &Row, column: &'static str) -> sqlx::Result<u32> {
    u32::try_from(number(row, column)?).map_err(|error| broken(column, error))
}

/// Reads a column of a token's hash.
pub(crate) fn hash(row: &Row, column: &'static str) -> sqlx::Result<TokenHash> {
    hash_option(row, column)?.ok_or_else(|| broken(column, "it is null"))
}

/// Reads a column of a token's hash or null.
pub(crate) fn hash_option(row: &Row, column: &'static str) -> sqlx::Result<Option<TokenHash>> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    bytes.map(|bytes| bytes.try_into().map_err(|error| broken(column, error))).transpose()
}

/// Reads a column of HTTP statuses or null.
pub(crate) fn status_option(row: &Row, column: &'static str) -> sqlx::Result<Option<u16>> {
    int(row, column)?.map(|code| u16::try_from(code).map_err(|error| broken(column, error))).transpose()
}

/// Reads a column that says yes or no.
fn flag(row: &Row, column: &'static str) -> sqlx::Result<bool> {
    Ok(number(row, column)? != 0)
}

/// Reads an id's bytes.
pub(crate) fn uuid(row: &Row, column: &'static str) -> sqlx::Result<Uuid> {
    row.try_get(column)
}

pub(crate) fn coded<T>(
    row: &Row,
    column: &'static str,
    decode: impl Fn(i64) -> Option<T>,
) -> sqlx::Result<T> {
    let code = number(row, column)?;
    decode(code).ok_or_else(|| broken(column, format_args!("unknown code {code}")))
}

/// The columns of an event that [`event`] reads, with the handle of its tenant.
pub(crate) const EVENT_COLUMNS: &str = "e.project, e.id, e.tenant, e.type, e.schema_version, e.subject, \
    e.revision, e.occurred_at, e.ordering_key, e.labels, e.sequence, e.test, e.unmatched, e.created_at, \
    t.handle";

pub(crate) fn event(row: &Row) -> sqlx::Result<Event> {
    let subject = parsed(row, "subject", Subject::parse)?;
    let ordering_key = match row.try_get::<Option<&str>, _>("ordering_key")? {
        Some(key) => OrderingKey::parse(key),
        None => OrderingKey::parse(subject.as_str()),
    };
    Ok(Event {
        id: EventId(uuid(row, "id")?),
        project: ProjectId(uuid(row, "project")?),
        tenant: TenantId(uuid(row, "tenant")?),
        event_type: parsed(row, "type", EventType::parse)?,
        schema_version: count(row, "schema_version")?,
        subject,
        revision: int(row, "revision")?.map(|revision| revision as u64),
        occurred_at: time(row, "occurred_at")?,
        ordering_key: ordering_key.map_err(|e| broken("ordering_key", e))?,
        labels: Labels::from_stored(json_list(row, "labels")?),
        sequence: number(row, "sequence")? as u64,
        test: flag(row, "test")?,
        created_at: time(row, "created_at")?,
    })
}

pub(crate) fn stored_event(row: &Row) -> sqlx::Result<StoredEvent> {
    let pairs: Vec<(EndpointId, String)> = json_list(row, "unmatched")?;
    Ok(StoredEvent {
        event: event(row)?,
        tenant: parsed(row, "handle", TenantHandle::parse)?,
        unmatched: pairs.into_iter().map(|(endpoint, reason)| Unmatched { endpoint, reason }).collect(),
    })
}

pub(crate) fn labels_to_text(labels: &Labels) -> Option<String> {
    (!labels.is_empty()).then(|| to_json(&labels.iter().collect::<Vec<_>>()))
}

pub(crate) fn unmatched_to_text(unmatched: &[Unmatched]) -> Option<String> {
    let pairs = || unmatched.iter().map(|u| (u.endpoint, &u.reason)).collect::<Vec<_>>();
    (!unmatched.is_empty()).then(|| to_json(&pairs()))
}

/// The JSON text of a value that always has one.
pub(crate) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists have a JSON form")
}

pub(crate) fn status_to_codes(status: DeliveryStatus) -> (i64, Option<i64>) {
    match status {
        DeliveryStatus::Queued => (0, None),
        DeliveryStatus::Retrying => (1, None),
        DeliveryStatus::Delivered => (2, None),
        DeliveryStatus::Failed(Failure::Exhausted) => (3, Some(1)),
        DeliveryStatus::Failed(Failure::Permanent) => (3, Some(2)),
        DeliveryStatus::Failed(Failure::Expired) => (3, Some(3)),
        DeliveryStatus::Canceled => (4, None),
    }
}

fn status_from_codes(status: i64, failure: Option<i64>) -> Option<DeliveryStatus> {
    Some(match (status, failure) {
        (0, _) => DeliveryStatus::Queued,
        (1, _) => DeliveryStatus::Retrying,
        (2, _) => DeliveryStatus::Delivered,
        (3, Some(1)) => DeliveryStatus::Failed(Failure::Exhausted),
        (3, Some(2)) => DeliveryStatus::Failed(Failure::Permanent),
        (3, Some(3)) => DeliveryStatus::Failed(Failure::Expired),
        (4, _) => DeliveryStatus::Canceled,
        _ => return None,
    })
}

pub(crate) fn older_data(row: &Row) -> sqlx::Result<OlderData> {
    match row.try_get::<Option<Vec<u8>>, _>("older")? {
        None => Ok(OlderData::default()),
        Some(bytes) => OlderData::from_stored(&bytes).map_err(|error| broken("older", error)),
    }
}

pub(crate) fn form(row: &Row) -> sqlx::Result<PayloadForm> {
    let name: &str = row.try_get("payload")?;
    PayloadForm::from_stored(name, row.try_get("public_url")?).ok_or_else(|| broken("payload", name))
}

pub(crate) fn delivery(row: &Row, now: Timestamp) -> sqlx::Result<Delivery> {
    let stored = coded(row, "status", |code| status_from_codes(code, int(row, "failure").ok()?))?;
    let trigger = coded(row, "trigger", Trigger::from_code)?;
    let deleted = time_option(row, "endpoint_deleted_at")?.is_some();
    // What waits for an endpoint that is gone will be canceled; say so at once.
    let status = if stored.is_waiting() && deleted { DeliveryStatus::Canceled } else { stored };
    let waiting = status.is_waiting();
    let held = waiting && trigger != Trigger::Test;
    let last_error = int(row, "last_error")?;
    let created_at = time(row, "created_at")?;
    // A test stands before all that is held, at the beginning of time.
    let due = time_option(row, "due_at")?.map(|due| due.max(created_at));
    let hold = if held { hold(row, due, now)? } else { None };
    Ok(Delivery {
        id: DeliveryId(uuid(row, "id")?),
        project: ProjectId(uuid(row, "project")?),
        tenant: TenantId(uuid(row, "tenant")?),
        tenant_handle: parsed(row, "handle", TenantHandle::parse)?,
        event: EventId(uuid(row, "event_id")?),
        endpoint: EndpointId(uuid(row, "endpoint")?),
        event_type: parsed(row, "type", EventType::parse)?,
        subject: parsed(row, "subject", Subject::parse)?,
        occurred_at: time(row, "occurred_at")?,
        test: flag(row, "test")?,
        payload: form(row)?,
        status,
        hold,
        endpoint_failed: match hold {
            Some(_) => lane_rows::health(row)?.failing.and_then(|failing| failing.last()),
            None => None,
        },
        attempts: count(row, "attempts")?,
        trigger,
        next_attempt_at: match hold {
            Some(Hold { until: None, .. }) => None,
            _ if !waiting => None,
            Some(Hold { until: Some(until), .. }) => due.map(|due| due.max(until)),
            None => due,
        },
        last_error: last_error.and_then(ErrorClass::from_code),
        last_http_status: status_option(row, "last_status")?,
        created_at,
        updated_at: time(row, "updated_at")?,
    })
}

/// What holds a delivery that waits. One that is due for some time, at an
/// endpoint with a limit of calls, waits for its turn.
fn hold(row: &Row, due: Option<Timestamp>, now: Timestamp) -> sqlx::Result<Option<Hold>> {
    if let Some(hold) = hold_of_endpoint(row, now)? {
        return Ok(Some(hold));
    }
    if flag(row, "behind")? {
        return Ok(Some(Hold { by: HeldBy::Order, until: None }));
    }
    let spaced = flag(row, "limited")? && due.is_some_and(|due| due <= now.minus(SPACED_AFTER));
    Ok(spaced.then_some(Hold { by: HeldBy::RateLimit, until: None }))
}

/// What holds all that waits for an endpoint.
pub(crate) fn hold_of_endpoint(row: &Row, now: Timestamp) -> sqlx::Result<Option<Hold>> {
    if row.try_get::<&str, _>("endpoint_status")? != "enabled" || flag(row, "paused")? {
        return Ok(Some(Hold { by: HeldBy::Paused, until: None }));
    }
    let Some(until) = time_option(row, "hold_until")?.filter(|until| *until > now) else { return Ok(None) };
    let by = int(row, "hold_by")?.and_then(HeldBy::from_code).unwrap_or(HeldBy::RateLimit);
    Ok(Some(Hold { by, until: Some(until) }))
}

pub(crate) fn attempt(row: &Row) -> sqlx::Result<Attempt> {
    let micros = |column| -> sqlx::Result<Option<std::time::Duration>> {
        Ok(int(row, column)?.map(|micros| std::time::Duration::from_micros(micros.max(0) as u64)))
    };
    let remote_ip: Option<&str> = row.try_get("remote_ip")?;
    Ok(Attempt {
        id: AttemptId(uuid(row, "id")?),
        delivery: DeliveryId(uuid(row, "delivery")?),
        number: count(row, "number")?,
        trigger: coded(row, "trigger", Trigger::from_code)?,
        started_at: time(row, "started_at")?,
        phases: Phases {
            dns: micros("dns_us")?,
            connect: micros("connect_us")?,
            first_byte: micros("first_byte_us")?,
            total: micros("total_us")?.unwrap_or_default(),
        },
        remote_ip: remote_ip.and_then(|ip| ip.parse::<IpAddr>().ok()),
        http_version: match row.try_get::<Option<&str>, _>("http_version")? {
            Some("HTTP/2.0") => Some("HTTP/2.0"),
            Some("HTTP/1.0") => Some("HTTP/1.0"),
            Some(_) => Some("HTTP/1.1"),
            None => None,
        },
        request_headers: json::<HeaderList>(row, "request_headers")?,
        answer: answer(row)?,
        error_class: coded(row, "error_class", ErrorClass::from_code)?,
        error_detail: row.try_get("error_detail")?,
        next_attempt_at: time_option(row, "next_attempt_at")?,
        next_reason: coded(row, "next_reason", NextReason::from_code)?,
    })
}

fn answer(row: &Row) -> sqlx::Result<Option<Answer>> {
    let Some(status) = status_option(row, "http_status")? else { return Ok(None) };
    Ok(Some(Answer {
        status,
        headers: json_list(row, "response_headers")?,
        body: row.try_get::<Option<Vec<u8>>, _>("body")?.unwrap_or_default(),
        truncated: flag(row, "truncated")?,
    }))
}
