//! From what a caller wants to an endpoint that cannot be invalid.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use api_types::{ClientCertificateRequest, EndpointRequest, OauthRequest};
use delivery_log::tenants::Tenant;
use model::calls::{CallOptions, Format, OauthClient};
use model::clock::Timestamp;
use model::endpoint::{
    ClientCertificate, Credentials, CustomHeader, Endpoint, EndpointStatus, MAX_SUBSCRIPTIONS, NoMatch,
    TIMEOUT_SECS,
};
use model::event_type::{Subscription, WantedVersion};
use model::filter::Filter;
use model::headers::{self, MAX_CUSTOM_HEADERS};
use model::ids::EndpointId;
use model::json::escape;
use model::names::{check_optional_text, check_text};
use model::payload::PayloadMode;
use model::rate::MAX_RATE;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::certificate;
use crate::api::Api;
use crate::problem::{Faults, Problem};
use crate::tenants::{check_metadata, metadata};

/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 1_024;
/// What an endpoint may take, all its texts together, in bytes of JSON. In
/// memory that is about twice as much.
const MAX_TEXTS: usize = 48 * 1024;
/// The longest id, secret or scope of an OAuth client, in bytes.
const MAX_OAUTH_TEXT: usize = 1_024;

/// A new endpoint of a tenant, checked. A URL that it has already is not
/// checked again: the rules may have changed, and it must still be possible to
/// pause it. Calls are checked each time.
pub(super) fn endpoint(
    api: &Api,
    tenant: &Tenant,
    wanted: &EndpointRequest,
    before: Option<&Endpoint>,
) -> Result<Endpoint, Problem> {
    let mut faults = Faults::default();
    if crate::outgoing::to_json(wanted).len() > MAX_TEXTS {
        let detail = format!("is larger than {MAX_TEXTS} bytes, all its fields together");
        return Err(Problem::invalid("", "too_large", detail));
    }
    let url = match before.map(|before| &before.url).filter(|url| url.as_str() == wanted.url) {
        Some(url) => Some(url.clone()),
        None => faults.check("/url", api.settings.targets.parse_url(&wanted.url)),
    };
    let description = wanted.description.clone().unwrap_or_default();
    faults.check("/description", check_optional_text(&description, MAX_DESCRIPTION));
    let now = api.now();
    let subscriptions = subscriptions(&mut faults, wanted.event_types.as_deref());
    let subscriptions = pinned(&mut faults, api, tenant, subscriptions, before, now);
    let payload = named::<PayloadMode>(&mut faults, "/payload", wanted.payload.as_deref());
    let status = named::<EndpointStatus>(&mut faults, "/status", wanted.status.as_deref());
    let timeout = timeout(&mut faults, wanted.timeout_seconds);
    let calls = calls(&mut faults, api, tenant, wanted);
    let credentials = credentials(&mut faults, wanted);
    if calls.format == Format::CloudEvents && payload == PayloadMode::Data {
        faults.add(
            "/format",
            "invalid_value",
            "cloudevents has an envelope, which the payload \"data\" leaves out",
        );
    }
    let headers = custom_headers(&mut faults, &wanted.headers);
    let metadata = faults.check("/metadata", check_metadata(&wanted.metadata));
    let (Some(url), Some(metadata)) = (url, metadata) else { return Err(faults.into()) };
    faults.finish()?;
    Ok(Endpoint {
        id: api.env.new_id::<EndpointId>(),
        project: tenant.project,
        tenant: tenant.id,
        url,
        description,
        subscriptions,
        payload,
        headers,
        timeout,
        calls,
        credentials,
        status,
        disabled_reason: None,
        missed_since: None,
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
        timeout_seconds: endpoint.timeout.map(|timeout| timeout.as_secs()),
        retry_policy: Some(endpoint.calls.retry_policy.clone()),
        rate_limit_per_second: endpoint.calls.rate_limit.map(NonZeroU32::get),
        ordering: Some(endpoint.calls.ordering.to_string()),
        filter: endpoint.calls.filter.as_ref().map(|filter| filter.source().clone()),
        format: Some(endpoint.calls.format.to_string()),
        signature_headers: Some(endpoint.calls.signature_headers.to_string()),
        signature: Some(endpoint.calls.signature.to_string()),
        oauth: endpoint.calls.oauth.as_ref().map(|oauth| OauthRequest {
            token_url: oauth.token_url.to_string(),
            client_id: oauth.client_id.clone(),
            client_secret: revealed(endpoint.credentials.oauth_secret.as_ref()),
            scope: Some(oauth.scope.clone()),
            auth_method: Some(oauth.auth_method.to_string()),
        }),
        client_certificate: endpoint.credentials.client_certificate.as_ref().map(|certificate| {
            ClientCertificateRequest {
                certificate: certificate.chain.clone(),
                private_key: revealed(Some(&certificate.key)),
            }
        }),
        status: Some(endpoint.status.to_string()),
        metadata: metadata(&endpoint.metadata),
    }
}

fn revealed(secret: Option<&SecretString>) -> String {
    secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default()
}

/// How it wants to be called.
fn calls(faults: &mut Faults, api: &Api, tenant: &Tenant, wanted: &EndpointRequest) -> CallOptions {
    let retry_policy = wanted.retry_policy.clone().unwrap_or_else(|| "standard".to_owned());
    if api.store.configuration().retry_policy(tenant.project, &retry_policy).is_none() {
        faults.add(
            "/retry_policy",
            "invalid_value",
            "is not a retry policy of this project; GET /v1/retry-policies lists them",
        );
    }
    let rate_limit = wanted.rate_limit_per_second.and_then(|rate| {
        let fits = (1..=MAX_RATE).contains(&rate).then(|| NonZeroU32::new(rate)).flatten();
        faults.check("/rate_limit_per_second", fits.ok_or(format!("must be from 1 to {MAX_RATE}")))
    });
    CallOptions {
        timeout_by_policy: false,
        retry_policy,
        rate_limit,
        ordering: named(faults, "/ordering", wanted.ordering.as_deref()),
        filter: wanted.filter.as_ref().and_then(|json| filter(faults, "/filter", json)),
        format: named(faults, "/format", wanted.format.as_deref()),
        signature_headers: named(faults, "/signature_headers", wanted.signature_headers.as_deref()),
        signature: named(faults, "/signature", wanted.signature.as_deref()),
        oauth: wanted.oauth.as_ref().and_then(|oauth| oauth_client(faults, api, oauth)),
    }
}

/// A filter; what is wrong with it is named by its place.
pub(super) fn filter(faults: &mut Faults, pointer: &str, json: &Value) -> Option<Filter> {
    match Filter::parse(json) {
        Ok(filter) => Some(filter),
        Err(fault) => {
            faults.add(format!("{pointer}{}", fault.pointer), "invalid_value", fault.detail);
            None
        }
    }
}

fn oauth_client(faults: &mut Faults, api: &Api, wanted: &OauthRequest) -> Option<OauthClient> {
    let token_url = faults.check("/oauth/token_url", api.settings.targets.parse_url(&wanted.token_url));
    let scope = wanted.scope.clone().unwrap_or_default();
    faults.check("/oauth/client_id", check_text(&wanted.client_id, MAX_OAUTH_TEXT));
    faults.check("/oauth/client_secret", check_text(&wanted.client_secret, MAX_OAUTH_TEXT));
    faults.check("/oauth/scope", check_optional_text(&scope, MAX_OAUTH_TEXT));
    let auth_method = named(faults, "/oauth/auth_method", wanted.auth_method.as_deref());
    Some(OauthClient { token_url: token_url?, client_id: wanted.client_id.clone(), scope, auth_method })
}

/// What calls need beside the signature.
fn credentials(faults: &mut Faults, wanted: &EndpointRequest) -> Credentials {
    let certificate = wanted.client_certificate.as_ref().and_then(|given| {
        let (chain, key) = (given.certificate.clone(), SecretString::from(given.private_key.clone()));
        faults.check("/client_certificate", certificate::check(&chain, &key))?;
        Some(ClientCertificate { chain, key })
    });
    Credentials {
        oauth_secret: wanted.oauth.as_ref().map(|oauth| oauth.client_secret.clone().into()),
        client_certificate: certificate,
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

pub(super) fn subscriptions(faults: &mut Faults, wanted: Option<&[String]>) -> Vec<Subscription> {
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

/// The subscriptions with the times when they were made: one that was there
/// already stays pinned to what it is pinned to.
fn pinned(
    faults: &mut Faults,
    api: &Api,
    tenant: &Tenant,
    wanted: Vec<Subscription>,
    before: Option<&Endpoint>,
    now: Timestamp,
) -> Vec<Subscription> {
    let known = |one: &Subscription| {
        let same = |other: &&Subscription| other.to_string() == one.to_string();
        before.and_then(|before| before.subscriptions.iter().find(same)).map(Subscription::since)
    };
    let mut pinned = Vec::with_capacity(wanted.len());
    for (index, one) in wanted.into_iter().enumerate() {
        let since = known(&one);
        if since.is_none()
            && let Some(why) = unreachable_version(api, tenant, &one, now)
        {
            faults.add(format!("/event_types/{index}"), "invalid_value", why);
        }
        pinned.push(one.made_at(since.unwrap_or(now)));
    }
    pinned
}

/// Why a version of a type that a new subscription names is never delivered.
/// One that is still to come may be waited for.
fn unreachable_version(api: &Api, tenant: &Tenant, one: &Subscription, now: Timestamp) -> Option<String> {
    let (WantedVersion::Pinned(version), Some(name)) = (one.version(), one.exact()) else { return None };
    let entry = api.store.configuration().event_type(tenant.project, name)?;
    let newest = entry.newest()?.number;
    match entry.delivers(one.version(), now, newest) {
        Err(NoMatch::VersionRetired) => Some(format!("version {version} is retired; the newest is {newest}")),
        Err(NoMatch::SchemaVersion) if version < newest => {
            Some(format!("nothing converts the newest version, {newest}, to version {version}"))
        }
        _ => None,
    }
}

fn timeout(faults: &mut Faults, wanted: Option<u64>) -> Option<Duration> {
    let secs = wanted?;
    if !TIMEOUT_SECS.contains(&secs) {
        let detail = format!("must be from {} to {}", TIMEOUT_SECS.start(), TIMEOUT_SECS.end());
        faults.add("/timeout_seconds", "invalid_value", detail);
    }
    Some(Duration::from_secs(secs))
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
            faults.add(pointer, "invalid_value", "appears twice, in a different case");
            continue;
        }
        checked.push(CustomHeader { name, value: value.clone().into() });
    }
    checked
}
