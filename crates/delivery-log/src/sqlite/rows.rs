//! How values stand in columns, and back.

use std::net::IpAddr;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite};
use uuid::Uuid;

use model::attempt::{Answer, Attempt, ErrorClass, HeaderList, Phases, Trigger};
use model::clock::Timestamp;
use model::delivery::{Delivery, DeliveryStatus, Failure, HeldBy, Hold};
use model::event::{Event, Labels};
use model::event_type::EventType;
use model::ids::{AttemptId, DeliveryId, EndpointId, EventId, ProjectId, TenantId};
use model::names::{OrderingKey, Subject, TenantHandle};
use model::payload::{PayloadForm, PayloadMode};
use model::retry::NextReason;

use crate::events::{StoredEvent, Unmatched};

/// A column whose value should not be there.
pub(super) fn broken(column: &'static str, cause: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: cause.to_string().into() }
}

/// Reads a text column through a parser.
pub(super) fn parsed<T, E: std::fmt::Display>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> sqlx::Result<T> {
    parse(row.try_get(column)?).map_err(|error| broken(column, error))
}

/// Reads a column of JSON text.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &'static str) -> sqlx::Result<T> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| broken(column, error))
}

/// Reads a column of JSON text, or the empty list where it is null.
pub(super) fn json_list<T: serde::de::DeserializeOwned>(
    row: &SqliteRow,
    column: &'static str,
) -> sqlx::Result<Vec<T>> {
    match row.try_get::<Option<&str>, _>(column)? {
        Some(_) => json(row, column),
        None => Ok(Vec::new()),
    }
}

/// Reads a column of microseconds.
pub(super) fn time(row: &SqliteRow, column: &'static str) -> sqlx::Result<Timestamp> {
    row.try_get(column).map(Timestamp::from_micros)
}

/// Reads a column of microseconds or null.
pub(super) fn time_option(row: &SqliteRow, column: &'static str) -> sqlx::Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros))
}

/// Reads an id's bytes.
pub(super) fn uuid(row: &SqliteRow, column: &'static str) -> sqlx::Result<Uuid> {
    row.try_get(column)
}

fn coded<T>(row: &SqliteRow, column: &'static str, decode: impl Fn(i64) -> Option<T>) -> sqlx::Result<T> {
    let code = row.try_get(column)?;
    decode(code).ok_or_else(|| broken(column, format_args!("unknown code {code}")))
}

/// The columns of an event that [`event`] reads, with the handle of its tenant.
pub(super) const EVENT_COLUMNS: &str = "e.project, e.id, e.tenant, e.type, e.schema_version, e.subject, \
    e.revision, e.occurred_at, e.ordering_key, e.labels, e.sequence, e.test, e.unmatched, e.created_at, \
    t.handle";

pub(super) fn event(row: &SqliteRow) -> sqlx::Result<Event> {
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
        schema_version: row.try_get("schema_version")?,
        subject,
        revision: row.try_get::<Option<i64>, _>("revision")?.map(|revision| revision as u64),
        occurred_at: time(row, "occurred_at")?,
        ordering_key: ordering_key.map_err(|e| broken("ordering_key", e))?,
        labels: Labels::from_stored(json_list(row, "labels")?),
        sequence: row.try_get::<i64, _>("sequence")? as u64,
        test: row.try_get("test")?,
        created_at: time(row, "created_at")?,
    })
}

pub(super) fn stored_event(row: &SqliteRow) -> sqlx::Result<StoredEvent> {
    let pairs: Vec<(EndpointId, String)> = json_list(row, "unmatched")?;
    Ok(StoredEvent {
        event: event(row)?,
        tenant: parsed(row, "handle", TenantHandle::parse)?,
        unmatched: pairs.into_iter().map(|(endpoint, reason)| Unmatched { endpoint, reason }).collect(),
    })
}

pub(super) fn labels_to_text(labels: &Labels) -> Option<String> {
    (!labels.is_empty()).then(|| to_json(&labels.iter().collect::<Vec<_>>()))
}

pub(super) fn unmatched_to_text(unmatched: &[Unmatched]) -> Option<String> {
    let pairs = || unmatched.iter().map(|u| (u.endpoint, &u.reason)).collect::<Vec<_>>();
    (!unmatched.is_empty()).then(|| to_json(&pairs()))
}

/// The JSON text of a value that always has one.
pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists have a JSON form")
}

