//! Versions of event types on their way out: those who depend on one are told
//! before it goes, and it goes at its date.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use delivery_log::catalogue::{CatalogueSaved, Pinned, pinned_to};
use delivery_log::idempotency::Performed;
use model::catalogue::{EventTypeEntry, NOTICES, VersionStatus};
use model::clock::Timestamp;
use model::ids::TenantId;
use model::operations::Operation;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::operations;

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_secs(1);
/// How many endpoints an operational event names.
const NAMED: usize = 100;

/// Looks after versions that go, again and again until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if !context.lease.is_valid() {
            continue;
        }
        if let Err(error) = step(&context).await {
            tracing::warn!(%error, "versions of event types are looked after later");
        }
    }
}

/// Does what is due.
async fn step(context: &Context) -> delivery_log::Result<()> {
    let now = context.surroundings.now();
    let configuration = context.store.configuration();
    for entry in configuration.all_event_types() {
        for version in entry.versions.iter().filter(|version| version.status == VersionStatus::Deprecated) {
            if version.sunset_at.is_some_and(|sunset| sunset <= now) {
                retire(context, &entry, version.number, now).await?;
                break;
            }
            let due = version.notices_due(now);
            if due > version.told {
                tell_before(context, &entry, version.number, due, now).await?;
                break;
            }
        }
    }
    Ok(())
}

/// A type with a change, if nobody else has changed it: then it is theirs to
/// tell, or it is looked at again.
async fn save(context: &Context, entry: EventTypeEntry, checked_at: i64) -> delivery_log::Result<bool> {
    let saved = context.store.save_event_types(&[entry], checked_at, None).await?;
    Ok(matches!(saved, Performed::First(CatalogueSaved::Done)))
}

async fn tell_before(
    context: &Context,
    entry: &EventTypeEntry,
    number: u32,
    due: u32,
    now: Timestamp,
) -> delivery_log::Result<()> {
    let checked_at = context.store.configuration().version();
    let pinned = pinned_to(context.store.configuration(), entry, number);
    let Some(sunset) = entry.version(number).and_then(|version| version.sunset_at) else { return Ok(()) };
    let days = NOTICES.get(due as usize - 1).copied().unwrap_or(1);
    let (next, moves) = (entry.newest().map(|newest| newest.number), entry.successor_of(number).is_some());
    // Operators first, under a key: if this process dies here, the next one
    // tells them nothing new, and goes on.
    let key = format!("posthorn:sunset:{}@{number}:{}:{days}", entry.name, sunset.as_secs());
    let data = json!({
        "type": entry.name.as_str(), "version": number, "sunset_at": sunset, "days": days,
        "newest_version": next, "then": if moves { "they get the next version" } else { "they get nothing more" },
        "endpoints": pinned.len(), "first": named(&pinned),
    });
    let subject = format!("{}@{number}", entry.name);
    operations::publish(context, entry.project, Operation::VersionSunset, &subject, &data, Some(&key)).await;
    let mut after = entry.clone();
    let version = &mut after.versions[number as usize - 1];
    (version.told, version.updated_at) = (due, now.max(version.updated_at));
    if !save(context, after, checked_at).await? {
        return Ok(());
    }
    tracing::info!(event_type = %entry.name, version = number, days, endpoints = pinned.len(), "a version goes soon");
    let what = match moves {
        true => format!("After that, events come in version {}.", number + 1),
        false => "After that, events of this type are not delivered any more.".to_owned(),
    };
    let text = format!(
        "Version {number} of the event {} goes at {sunset}. {what}\n\nPlease move to version {}.",
        entry.name,
        next.unwrap_or(number),
    );
    mail(context, &pinned, &format!("Version {number} of {} goes at {sunset}", entry.name), &text).await;
    Ok(())
}

async fn retire(
    context: &Context,
    entry: &EventTypeEntry,
    number: u32,
    now: Timestamp,
) -> delivery_log::Result<()> {
    let checked_at = context.store.configuration().version();
    let pinned = pinned_to(context.store.configuration(), entry, number);
    let successor = entry.successor_of(number);
    let mut after = entry.clone();
    let version = &mut after.versions[number as usize - 1];
    version.status = VersionStatus::Retired;
    version.successor = successor;
    version.updated_at = now.max(version.updated_at);
    after.updated_at = version.updated_at;
    if !save(context, after, checked_at).await? {
        return Ok(());
    }
    tracing::info!(event_type = %entry.name, version = number, ?successor, endpoints = pinned.len(), "a version was retired");
    let data = json!({
        "type": entry.name.as_str(), "version": number, "successor": successor,
        "endpoints": pinned.len(), "first": named(&pinned),
    });
    let subject = format!("{}@{number}", entry.name);
    operations::publish(context, entry.project, Operation::VersionRetired, &subject, &data, None).await;
    let text = match successor {
        Some(next) => format!(
            "Version {number} of the event {} is gone. Events come in version {next} from now on.",
            entry.name
        ),
        None => format!(
            "Version {number} of the event {} is gone, and nothing converts newer ones to it: events of this type \
             are not delivered any more. Subscribe to a newer version to get them again; what was missed can be replayed.",
            entry.name
        ),
    };
    mail(context, &pinned, &format!("Version {number} of {} is gone", entry.name), &text).await;
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
        mailer.send(&tenant.contacts, subject, &format!("{text}\n\n{}\n", list.join("\n"))).await;
    }
}
