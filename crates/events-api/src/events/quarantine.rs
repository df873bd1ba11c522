//! An event that does not fit its schema, where the project keeps those.

use api_types::PublishAnswer;
use api_types::words::Publication;
use delivery_log::events::Publish;
use delivery_log::idempotency::{KeptAnswer, Once, Performed};
use delivery_log::quarantine::{MAX_HELD, QuarantineKept, Quarantined};
use model::clock::Timestamp;
use model::ids::QuarantineId;
use model::names::OrderingKey;
use model::quarantine::{QuarantineState, QuarantinedEvent};

use super::accept::Taken;
use super::validate::Findings;
use crate::api::Api;
use crate::outgoing;
use crate::problem::{Code, Problem};

/// Keeps an event for somebody to correct, release or drop.
///
/// # Errors
///
/// As many wait as may wait.
pub(super) async fn keep(
    api: &Api,
    publish: Publish,
    findings: Findings,
    version_named: bool,
) -> Result<Taken, Problem> {
    let now = api.now();
    let held = Quarantined {
        id: api.env.new_id::<QuarantineId>(),
        project: publish.project,
        tenant: publish.tenant,
        event: QuarantinedEvent {
            event_type: publish.event_type.to_string(),
            schema_version: publish.schema_version,
            version_named,
            subject: publish.subject.to_string(),
            revision: publish.revision,
            occurred_at: publish.occurred_at.map(Timestamp::as_micros),
            ordering_key: publish.ordering_key.as_ref().map(OrderingKey::to_string),
            labels: publish.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        },
        data: publish.data,
        faults: findings.faults.clone(),
        state: QuarantineState::Held,
        became: None,
        created_at: now,
        updated_at: now,
    };
    let status = Publication::Quarantined.to_string();
    let warnings = findings.into_warnings();
    let answer = PublishAnswer { id: held.id.to_string(), status, sequence: None, warnings };
    let once = publish.key_use.map(|key_use| {
        let location = Some(format!("/v1/quarantine/{}", held.id));
        let answer = KeptAnswer { status: 202, location, body: outgoing::to_json(&answer) };
        Once { key_use, answer, show: None }
    });
    match api.store.keep_in_quarantine(&held, once).await? {
        Performed::First(QuarantineKept::Done) => Ok(Taken { event: None, answer, repeated: false }),
        Performed::First(QuarantineKept::NoTenant) => {
            Err(Problem::invalid("/tenant", "unknown_tenant", "was deleted at this moment"))
        }
        Performed::First(QuarantineKept::Full) => {
            let detail = format!("{MAX_HELD} events wait in quarantine already; release or drop some");
            Err(Problem::new(Code::Conflict, detail))
        }
        Performed::Repeated(answer) => Taken::again(&answer),
        Performed::KeyReused => Err(Problem::key_reused()),
    }
}
