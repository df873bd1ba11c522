//! The parameters of operations, each described in one place.
#![expect(dead_code, reason = "they are read from the request one by one; these describe them")]

use api_types::words;
use utoipa::IntoParams;

/// A tenant in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct InTenant {
    /// The tenant, by the id that you gave it.
    #[param(example = "acme")]
    tenant: String,
}

/// An endpoint in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfEndpoint {
    /// The endpoint: `ep_…`.
    endpoint: String,
}

/// An event in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfEvent {
    /// The event: `evt_…`.
    event: String,
}

/// A delivery in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfDelivery {
    /// The delivery: `dlv_…`.
    delivery: String,
}

/// A replay in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfReplay {
    /// The replay: `rpl_…`.
    replay: String,
}

/// An API key in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfKey {
    /// The key, by its id: `key_…`.
    key: String,
}

/// A portal session in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfSession {
    /// The session: `ses_…`.
    session: String,
}

/// A filter of API keys.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Unused {
    /// Those that were made before this time and not used since. Uses by other
    /// processes are known after half a minute.
    #[param(format = DateTime)]
    unused_since: Option<String>,
}

/// An erasure in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfErasure {
    /// The erasure: `era_…`.
    erasure: String,
}

/// What becomes of what is kept of a tenant that is deleted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WithErasure {
    /// `true`: everything that is kept of it is erased, which needs the scope
    /// `erase:write`. Otherwise what was published stays in the log for as long as the
    /// project keeps it.
    erase: Option<bool>,
}

/// A filter of the audit log.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterAudit {
    /// What was done by this one: an API key, a portal session, `command_line` or
    /// `posthorn`.
    actor: Option<String>,
    /// What was one of these; several by comma.
    #[param(value_type = Option<Vec<words::AuditAction>>, style = Form, explode = false)]
    action: Option<String>,
    /// What was done to the thing of this id or name.
    target: Option<String>,
    /// What is about this tenant.
    tenant: Option<String>,
    /// Written at this time or after it.
    #[param(format = DateTime)]
    occurred_after: Option<String>,
    /// Written before this time.
    #[param(format = DateTime)]
    occurred_before: Option<String>,
}

/// What ends with an API key.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WithSessions {
    /// `true`: the portal sessions that the key opened end with it.
    end_sessions: Option<bool>,
}

/// An event in quarantine in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfQuarantined {
    /// The event in quarantine: `qua_…`.
    id: String,
}

/// An event type in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfType {
    /// The event type, by its name.
    #[param(example = "order.paid")]
    name: String,
}

/// A version of an event type in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfVersion {
    /// The event type, by its name.
    #[param(example = "order.paid")]
    name: String,
    /// The number of the version.
    #[param(minimum = 1)]
    version: u32,
}

/// A retry policy in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfPolicy {
    /// The retry policy, by its name.
    #[param(example = "standard")]
    name: String,
}

/// What every list takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paged {
    /// How many rows to answer at most. A page is bounded in bytes, too, so it may hold fewer while there are more.
    #[param(minimum = 1, maximum = 250, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before. It belongs to its list, filters and order.
    cursor: Option<String>,
    /// `desc`: the newest first, which is usual; `asc`: the oldest first, as attempts come unless asked otherwise.
    #[param(value_type = Option<words::Order>)]
    order: Option<String>,
}

/// Filters of events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterEvents {
    /// Those of this tenant.
    tenant: Option<String>,
    /// Those of this type, or of all below a name: `order.*`.
    #[param(example = "order.*")]
    r#type: Option<String>,
    /// Those with this label: its name, a colon, its value.
    #[param(example = "region:eu")]
    label: Option<String>,
    /// Those about this object.
    subject: Option<String>,
    /// Those that did not happen before this.
    #[param(format = DateTime)]
    occurred_after: Option<String>,
    /// Those that happened before this.
    #[param(format = DateTime)]
    occurred_before: Option<String>,
}

/// What a list of events may show beside them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Expanded {
    /// `data`: the data of each event, for a key with the scope `payloads:read`.
    #[param(pattern = "^data$")]
    expand: Option<String>,
}

/// Filters of deliveries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterDeliveries {
    /// Those to this endpoint: `ep_…`.
    endpoint: Option<String>,
    /// Those that stand so; several are separated by commas.
    #[param(value_type = Option<Vec<words::DeliveryStatus>>, style = Form, explode = false)]
    status: Option<String>,
    /// `true`: all that has not arrived and was not withdrawn.
    undelivered: Option<bool>,
    /// Those that this replay sent: `rpl_…`.
    replay: Option<String>,
    /// Those whose last attempt ended so.
    #[param(value_type = Option<words::ErrorClass>)]
    error_class: Option<String>,
    /// Those whose last attempt was answered so.
    #[param(minimum = 100, maximum = 999)]
    http_status: Option<u16>,
}

/// A filter of events in quarantine.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterQuarantine {
    /// Those that stand so.
    #[param(value_type = Option<words::QuarantineState>)]
    state: Option<String>,
}

/// In which version an event is shown.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct InVersion {
    /// The version in which its data is shown; the one that it was published in if not given.
    #[param(minimum = 1)]
    schema_version: Option<u32>,
}

/// Whose events a preview shows.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfTenant {
    /// The tenant whose last events are shown. A key that is bound to one needs no other.
    tenant: Option<String>,
}

/// How long a test waits.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Waiting {
    /// For how many seconds to wait for the receiver's answer; a key then needs the scope `deliveries:read`, too.
    #[param(minimum = 1, maximum = 30)]
    wait: Option<u32>,
}

/// What makes a request repeatable.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Repeatable {
    /// Makes a repeated request the same request: within three days it is answered as the first one was, with
    /// `idempotency-replayed: true`, and nothing is done twice.
    #[param(rename = "Idempotency-Key", example = "outbox-981")]
    idempotency_key: Option<String>,
}

/// A state that the caller has.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Known {
    /// The `ETag` of what you have: the answer is 304 and empty while it is still the same.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// The state that a change is made to.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Expected {
    /// The `ETag` of the state that the request is about. If it is another by now, nothing is done: 412.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}
