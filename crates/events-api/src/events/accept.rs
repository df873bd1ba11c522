//! An event on its way in, stair by stair: parse, resolve the names, validate,
//! and then publish it, keep it in quarantine, or refuse it.
//!
//! What was sent before gets its first answer. The writer finds that out for
//! what can be published; for everything else it is looked up here, first.

use std::sync::Arc;

use api_types::words::Publication;
use api_types::{PublishAnswer, PublishRequest, Warning};
use delivery_log::events::{Publish, Published};
use delivery_log::idempotency::{self, FirstAnswer, KeptAnswer, KeySpace, KeyUse, SpacedKey};
use delivery_log::publishing::match_endpoints;
use model::event::ReadOnce;
use model::ids::{EventId, ProjectId, TenantId};
use model::names::IdempotencyKey;
use model::project::Validation;

use super::parse::parse;
use super::validate::{Findings, validate};
use super::{quarantine, resolve};
use crate::api::Api;
use crate::auth::Caller;
use crate::incoming::fingerprint;
use crate::problem::{Code, Problem};

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Its publisher: the project says what becomes of it if it does not fit.
    Publisher,
    /// Quarantine, where it waited because it did not fit: now it has to.
    Quarantine,
}

/// An event that was taken.
pub(crate) struct Taken {
    /// The event; none if it is in quarantine.
    pub(crate) event: Option<EventId>,
    pub(crate) answer: PublishAnswer,
    pub(crate) repeated: bool,
}

impl Taken {
    /// It was sent before, and gets its first answer again.
    pub(super) fn again(answer: &KeptAnswer) -> Result<Self, Problem> {
        let answer = serde_json::from_str(&answer.body).map_err(|_| Problem::key_reused())?;
        Ok(Self { event: None, answer, repeated: true })
    }

    fn published(event: EventId, sequence: u64, warnings: Vec<Warning>, repeated: bool) -> Self {
        let status = Publication::Accepted.to_string();
        let answer = PublishAnswer { id: event.to_string(), status, sequence: Some(sequence), warnings };
        Self { event: Some(event), answer, repeated }
    }
}

/// An event as far as it comes before it is written.
pub(crate) enum Prepared {
    /// It waits in quarantine, or was sent before.
    Settled(Taken),
    /// It can be published.
    Ready(Box<Ready>),
}

/// An event that can be published.
pub(crate) struct Ready {
    publish: Publish,
    findings: Findings,
}

/// Takes an event, or says why not.
pub(crate) async fn accept(
    api: &Api,
    caller: &Caller,
    wanted: &PublishRequest,
    key: Option<IdempotencyKey>,
    origin: Origin,
) -> Result<Taken, Problem> {
    write(api, vec![prepare(api, caller, wanted, key, origin).await]).await.remove(0)
}

/// Everything but the writing.
pub(crate) async fn prepare(
    api: &Api,
    caller: &Caller,
    wanted: &PublishRequest,
    key: Option<IdempotencyKey>,
    origin: Origin,
) -> Result<Prepared, Problem> {
    let parsed = parse(wanted, key, api.settings.max_data_bytes)?;

    let project = caller.view().project;
    let tenant = resolve::tenant(api, caller, &parsed.tenant).await?;
    let space = match origin {
        Origin::Publisher => KeySpace::Publishes(caller.principal()),
        Origin::Quarantine => KeySpace::Releases,
    };
    let key_use = parsed.key.as_ref().map(|key| key_use(api, SpacedKey::new(space, key), tenant, wanted));
    let resolved = match resolve::event_type(api, project, &parsed.event_type, parsed.schema_version).await {
        Ok(resolved) => resolved,
        Err(problem) => {
            let first = seen_before(api, project, key_use.as_ref()).await?;
            return first.map(Prepared::Settled).ok_or(problem);
        }
    };

    let data = parsed.data.clone();
    let data = ReadOnce::new(&data);
    let mut findings = match validate(&resolved, &data) {
        Ok(findings) => findings,
        Err(problem) => {
            let first = seen_before(api, project, key_use.as_ref()).await?;
            return first.map(Prepared::Settled).ok_or(problem);
        }
    };
    let mut publish = Publish {
        project,
        tenant,
        event_type: parsed.event_type,
        schema_version: resolved.version,
        subject: parsed.subject,
        revision: parsed.revision,
        occurred_at: parsed.occurred_at,
        ordering_key: parsed.ordering_key,
        labels: parsed.labels,
        data: parsed.data,
        key_use,
        test: None,
        matched: None,
        endpoints: 0,
    };
    // Whoever writes it says so if the tenant is gone by now.
    if let Ok(matched) = match_endpoints(api.store.configuration(), &publish, &data) {
        findings.add_downgrades(&matched);
        publish.matched = matched.is_small().then(|| Arc::new(matched));
    }

    let validation = match origin {
        Origin::Publisher => {
            let project = api.store.configuration().project(project);
            project.map(|project| project.validation).unwrap_or_default()
        }
        Origin::Quarantine => Validation::Reject,
    };
    if findings.faults.is_empty() || validation == Validation::Warn {
        return Ok(Prepared::Ready(Box::new(Ready { publish, findings })));
    }
    if let Some(first) = seen_before(api, project, publish.key_use.as_ref()).await? {
        return Ok(Prepared::Settled(first));
    }
    match validation {
        Validation::Reject => Err(findings.problem()),
        _ => {
            let version_named = wanted.schema_version.is_some();
            quarantine::keep(api, publish, findings, version_named).await.map(Prepared::Settled)
        }
    }
}

