//! Which endpoints of its tenant an event goes to.

use std::fmt;
use std::sync::Arc;

use model::catalogue::EventTypeEntry;
use model::endpoint::NoMatch;
use model::event::{Event, EventData, OlderData, ReadOnce};
use model::filter::Candidate;
use model::schema::Fault;

use super::fan_out::{LateTarget, split_off_late};
use crate::configuration::{Configuration, LiveEndpoint, Version};
use crate::events::{Publish, Published, Unmatched};
use crate::queue::PART;
use crate::shared::Shared;

/// An event lists at most so many endpoints that did not get it.
const MAX_UNMATCHED: usize = 100;

/// An endpoint that wants an event.
#[derive(Clone)]
pub(crate) struct Target {
    pub(super) live: Arc<LiveEndpoint>,
    /// The version that it gets, if that is older than the event's.
    pub(super) version: Option<u32>,
}

/// The endpoints that want an event, and those that do not, by one version of the
/// configuration. It travels with the event to the writer, which matches again
/// only if that version is not the newest any more.
pub struct Matched {
    version: Version,
    /// Those that get it with the commit of the event.
    pub(crate) wanted: Vec<Target>,
    /// Those that get it in further parts.
    pub(crate) late: Arc<[LateTarget]>,
    pub(crate) unmatched: Vec<Unmatched>,
    /// The data in the older versions that they get.
    pub(crate) older: OlderData,
    /// Versions that the data could not be given in.
    faults: Vec<(u32, Vec<Fault>)>,
}

impl fmt::Debug for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matched").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Matched {
    /// Whether it is small enough to travel with its event. One for many endpoints
    /// would take more room than the event, which may wait in a long queue; it is
    /// matched again when its turn comes.
    pub fn is_small(&self) -> bool {
        self.late.is_empty() && self.wanted.len() <= PART
    }

    /// The older versions that endpoints want and the data could not be given in,
    /// each with what is wrong.
    pub fn downgrade_faults(&self) -> &[(u32, Vec<Fault>)] {
        &self.faults
    }
}

/// Why an event can go to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTarget {
    /// The tenant is not there, or no longer.
    Tenant,
    /// The endpoint of the test route is not there, or no longer.
    Endpoint,
}

impl From<NoTarget> for Published {
    fn from(no_target: NoTarget) -> Self {
        match no_target {
            NoTarget::Tenant => Self::UnknownTenant,
            NoTarget::Endpoint => Self::UnknownEndpoint,
        }
    }
}

/// Matches a publish with the endpoints of its tenant, as they are known now.
///
/// # Errors
///
/// There is nobody that it could go to.
pub fn match_endpoints(
    configuration: &Configuration,
    publish: &Publish,
    data: &ReadOnce<'_>,
) -> Result<Matched, NoTarget> {
    let known = configuration.for_event(publish.project, publish.tenant, &publish.event_type);
    let endpoints = known.endpoints.ok_or(NoTarget::Tenant)?;
    let mut matched = Matched {
        version: known.version,
        wanted: Vec::with_capacity(endpoints.len()),
        late: Arc::default(),
        unmatched: Vec::new(),
        older: OlderData::default(),
        faults: Vec::new(),
    };
    if let Some(test) = publish.test {
        let live = endpoints.into_iter().find(|live| live.endpoint.id == test).ok_or(NoTarget::Endpoint)?;
        matched.wanted.push(Target { live, version: None });
        return Ok(matched);
    }
    let entry = known.event_type.as_deref();
    for live in endpoints {
        let candidate = Candidate {
            event_type: &publish.event_type,
            subject: &publish.subject,
            labels: &publish.labels,
            data: None,
        };
        let wants = live.endpoint.wants(entry, &publish.event_type, publish.schema_version);
        let wants = wants.and_then(|version| {
            passes_filter(&live, candidate, Some(data))?;
            matched.give_in_version(entry, publish, version)
        });
        match wants {
            Ok(version) => matched.wanted.push(Target { live, version }),
            Err(reason) if matched.unmatched.len() < MAX_UNMATCHED => {
                let endpoint = live.endpoint.id;
                matched.unmatched.push(Unmatched { endpoint, reason: reason.as_str().to_owned() });
            }
            Err(_) => {}
        }
    }
    matched.late = split_off_late(&mut matched.wanted).into();
    matched.wanted.shrink_to_fit();
    Ok(matched)
}

/// What a publish was matched with, if that is still so; else it is matched again.
pub(crate) fn current<E>(shared: &Shared<E>, publish: &Publish) -> Result<Arc<Matched>, NoTarget> {
    if let Some(matched) = &publish.matched
        && matched.version == shared.configuration.version_in_history()
    {
        return Ok(Arc::clone(matched));
    }
    match_endpoints(&shared.configuration, publish, &ReadOnce::new(&publish.data)).map(Arc::new)
}

impl Matched {
    /// Sees to it that the data is there in a version; gives the version if it is
    /// not the event's own.
    fn give_in_version(
        &mut self,
        entry: Option<&EventTypeEntry>,
        publish: &Publish,
        version: u32,
    ) -> Result<Option<u32>, NoMatch> {
        if version == publish.schema_version {
            return Ok(None);
        }
        if self.faults.iter().any(|(failed, _)| *failed == version) {
            return Err(NoMatch::DowngradeFailed);
        }
        if self.older.get(version).is_none() {
            let entry = entry.ok_or(NoMatch::SchemaVersion)?;
            match downgraded(entry, &publish.data, publish.schema_version, version) {
                Ok(text) => self.older.add(version, text),
                Err(faults) => {
                    self.faults.push((version, faults));
                    return Err(NoMatch::DowngradeFailed);
                }
            }
        }
        Ok(Some(version))
    }
}

/// Data of one version in an older one.
pub(crate) fn downgraded(
    entry: &EventTypeEntry,
    data: &EventData,
    from: u32,
    to: u32,
) -> Result<String, Vec<Fault>> {
    let not_text = |_| vec![Fault { pointer: String::new(), detail: "is not UTF-8".to_owned() }];
    let text = std::str::from_utf8(data.as_bytes()).map_err(not_text)?;
    entry.downgraded(text, from, to)
}

/// In which version an endpoint would get an event that is there already.
pub(crate) fn would_get(
    live: &LiveEndpoint,
    entry: Option<&EventTypeEntry>,
    event: &Event,
    data: Option<&ReadOnce<'_>>,
) -> Result<u32, NoMatch> {
    let version = live.endpoint.wants(entry, &event.event_type, event.schema_version)?;
    let Event { event_type, subject, labels, .. } = event;
    passes_filter(live, Candidate { event_type, subject, labels, data: None }, data)?;
    Ok(version)
}

/// Whether a candidate passes the endpoint's filter; `data` is read only for a
/// filter that looks at it.
fn passes_filter<'a>(
    live: &LiveEndpoint,
    candidate: Candidate<'a>,
    data: Option<&'a ReadOnce<'_>>,
) -> Result<(), NoMatch> {
    let Some(filter) = &live.endpoint.calls.filter else { return Ok(()) };
    let data = if filter.reads_data() { data.and_then(ReadOnce::value) } else { None };
    if filter.passes(&Candidate { data, ..candidate }) { Ok(()) } else { Err(NoMatch::Filter) }
}
