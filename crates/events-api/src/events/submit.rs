//! One event on its way in: accepted, kept in quarantine, or refused.

use api_types::words::Publication;
use api_types::{PublishAnswer, PublishRequest, Warning};
use delivery_log::events::{Publish, Published};
use delivery_log::idempotency::{Claim, FirstAnswer, KeptAnswer, KeySpace, Once, Performed};
use delivery_log::quarantine::{MAX_HELD, QuarantineKept, Quarantined};
use model::ids::{EventId, ProjectId, QuarantineId};
use model::names::{IdempotencyKey, OrderingKey};
use model::project::Validation;
use model::quarantine::{QuarantineState, QuarantinedEvent};

use super::build::{self, Built};
use super::fits::Fitting;
use crate::api::{Api, new_id};
use crate::auth::Caller;
use crate::outgoing;
use crate::problem::{Code, Problem};

/// What is to become of an event whose data does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// What the project says.
    AsSet,
    /// It is refused: it waited in quarantine before.
    Published,
}

/// An event that was taken.
pub(crate) struct Submitted {
    /// The event; none if it is in quarantine.
    pub(crate) event: Option<EventId>,
    pub(crate) answer: PublishAnswer,
    pub(crate) repeated: bool,
}

/// An event on its way, as far as it has come before it is written.
pub(crate) enum Prepared {
    /// It waits in quarantine, or was sent before.
    Settled(Submitted),
    /// It can be published.
    Ready(Box<Ready>),
}

/// An event that can be published.
pub(crate) struct Ready {
    publish: Publish,
    fitting: Fitting,
}

/// Takes an event, or says why not.
pub(crate) async fn submit(
    api: &Api,
    caller: &Caller,
    wanted: &PublishRequest,
    key: Option<IdempotencyKey>,
    fate: Fate,
) -> Result<Submitted, Problem> {
    submit_all(api, vec![prepare(api, caller, wanted, key, fate).await]).await.remove(0)
}

/// Writes what was prepared, in its order, and says what became of each.
pub(crate) async fn submit_all(
    api: &Api,
    prepared: Vec<Result<Prepared, Problem>>,
) -> Vec<Result<Submitted, Problem>> {
    let mut publishes = Vec::with_capacity(prepared.len());
    let waiting: Vec<Result<Waiting, Problem>> = prepared
        .into_iter()
        .map(|one| {
            Ok(match one? {
                Prepared::Settled(settled) => Waiting::Settled(settled),
                Prepared::Ready(ready) => {
                    let Ready { publish, fitting } = *ready;
                    let written = Written {
                        project: publish.project,
                        bytes: publish.data.as_bytes().len(),
                        claim: publish.claim.clone(),
                        fitting,
                    };
                    publishes.push(publish);
                    Waiting::Written(written)
                }
            })
        })
        .collect();
    let mut published = api.store.publish_all(publishes).await.into_iter();
    let mut submitted = Vec::with_capacity(waiting.len());
    for one in waiting {
        submitted.push(match one {
            Err(problem) => Err(problem),
            Ok(Waiting::Settled(settled)) => Ok(settled),
            Ok(Waiting::Written(written)) => match published.next() {
                Some(Ok(published)) => settle(api, written, published).await,
                Some(Err(error)) => Err(error.into()),
                None => Err(Problem::new(Code::Internal, "an event was not written")),
            },
        });
    }
    submitted
}

/// An event whose writing is waited for, if it is written.
enum Waiting {
    Settled(Submitted),
    Written(Written),
}

/// What is needed to tell what became of an event.
struct Written {
    project: ProjectId,
    bytes: usize,
    claim: Option<Claim>,
    fitting: Fitting,
}

/// What became of an event that was written.
async fn settle(api: &Api, written: Written, published: Published) -> Result<Submitted, Problem> {
    let Written { project, bytes, claim, fitting } = written;
    match published {
        Published::Accepted { event, sequence, .. } => {
            api.metrics.published(bytes);
            Ok(accepted(event, sequence, fitting.all_warnings(), false))
        }
        Published::Repeated { event, sequence } => Ok(accepted(event, sequence, Vec::new(), true)),
        // It may have waited in quarantine under this key.
        Published::KeyReused => match claim {
            Some(claim) => match api.store.first_answer(project, &claim).await? {
                FirstAnswer::Kept(answer) => kept(&answer),
                _ => Err(Problem::key_reused()),
            },
            None => Err(Problem::key_reused()),
        },
        Published::UnknownTenant => Err(build::unknown_tenant()),
        Published::UnknownEndpoint => Err(Problem::not_found("endpoint")),
    }
}

