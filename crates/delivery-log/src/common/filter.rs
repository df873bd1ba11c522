//! Conditions of lists.

use sqlx::QueryBuilder;
use uuid::Uuid;

use model::clock::Timestamp;
use model::delivery::VisibleStatus;
use model::event::Label;
use model::event_type::Pattern;

use super::rows::{self, SPACED_AFTER};
use super::{Db, statements};
use crate::View;
use crate::deliveries::DeliveryFilter;
use crate::events::EventFilter;
use crate::page::{Order, PageRequest};

/// The condition that a view sees a row, in a table with a project and a tenant.
pub(crate) fn is_seen(sql: &mut QueryBuilder<Db>, view: View) {
    sql.push("project = ").push_bind(view.project.0);
    if let Some(own) = view.tenant {
        sql.push(" AND tenant = ").push_bind(own.0);
    }
}

/// The end of a list's statement: from the cursor on, in order, and one row
/// more than wanted, which tells whether there is a next page.
pub(crate) fn page(sql: &mut QueryBuilder<Db>, id: &str, page: PageRequest) {
    page_by(sql, id, page, |sql, after| {
        sql.push_bind(after);
    });
}

/// The same of a list whose cursors stand for numbers.
pub(crate) fn page_of_numbers(sql: &mut QueryBuilder<Db>, number: &str, page: PageRequest) {
    page_by(sql, number, page, |sql, after| {
        sql.push_bind(i64::try_from(after.as_u128()).unwrap_or(i64::MAX));
    });
}

fn page_by(
    sql: &mut QueryBuilder<Db>,
    column: &str,
    page: PageRequest,
    bind: impl FnOnce(&mut QueryBuilder<Db>, Uuid),
) {
    let (beyond, direction) = match page.order {
        Order::Descending => (" < ", " DESC"),
        Order::Ascending => (" > ", " ASC"),
    };
    if let Some(after) = page.after {
        bind(sql.push(" AND ").push(column).push(beyond), after);
    }
    sql.push(" ORDER BY ").push(column).push(direction).push(" LIMIT ").push_bind(i64::from(page.limit) + 1);
}

fn occurred(sql: &mut QueryBuilder<Db>, after: Option<Timestamp>, before: Option<Timestamp>) {
    if let Some(after) = after {
        sql.push(" AND e.occurred_at >= ").push_bind(after.as_micros());
    }
    if let Some(before) = before {
        sql.push(" AND e.occurred_at < ").push_bind(before.as_micros());
    }
}

fn typed(sql: &mut QueryBuilder<Db>, event_type: Option<&Pattern>, label: Option<&Label>) {
    match event_type {
        None => {}
        Some(Pattern::Exact(name)) => drop(sql.push(" AND e.type = ").push_bind(name.as_str().to_owned())),
        Some(Pattern::Below(prefix)) => {
            sql.push(" AND substr(e.type, 1, ").push_bind(prefix.len() as i32);
            sql.push(") = ").push_bind(prefix.clone());
        }
    }
    if let Some(Label { name, value }) = label {
        // As it stands in the list of pairs; within a text its quotes would be escaped.
        let pair = rows::to_json(&(name, value));
        sql.push(" AND ").push(statements::PLACE_IN).push("(e.labels, ").push_bind(pair).push(") > 0");
    }
}

/// Conditions on events `e`.
pub(crate) fn events(sql: &mut QueryBuilder<Db>, view: View, filter: &EventFilter) {
    sql.push(" WHERE e.project = ").push_bind(view.project.0);
    for tenant in [view.tenant, filter.tenant].into_iter().flatten() {
        sql.push(" AND e.tenant = ").push_bind(tenant.0);
    }
    typed(sql, filter.event_type.as_ref(), filter.label.as_ref());
    if let Some(subject) = &filter.subject {
        sql.push(" AND e.subject = ").push_bind(subject.as_str().to_owned());
    }
    occurred(sql, filter.occurred_after, filter.occurred_before);
}

/// Conditions on deliveries `d` with their events `e`, endpoints `ep`, tenants `t`,
/// projects `p` and lanes `l`.
pub(crate) fn deliveries(sql: &mut QueryBuilder<Db>, view: View, filter: &DeliveryFilter, now: Timestamp) {
    sql.push(" WHERE d.project = ").push_bind(view.project.0);
    for tenant in [view.tenant, filter.tenant].into_iter().flatten() {
        sql.push(" AND d.tenant = ").push_bind(tenant.0);
    }
    if let Some(endpoint) = filter.endpoint {
        sql.push(" AND d.endpoint = ").push_bind(endpoint.0);
    }
    if let Some(event) = filter.event {
        statements::of_event(sql, view, event);
    }
    typed(sql, filter.event_type.as_ref(), filter.label.as_ref());
    if let Some(subject) = &filter.subject {
        sql.push(" AND e.subject = ").push_bind(subject.as_str().to_owned());
    }
    if let Some(replay) = filter.replay {
        sql.push(" AND d.id IN (SELECT delivery FROM replayed WHERE replay = ").push_bind(replay.0).push(")");
    }
    if let Some(error_class) = filter.error_class {
        sql.push(" AND d.last_error = ").push_bind(error_class.code());
    }
    if let Some(http_status) = filter.http_status {
        sql.push(" AND d.last_status = ").push_bind(i64::from(http_status));
    }
    occurred(sql, filter.occurred_after, filter.occurred_before);
    if filter.undelivered {
        // All but what arrived (2) and what was withdrawn (4, or its endpoint is gone).
        sql.push(" AND NOT e.test AND (d.status = 3 OR (d.status < 2 AND ep.deleted_at IS NULL))");
    }
    statuses(sql, &filter.statuses, now);
}

fn statuses(sql: &mut QueryBuilder<Db>, wanted: &[VisibleStatus], now: Timestamp) {
    if wanted.is_empty() {
        return;
    }
    // 3 is Trigger::Test, which passes holds.
    let held = format!(
        "(d.trigger <> 3 AND (ep.status <> 'enabled' OR t.paused_at IS NOT NULL OR p.paused_at IS NOT NULL \
         OR {behind} OR ({limited} AND d.due_at <= {}) OR coalesce(l.hold_until, 0) > ",
        now.minus(SPACED_AFTER).as_micros(),
        behind = statements::BEHIND,
        limited = statements::LIMITED,
    );
    let live = "ep.deleted_at IS NULL AND ";
    sql.push(" AND (");
    for (index, status) in wanted.iter().enumerate() {
        if index > 0 {
            sql.push(" OR ");
        }
        // Numbers stand in the text, so that SQLite can choose partial indexes.
        match status {
            VisibleStatus::Queued | VisibleStatus::Retrying => {
                let code = if *status == VisibleStatus::Queued { 0 } else { 1 };
                sql.push(format_args!("({live} d.status = {code} AND NOT {held}"))
                    .push_bind(now.as_micros())
                    .push(")))");
            }
            VisibleStatus::Held => {
                sql.push(format_args!("({live} d.due_at IS NOT NULL AND {held}"))
                    .push_bind(now.as_micros())
                    .push(")))");
            }
            VisibleStatus::Delivered => drop(sql.push("d.status = 2")),
            VisibleStatus::Failed => drop(sql.push("d.status = 3")),
            VisibleStatus::Canceled => {
                sql.push("(d.status = 4 OR (d.due_at IS NOT NULL AND ep.deleted_at IS NOT NULL))");
            }
        }
    }
    sql.push(")");
}
