//! Versions of event types on their way out: those who depend on one are told
//! before it goes, and it goes at its date.

use std::collections::BTreeMap;
use std::sync::Arc;

use delivery_log::Edited;
use delivery_log::catalogue::{Pinned, pinned_to};
use delivery_log::idempotency::Performed;
use model::audit::{Action, Actor, Entry};
use model::catalogue::{EventTypeEntry, NOTICES, Version, VersionStatus};
use model::clock::Timestamp;
use model::ids::TenantId;
use model::operations::Operation;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Job;
use crate::context::Context;
use crate::notices::operations;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;
/// How many endpoints an operational event names.
const NAMED: usize = 100;

/// Looks after versions that go.
pub(super) struct Retirement;

impl Job for Retirement {
    async fn step(&mut self, context: &Arc<Context>, _: &CancellationToken) -> delivery_log::Result<()> {
        do_what_is_due(context).await
    }
}

/// Does one thing that is due; the rest at the next looks, because it may have
/// changed meanwhile.
async fn do_what_is_due(context: &Context) -> delivery_log::Result<()> {
    let now = context.env.now();
    let configuration = context.store.configuration();
    // Before what is read: what changes after it is not written over.
    let checked_at = configuration.version();
    for entry in configuration.all_event_types() {
        for version in &entry.versions {
            match version.status {
                VersionStatus::Active => {}
                VersionStatus::Deprecated if version.sunset_at.is_some_and(|sunset| sunset <= now) => {
                    return retire(context, &entry, version, checked_at, now).await;
                }
                VersionStatus::Deprecated => {
                    let due = version.notices_due(now);
                    if due > version.told {
                        return tell_before(context, &entry, version, due, checked_at, now).await;
                    }
                }
                VersionStatus::Retired if version.told <= NOTICES.len() as u32 => {
                    return tell_after(context, &entry, version, checked_at).await;
                }
                VersionStatus::Retired => {}
            }
        }
    }
    Ok(())
}

/// Saves a type with another form of a version, if nothing has changed since
/// it was read: otherwise it is looked at again.
async fn save(
    context: &Context,
    entry: &EventTypeEntry,
    version: Version,
    checked_at: i64,
) -> delivery_log::Result<bool> {
    let mut after = entry.clone();
    let place = version.number as usize - 1;
    after.versions[place] = version;
    let entry = Entry::by(Actor::Posthorn, Action::CatalogueUpdated, after.name.as_str()).because(format!(
        "version {} is {}",
        place + 1,
        after.versions[place].status
    ));
    let saved = context.store.save_event_types(&[after], checked_at, None, entry).await?;
    Ok(matches!(saved, Performed::First(Edited::Done)))
}

/// Operators are told first, under a key: if this process dies then, the next
/// one tells them nothing twice, and goes on.
async fn tell_before(
    context: &Context,
    entry: &EventTypeEntry,
    version: &Version,
    due: u32,
    checked_at: i64,
    now: Timestamp,
) -> delivery_log::Result<()> {
    let pinned = pinned_to(context.store.configuration(), entry, version.number);
    let Some(sunset) = version.sunset_at else { return Ok(()) };
    let days = sunset.since(now).as_secs().div_ceil(DAY);
    let name = format!("{}@{}", entry.name, version.number);
    let (newest, then) = (entry.newest().map(|newest| newest.number), entry.followed_by(version.number));
    let data = json!({
        "type": entry.name.as_str(), "version": version.number, "sunset_at": sunset, "days": days,
        "newest_version": newest, "successor": then, "endpoints": pinned.len(), "first": named(&pinned),
    });
    let key = format!("sunset:{name}:{}:{due}", sunset.as_secs());
    operations::publish(context, entry.project, Operation::VersionSunset, &name, &data, Some(&key)).await;
    if !save(context, entry, Version { told: due, ..version.clone() }, checked_at).await? {
        return Ok(());
    }
    tracing::info!(event_type = %name, days, endpoints = pinned.len(), "a version will be retired soon");
    let what = match then {
        Some(next) => format!("From then on, you will receive version {next}."),
        None => "From then on, events of this type will no longer be delivered.".to_owned(),
    };
    let text = format!(
        "Version {} of the event {} will be retired on {sunset}. {what}\n\nPlease move to version {}.",
        version.number,
        entry.name,
        newest.unwrap_or(version.number),
    );
    let subject = format!("Version {} of {} will be retired on {sunset}", version.number, entry.name);
    mail(context, &pinned, &subject, &text).await;
    Ok(())
}

async fn retire(
    context: &Context,
    entry: &EventTypeEntry,
    version: &Version,
    checked_at: i64,
    now: Timestamp,
) -> delivery_log::Result<()> {
    let successor = entry.successor_of(version.number);
    let (status, updated_at) = (VersionStatus::Retired, now.max(version.updated_at));
    let retired = Version { status, successor, updated_at, ..version.clone() };
    if save(context, entry, retired, checked_at).await? {
        tracing::info!(event_type = %entry.name, version = version.number, ?successor, "a version was retired");
    }
    Ok(())
}

/// A version is gone, at its date or because somebody retired it.
async fn tell_after(
    context: &Context,
    entry: &EventTypeEntry,
    version: &Version,
    checked_at: i64,
) -> delivery_log::Result<()> {
    let pinned = pinned_to(context.store.configuration(), entry, version.number);
    let name = format!("{}@{}", entry.name, version.number);
    let successor = entry.followed_by(version.number);
    let data = json!({
        "type": entry.name.as_str(), "version": version.number, "successor": successor,
        "endpoints": pinned.len(), "first": named(&pinned),
    });
    let key = format!("retired:{name}:{}", version.updated_at.as_micros());
    operations::publish(context, entry.project, Operation::VersionRetired, &name, &data, Some(&key)).await;
    let told = NOTICES.len() as u32 + 1;
    if !save(context, entry, Version { told, ..version.clone() }, checked_at).await? {
        return Ok(());
    }
    let (number, event) = (version.number, &entry.name);
    let text = match successor {
        Some(next) => {
            format!("Version {number} of the event {event} was retired. You now receive version {next}.")
        }
        None => format!(
            "Version {number} of the event {event} was retired, and newer versions cannot be \
             converted to it: events of this type are no longer delivered. Subscribe to a newer \
             version to get them again; what was missed can be replayed."
        ),
    };
    mail(context, &pinned, &format!("Version {number} of {event} was retired"), &text).await;
    Ok(())
}

fn named(pinned: &[Pinned]) -> Value {
    pinned.iter().take(NAMED).map(|one| one.live.endpoint.id.to_string()).collect()
}

/// One mail for each tenant, with all of its endpoints.
async fn mail(context: &Context, pinned: &[Pinned], subject: &str, text: &str) {
    let Some(mailer) = &context.mailer else { return };
    let mut of_tenants: BTreeMap<TenantId, Vec<&Pinned>> = BTreeMap::new();
    for one in pinned {
        of_tenants.entry(one.live.endpoint.tenant).or_default().push(one);
    }
    for (tenant, own) in of_tenants {
        let Some(tenant) = context.store.configuration().tenant_by_id(tenant) else { continue };
        let list: Vec<String> = own
            .iter()
            .map(|one| {
                format!(
                    "Endpoint {} ({}), by its subscription {}",
                    one.live.endpoint.id, one.live.endpoint.url, one.subscription
                )
            })
            .collect();
        let text = format!("{text}\n\n{}\n", list.join("\n"));
        mailer.send(&tenant.contacts, subject, &text, context.env.entropy.as_ref()).await;
    }
}