pub(super) fn status_to_codes(status: DeliveryStatus) -> (i64, Option<i64>) {
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

/// A delivery with all that says how it stands, for [`delivery`].
pub(super) const DELIVERY_SELECT: &str = "SELECT d.project, d.id, d.tenant, d.endpoint, d.payload, \
    d.public_url, d.status, d.failure, d.due_at, d.attempts, d.trigger, d.last_error, d.last_status, \
    d.created_at, d.updated_at, e.id AS event_id, e.type, e.subject, e.occurred_at, t.handle, \
    ep.status AS endpoint_status, ep.deleted_at AS endpoint_deleted_at, l.hold_until \
    FROM deliveries d \
    JOIN events e ON e.position = d.event \
    JOIN tenants t ON t.id = d.tenant \
    JOIN endpoints ep ON ep.id = d.endpoint \
    LEFT JOIN lanes l ON l.endpoint = d.endpoint";

pub(super) fn form(row: &SqliteRow) -> sqlx::Result<PayloadForm> {
    let mode = parsed(row, "payload", str::parse::<PayloadMode>)?;
    Ok(PayloadForm::new(mode, row.try_get::<Option<&str>, _>("public_url")?.unwrap_or_default()))
}

pub(super) fn delivery(row: &SqliteRow, now: Timestamp) -> sqlx::Result<Delivery> {
    let stored = coded(row, "status", |code| status_from_codes(code, row.try_get("failure").ok()?))?;
    let trigger = coded(row, "trigger", Trigger::from_code)?;
    let deleted = time_option(row, "endpoint_deleted_at")?.is_some();
    // What waits for an endpoint that is gone will be canceled; say so at once.
    let status = if stored.is_waiting() && deleted { DeliveryStatus::Canceled } else { stored };
    let waiting = status.is_waiting();
    let held = waiting && trigger != Trigger::Test;
    let last_error: Option<i64> = row.try_get("last_error")?;
    let created_at = time(row, "created_at")?;
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
        payload: form(row)?,
        status,
        hold: if held { hold(row, now)? } else { None },
        attempts: row.try_get("attempts")?,
        trigger,
        next_attempt_at: if waiting {
            time_option(row, "due_at")?.map(|due| due.max(created_at))
        } else {
            None
        },
        last_error: last_error.and_then(ErrorClass::from_code),
        last_http_status: row.try_get("last_status")?,
        created_at,
        updated_at: time(row, "updated_at")?,
    })
}

fn hold(row: &SqliteRow, now: Timestamp) -> sqlx::Result<Option<Hold>> {
    if row.try_get::<&str, _>("endpoint_status")? != "enabled" {
        return Ok(Some(Hold { by: HeldBy::Paused, until: None }));
    }
    let until = time_option(row, "hold_until")?.filter(|until| *until > now);
    Ok(until.map(|until| Hold { by: HeldBy::RateLimit, until: Some(until) }))
}

pub(super) fn attempt(row: &SqliteRow) -> sqlx::Result<Attempt> {
    let micros = |column| -> sqlx::Result<Option<std::time::Duration>> {
        let micros: Option<i64> = row.try_get(column)?;
        Ok(micros.map(|micros| std::time::Duration::from_micros(micros.max(0) as u64)))
    };
    let remote_ip: Option<&str> = row.try_get("remote_ip")?;
    Ok(Attempt {
        id: AttemptId(uuid(row, "id")?),
        delivery: DeliveryId(uuid(row, "delivery")?),
        number: row.try_get("number")?,
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

fn answer(row: &SqliteRow) -> sqlx::Result<Option<Answer>> {
    let Some(status) = row.try_get("http_status")? else { return Ok(None) };
    Ok(Some(Answer {
        status,
        headers: json_list(row, "response_headers")?,
        body: row.try_get::<Option<Vec<u8>>, _>("body")?.unwrap_or_default(),
        truncated: row.try_get("truncated")?,
    }))
}

/// Binds the columns of an attempt, in the order of the insert.
pub(super) fn bind_attempt<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    attempt: &'q Attempt,
    late: bool,
) -> Query<'q, Sqlite, SqliteArguments> {
    let micros = |span: Option<std::time::Duration>| span.map(|span| span.as_micros() as i64);
    let answer = attempt.answer.as_ref();
    let reason = if late { NextReason::Superseded } else { attempt.next_reason };
    query
        .bind(attempt.delivery.0)
        .bind(attempt.number)
        .bind(attempt.id.0)
        .bind(attempt.trigger.code())
        .bind(attempt.started_at.as_micros())
        .bind(micros(attempt.phases.dns))
        .bind(micros(attempt.phases.connect))
        .bind(micros(attempt.phases.first_byte))
        .bind(micros(Some(attempt.phases.total)))
        .bind(attempt.remote_ip.map(|ip| ip.to_string()))
        .bind(attempt.http_version)
        .bind(to_json(&attempt.request_headers))
        .bind(answer.map(|answer| answer.status))
        .bind(answer.map(|answer| to_json(&answer.headers)))
        .bind(answer.filter(|answer| !answer.body.is_empty()).map(|answer| answer.body.as_slice()))
        .bind(answer.is_some_and(|answer| answer.truncated))
        .bind(attempt.error_class.code())
        .bind(attempt.error_detail.as_deref())
        .bind(if late { None } else { attempt.next_attempt_at.map(Timestamp::as_micros) })
        .bind(reason.code())
}
