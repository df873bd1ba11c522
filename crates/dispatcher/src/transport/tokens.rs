//! Tokens for calls: OAuth 2 client credentials (RFC 6749, section 4.4).
//!
//! A token is asked for once, used until shortly before it ends, and asked for
//! anew when a receiver refuses it. Calls that need the same one wait for the
//! same answer.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use model::attempt::ErrorClass;
use model::calls::OauthClient;
use model::endpoint::Endpoint;
use model::ids::EndpointId;
use moka::Expiry;
use moka::future::Cache;
use reqwest::Client;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tokio::time::Instant;

use super::fault::{Fault, describe};
use super::phases::{self, Probe};

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

/// What a token endpoint answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<f64>,
}

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
        client: &Client,
        endpoint: &Endpoint,
        oauth: &OauthClient,
    ) -> Result<HeaderValue, Fault> {
        // A connection of its own, with a port of its own for the guard to look at.
        let probe = Arc::new(Probe::for_url(&oauth.token_url));
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

async fn ask(client: &Client, endpoint: &Endpoint, oauth: &OauthClient) -> Result<Token, String> {
    let secret = endpoint.credentials.oauth_secret.as_ref().map(|secret| secret.expose_secret());
    let mut form = vec![("grant_type", "client_credentials")];
    if !oauth.scope.is_empty() {
        form.push(("scope", &oauth.scope));
    }
    let asked = Instant::now();
    let request = client.post(oauth.token_url.clone()).basic_auth(&oauth.client_id, secret).form(&form);
    let mut response = request.send().await.map_err(describe)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(describe)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Err(format!("the token endpoint answers with more than {MAX_ANSWER} bytes"));
        }
    }
    // The body of a refusal may repeat what was sent: it stays out of the log.
    if !status.is_success() {
        return Err(format!("the token endpoint answered {status}"));
    }
    let granted: Granted = serde_json::from_slice(&body)
        .map_err(|_| "the token endpoint did not answer with a token in JSON".to_owned())?;
    if granted.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("the token endpoint gives tokens that are not bearer tokens".to_owned());
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {}", granted.access_token))
        .map_err(|_| "the token does not fit into a header".to_owned())?;
    header.set_sensitive(true);
    let stated = granted.expires_in.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    let good_for = stated.map_or(UNSTATED, |stated| stated.saturating_sub(EARLY)).min(LONGEST);
    Ok(Token { header, good_for: good_for.saturating_sub(asked.elapsed()) })
}