/// What a repetition is recognised by: every field that was given, and not
/// the bytes of the request, so that a batch can repeat a single publish. The
/// tenant counts by its own id: one that was created again is another.
fn key_use(api: &Api, key: SpacedKey, tenant: TenantId, wanted: &PublishRequest) -> KeyUse {
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let labels = serde_json::to_string(&wanted.labels).unwrap_or_default();
    let fingerprint = fingerprint(&[
        &tenant.to_string(),
        &wanted.event_type,
        &wanted.subject,
        wanted.data.get(),
        &number(wanted.schema_version.map(u64::from)),
        &number(wanted.revision),
        &wanted.occurred_at.map(|at| at.as_micros().to_string()).unwrap_or_default(),
        wanted.ordering_key.as_deref().unwrap_or_default(),
        &labels,
    ]);
    KeyUse { key, fingerprint, expires_at: api.now().plus(idempotency::KEPT) }
}

/// The first answer, if the event was sent before under the same key.
async fn seen_before(
    api: &Api,
    project: ProjectId,
    key_use: Option<&KeyUse>,
) -> Result<Option<Taken>, Problem> {
    let Some(key_use) = key_use else { return Ok(None) };
    match api.store.first_answer(project, key_use).await? {
        FirstAnswer::Event { event, sequence } => {
            Ok(Some(Taken::published(event, sequence, Vec::new(), true)))
        }
        FirstAnswer::Kept(answer) => Taken::again(&answer).map(Some),
        FirstAnswer::OtherRequest => Err(Problem::key_reused()),
        FirstAnswer::None => Ok(None),
    }
}

/// Writes what was prepared, in its order, and says what became of each.
pub(crate) async fn write(
    api: &Api,
    prepared: Vec<Result<Prepared, Problem>>,
) -> Vec<Result<Taken, Problem>> {
    let mut publishes = Vec::with_capacity(prepared.len());
    let mut waiting = Vec::with_capacity(prepared.len());
    for one in prepared {
        waiting.push(one.map(|one| match one {
            Prepared::Settled(taken) => Waiting::Settled(taken),
            Prepared::Ready(ready) => {
                let Ready { publish, findings } = *ready;
                let written = Written {
                    project: publish.project,
                    bytes: publish.data.as_bytes().len(),
                    key_use: publish.key_use.clone(),
                    findings,
                };
                publishes.push(publish);
                Waiting::Written(written)
            }
        }));
    }
    let mut published = api.store.publish_all(publishes).await.into_iter();
    let mut taken = Vec::with_capacity(waiting.len());
    for one in waiting {
        taken.push(match one {
            Err(problem) => Err(problem),
            Ok(Waiting::Settled(settled)) => Ok(settled),
            Ok(Waiting::Written(written)) => match published.next() {
                Some(Ok(published)) => settle(api, written, published).await,
                Some(Err(error)) => Err(error.into()),
                None => Err(Problem::new(Code::Internal, "an event was not written")),
            },
        });
    }
    taken
}

/// An event whose writing is waited for, if it is written.
enum Waiting {
    Settled(Taken),
    Written(Written),
}

/// What is needed to tell what became of an event.
struct Written {
    project: ProjectId,
    bytes: usize,
    key_use: Option<KeyUse>,
    findings: Findings,
}

/// What became of an event that was written.
async fn settle(api: &Api, written: Written, published: Published) -> Result<Taken, Problem> {
    let Written { project, bytes, key_use, findings } = written;
    match published {
        Published::Accepted { event, sequence, .. } => {
            api.metrics.published(bytes);
            Ok(Taken::published(event, sequence, findings.into_warnings(), false))
        }
        Published::Repeated { event, sequence } => Ok(Taken::published(event, sequence, Vec::new(), true)),
        // It may have waited in quarantine under this key.
        Published::KeyReused => {
            seen_before(api, project, key_use.as_ref()).await?.ok_or_else(Problem::key_reused)
        }
        Published::UnknownTenant => Err(resolve::unknown_tenant()),
        Published::UnknownEndpoint => Err(Problem::not_found("endpoint")),
    }
}
