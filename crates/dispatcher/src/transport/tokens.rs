//! Tokens for calls: OAuth 2 client credentials (RFC 6749, section 4.4).
//!
//! A token is asked for once, used until shortly before it ends, and asked for
//! anew when a receiver refuses it. Calls that need the same one wait for the
//! same answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use model::attempt::ErrorClass;
use model::calls::{OauthClient, TokenAuth};
use model::endpoint::Endpoint;
use model::ids::EndpointId;
use moka::Expiry;
use moka::future::Cache;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tokio::time::Instant;
use url::form_urlencoded;

use super::clients::HttpClient;
use super::fault::Fault;
use super::phases::{self, Probe};
use super::repeat::Watch;
use super::wire::WireInfo;

/// So many tokens are kept.
const MOST: u64 = 10_000;
/// At most so much of an answer is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// A token is not used any more so long before it ends.
const EARLY: Duration = Duration::from_secs(30);
/// For how long a token is used whose end is not told.
const UNSTATED: Duration = Duration::from_secs(5 * 60);
/// For how long any token is used at most.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Tokens, by the endpoint and its last change.
pub(super) struct Tokens(Cache<(EndpointId, i64), Token>);

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    good_for: Duration,
}

/// What a token endpoint answers. Many write the time as text.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

/// What it answers when it refuses (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// The reasons that the standard knows, in plain words. What else stands there
/// may repeat what was sent, so it stays out of the log.
const REASONS: [(&str, &str); 6] = [
    ("invalid_client", "it does not know this client id, or the secret is wrong"),
    ("invalid_request", "it rejected the request as invalid"),
    ("invalid_grant", "it rejected the grant as invalid"),
    ("unauthorized_client", "this client may not ask for tokens in this way (client credentials)"),
    ("unsupported_grant_type", "it does not give tokens for client credentials"),
    ("invalid_scope", "it does not know the scope, or does not give it to this client"),
];

struct UntilItEnds;

impl Expiry<(EndpointId, i64), Token> for UntilItEnds {
    fn expire_after_create(
        &self,
        _: &(EndpointId, i64),
        token: &Token,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(token.good_for)
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST).expire_after(UntilItEnds).build())
    }
}

fn key(endpoint: &Endpoint) -> (EndpointId, i64) {
    (endpoint.id, endpoint.updated_at.as_micros())
}

impl Tokens {
    /// The value of `authorization` for a call to the endpoint.
    pub(super) async fn get(
        &self,
        client: &HttpClient,
        endpoint: &Endpoint,
        oauth: &OauthClient,
    ) -> Result<HeaderValue, Fault> {
        // A connection of its own, whose phases are not those of the call.
        let probe = Arc::new(Probe::default());
        let asking = phases::with_probe(probe, ask(client, endpoint, oauth));
        let token = self.0.try_get_with(key(endpoint), asking).await;
        token.map(|token| token.header).map_err(|detail: Arc<String>| Fault {
            class: ErrorClass::Oauth,
            detail: format!("no token for this call: {detail}"),
        })
    }

    /// The receiver did not take it.
    pub(super) async fn forget(&self, endpoint: &Endpoint) {
        self.0.invalidate(&key(endpoint)).await;
    }
}

/// The request for a token (RFC 6749, sections 2.3.1 and 4.4.2). Id and secret
/// are coded as in a form before they stand in the header.
fn request(endpoint: &Endpoint, oauth: &OauthClient) -> Option<Request<Full<Bytes>>> {
    let secret = endpoint.credentials.oauth_secret.as_ref().map_or("", |secret| secret.expose_secret());
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !oauth.scope.is_empty() {
        form.append_pair("scope", &oauth.scope);
    }
    let mut request = Request::post(oauth.token_url.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json");
    match oauth.auth_method {
        TokenAuth::ClientSecretBasic => {
            let coded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let basic = super::basic(&coded(&oauth.client_id), &coded(secret));
            let mut basic = HeaderValue::from_str(&basic).ok()?;
            basic.set_sensitive(true);
            request = request.header(AUTHORIZATION, basic);
        }
        TokenAuth::ClientSecretPost => {
            form.append_pair("client_id", &oauth.client_id);
            form.append_pair("client_secret", secret);
        }
    }
    request.body(Full::from(form.finish())).ok()
}

async fn ask(client: &HttpClient, endpoint: &Endpoint, oauth: &OauthClient) -> Result<Token, String> {
    let request = request(endpoint, oauth).ok_or("its URL, id or secret cannot be sent")?;
    let asked = Instant::now();
    // Redirects are not followed, here as everywhere.
    let mut watch = Watch::default();
    let sent = client.send(request, &mut watch).await;
    let response = sent.map_err(|error| Fault::sending(&error).detail)?;
    let status = response.status();
    if let Some(wire) = response.extensions().get::<WireInfo>() {
        wire.answered();
        if wire.is_old() {
            watch.poison();
        }
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|_| {
        format!("the token endpoint answers with more than {MAX_ANSWER} bytes, or its answer was cut off")
    })?;
    let body = body.to_bytes();
    let refused = || {
        let refused: Refused = serde_json::from_slice(&body).ok()?;
        let (code, words) = REASONS.iter().find(|(code, _)| *code == refused.error)?;
        Some(format!("the token endpoint answered {code}: {words}"))
    };
    if !status.is_success() {
        return Err(refused().unwrap_or_else(|| format!("the token endpoint answered {status}")));
    }
    let granted: Granted = serde_json::from_slice(&body).map_err(|_| {
        refused().unwrap_or_else(|| "the token endpoint did not answer with a token in JSON".to_owned())
    })?;
    if granted.access_token.is_empty() {
        return Err("the token endpoint answered with a token that is empty".to_owned());
    }
    if granted.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("the token endpoint gives tokens that are not bearer tokens".to_owned());
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {}", granted.access_token))
        .map_err(|_| "the token does not fit into a header".to_owned())?;
    header.set_sensitive(true);
    let stated = granted.expires_in.as_ref().and_then(secs);
    let good_for = stated.map_or(UNSTATED, |stated| stated.saturating_sub(EARLY)).min(LONGEST);
    Ok(Token { header, good_for: good_for.saturating_sub(asked.elapsed()) })
}

/// A number of seconds, also where it is written as text.
fn secs(value: &serde_json::Value) -> Option<Duration> {
    let secs = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(secs).ok()
}