/// Checks an event, and keeps it in quarantine where that is what becomes of it.
pub(crate) async fn prepare(
    api: &Api,
    caller: &Caller,
    wanted: &PublishRequest,
    key: Option<IdempotencyKey>,
    fate: Fate,
) -> Result<Prepared, Problem> {
    let space = match fate {
        Fate::AsSet => KeySpace::Publishes(caller.principal()),
        Fate::Published => KeySpace::Releases,
    };
    let Built { publish, fitting } = build::publish(api, caller, wanted, key, space).await?;
    let fitting = match fitting {
        Ok(fitting) => fitting,
        Err(problem) => return first(api, &publish).await?.map(Prepared::Settled).ok_or(problem),
    };
    let project = api.store.configuration().project(publish.project);
    let validation = match fate {
        Fate::AsSet => project.map(|project| project.validation).unwrap_or_default(),
        Fate::Published => Validation::Reject,
    };
    if !fitting.faults.is_empty() && validation != Validation::Warn {
        let version_named = wanted.schema_version.is_some();
        let settled = refuse_or_keep(api, publish, &fitting, validation, version_named).await?;
        return Ok(Prepared::Settled(settled));
    }
    Ok(Prepared::Ready(Box::new(Ready { publish, fitting })))
}

fn accepted(event: EventId, sequence: u64, warnings: Vec<Warning>, repeated: bool) -> Submitted {
    let status = Publication::Accepted.to_string();
    let answer = PublishAnswer { id: event.to_string(), status, sequence: Some(sequence), warnings };
    Submitted { event: Some(event), answer, repeated }
}

/// The answer that a repeated request gets again.
fn kept(answer: &KeptAnswer) -> Result<Submitted, Problem> {
    let answer = serde_json::from_str(&answer.body).map_err(|_| Problem::key_reused())?;
    Ok(Submitted { event: None, answer, repeated: true })
}

/// The first answer, if the event was sent before under the same key.
async fn first(api: &Api, publish: &Publish) -> Result<Option<Submitted>, Problem> {
    let Some(claim) = &publish.claim else { return Ok(None) };
    match api.store.first_answer(publish.project, claim).await? {
        FirstAnswer::Event { event, sequence } => Ok(Some(accepted(event, sequence, Vec::new(), true))),
        FirstAnswer::Kept(answer) => kept(&answer).map(Some),
        FirstAnswer::OtherRequest => Err(Problem::key_reused()),
        FirstAnswer::None => Ok(None),
    }
}

/// What does not fit: the same answer as the first time if it was sent before.
async fn refuse_or_keep(
    api: &Api,
    publish: Publish,
    fitting: &Fitting,
    validation: Validation,
    version_named: bool,
) -> Result<Submitted, Problem> {
    if let Some(first) = first(api, &publish).await? {
        return Ok(first);
    }
    if validation == Validation::Reject {
        return Err(fitting.problem());
    }
    let now = api.now();
    let held = Quarantined {
        id: new_id!(QuarantineId, api),
        project: publish.project,
        tenant: publish.tenant,
        event: QuarantinedEvent {
            event_type: publish.event_type.to_string(),
            schema_version: publish.schema_version,
            version_named,
            subject: publish.subject.to_string(),
            revision: publish.revision,
            occurred_at: publish.occurred_at.map(model::clock::Timestamp::as_micros),
            ordering_key: publish.ordering_key.as_ref().map(OrderingKey::to_string),
            labels: publish.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        },
        data: publish.data,
        faults: fitting.faults.clone(),
        state: QuarantineState::Held,
        became: None,
        created_at: now,
        updated_at: now,
    };
    let status = Publication::Quarantined.to_string();
    let warnings = fitting.all_warnings();
    let answer = PublishAnswer { id: held.id.to_string(), status, sequence: None, warnings };
    let once = publish.claim.map(|claim| {
        let location = Some(format!("/v1/quarantine/{}", held.id));
        Once {
            claim,
            answer: KeptAnswer { status: 202, location, body: outgoing::to_json(&answer) },
            show: None,
        }
    });
    match api.store.keep_in_quarantine(&held, once).await? {
        Performed::First(QuarantineKept::Done) => Ok(Submitted { event: None, answer, repeated: false }),
        Performed::First(QuarantineKept::Full) => {
            let detail = format!("{MAX_HELD} events wait in quarantine already; release or drop some");
            Err(Problem::new(Code::Conflict, detail))
        }
        Performed::Repeated(answer) => kept(&answer),
        Performed::KeyReused => Err(Problem::key_reused()),
    }
}
