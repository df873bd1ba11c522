//! From what a caller wants to an endpoint that cannot be invalid.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::EndpointRequest;
use delivery_log::tenants::Tenant;
use model::endpoint::{
    CustomHeader, DEFAULT_TIMEOUT, Endpoint, EndpointStatus, MAX_SUBSCRIPTIONS, TIMEOUT_SECS,
};
use model::event_type::Subscription;
use model::headers::{self, MAX_CUSTOM_HEADERS};
use model::ids::EndpointId;
use model::json::escape;
use model::names::check_optional_text;
use model::payload::PayloadMode;
use secrecy::ExposeSecret as _;
use url::Url;

use crate::api::{Api, new_id};
use crate::problem::{Faults, Problem};
use crate::tenants::{check_metadata, metadata};

/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 1_024;

/// A new endpoint of a tenant, checked. A URL that it has already is not
/// checked again: the rules may have changed, and it must still be possible to
/// pause it. Calls are checked each time.
pub(super) fn endpoint(
    api: &Api,
    tenant: &Tenant,
    wanted: &EndpointRequest,
    present_url: Option<&Url>,
) -> Result<Endpoint, Problem> {
    let mut faults = Faults::default();
    let url = match present_url.filter(|url| url.as_str() == wanted.url) {
        Some(url) => Some(url.clone()),
        None => faults.check("/url", api.settings.targets.parse_url(&wanted.url)),
    };
    let description = wanted.description.clone().unwrap_or_default();
    faults.check("/description", check_optional_text(&description, MAX_DESCRIPTION));
    let subscriptions = subscriptions(&mut faults, wanted.event_types.as_deref());
    let payload = named::<PayloadMode>(&mut faults, "/payload", wanted.payload.as_deref());
    let status = named::<EndpointStatus>(&mut faults, "/status", wanted.status.as_deref());
    let timeout = timeout(&mut faults, wanted.timeout_seconds);
    let headers = custom_headers(&mut faults, &wanted.headers);
    let metadata = faults.check("/metadata", check_metadata(&wanted.metadata));
    let (Some(url), Some(metadata)) = (url, metadata) else { return Err(faults.into()) };
    faults.finish()?;
    let now = api.now();
    Ok(Endpoint {
        id: new_id!(EndpointId, api),
        project: tenant.project,
        tenant: tenant.id,
        url,
        description,
        subscriptions,
        payload,
        headers,
        timeout,
        status,
        disabled_reason: None,
        metadata,
        created_at: now,
        updated_at: now,
    })
}

/// What a caller would have to ask for to get this endpoint. Never shown:
/// it holds the values of headers.
pub(super) fn request_for(endpoint: &Endpoint) -> EndpointRequest {
    EndpointRequest {
        url: endpoint.url.to_string(),
        description: Some(endpoint.description.clone()),
        event_types: Some(endpoint.subscriptions.iter().map(ToString::to_string).collect()),
        payload: Some(endpoint.payload.to_string()),
        headers: endpoint
            .headers
            .iter()
            .map(|header| (header.name.clone(), header.value.expose_secret().to_owned()))
            .collect(),
        secret: None,
        timeout_seconds: Some(endpoint.timeout.as_secs()),
        status: Some(endpoint.status.to_string()),
        metadata: metadata(&endpoint.metadata),
    }
}

/// A value of a small set, or the set's default.
fn named<T>(faults: &mut Faults, pointer: &str, text: Option<&str>) -> T
where
    T: std::str::FromStr + Default,
    T::Err: std::fmt::Display,
{
    text.and_then(|text| faults.check(pointer, text.parse())).unwrap_or_default()
}

fn subscriptions(faults: &mut Faults, wanted: Option<&[String]>) -> Vec<Subscription> {
    let all = ["*".to_owned()];
    let wanted = wanted.unwrap_or(&all);
    if wanted.is_empty() {
        faults.add("/event_types", "invalid_value", "must name at least one event type; * is all");
    }
    if wanted.len() > MAX_SUBSCRIPTIONS {
        faults.add(
            "/event_types",
            "invalid_value",
            format_args!("has more than {MAX_SUBSCRIPTIONS} entries"),
        );
        return Vec::new();
    }
    let check =
        |(index, text): (usize, &String)| faults.check(&format!("/event_types/{index}"), text.parse());
    wanted.iter().enumerate().filter_map(check).collect()
}

fn timeout(faults: &mut Faults, wanted: Option<u64>) -> Duration {
    let Some(secs) = wanted else { return DEFAULT_TIMEOUT };
    if !TIMEOUT_SECS.contains(&secs) {
        let detail = format!("must be from {} to {}", TIMEOUT_SECS.start(), TIMEOUT_SECS.end());
        faults.add("/timeout_seconds", "invalid_value", detail);
    }
    Duration::from_secs(secs)
}

fn custom_headers(faults: &mut Faults, wanted: &BTreeMap<String, String>) -> Vec<CustomHeader> {
    if wanted.len() > MAX_CUSTOM_HEADERS {
        faults.add("/headers", "invalid_value", format_args!("has more than {MAX_CUSTOM_HEADERS} entries"));
        return Vec::new();
    }
    let mut checked: Vec<CustomHeader> = Vec::with_capacity(wanted.len());
    for (name, value) in wanted {
        let pointer = format!("/headers/{}", escape(name));
        let name = faults.check(&pointer, headers::check_name(name));
        faults.check(&pointer, headers::check_value(value));
        let Some(name) = name else { continue };
        if checked.iter().any(|other| other.name == name) {
            faults.add(pointer, "invalid_value", "stands twice, in other letters");
            continue;
        }
        checked.push(CustomHeader { name, value: value.clone().into() });
    }
    checked
}
