//! `POST /v1/oauth/token`: short-lived tokens for API keys, by client credentials
//! (RFC 6749, section 4.4).
//!
//! A token is what it stands for, sealed by the store: nothing of it is kept, every
//! process knows it, and it is good only as long as the key is. Answers and errors are
//! those of the RFC (sections 5.1 and 5.2), for clients that know nothing of Posthorn.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, web};
use api_types::{OauthError, OauthToken, OauthTokenRequest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::access::{ApiKey, Grant, Scopes, TokenHash, TokenKind, hash_token};
use url::form_urlencoded;

use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::Incoming;
use crate::problem::Problem;

/// The longest body, in bytes.
const LIMIT: usize = 4 * 1024;
/// How long a token is good.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Why there is no token.
struct Refusal {
    error: &'static str,
    why: String,
    status: StatusCode,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(error: &'static str, why: impl Into<String>) -> Self {
        Self { error, why: why.into(), status: StatusCode::BAD_REQUEST, retry_after: None }
    }

    fn invalid_client(why: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, ..Self::new("invalid_client", why) }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        match problem.status() {
            401 => Self::invalid_client(problem.to_string()),
            429 | 500.. => Self {
                status: StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
                retry_after: problem.retry_after().or(Some(1)),
                ..Self::new("temporarily_unavailable", problem.to_string())
            },
            _ => Self::new("invalid_request", problem.to_string()),
        }
    }
}

/// Gives a short-lived token for an API key. The client is the key's id, its secret the
/// key; both in the header `Authorization: Basic` or in the form.
#[utoipa::path(post, path = "/v1/oauth/token", tag = "API keys", operation_id = "oauth.token",
    security(()),
    request_body(content = OauthTokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token, for the header `Authorization: Bearer`.", body = OauthToken),
        (status = 400, description = "The request is not as RFC 6749 has it, or asks for a scope that the key lacks.", body = OauthError),
        (status = 401, description = "The client is not known.", body = OauthError),
        (status = 429, description = "Requests come too often: `Retry-After` says when to come again.", body = OauthError),
        (status = 503, description = "Posthorn cannot do that now.", body = OauthError)))]
pub(crate) async fn token(api: web::Data<Api>, request: HttpRequest, mut incoming: Incoming) -> HttpResponse {
    match grant(&api, &request, &mut incoming).await {
        Ok(token) => HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header((PRAGMA, "no-cache"))
            .json(token),
        Err(Refusal { error, why, status, retry_after }) => {
            let mut answer = HttpResponse::build(status);
            answer.insert_header((CACHE_CONTROL, "no-store"));
            if status == StatusCode::UNAUTHORIZED {
                answer.insert_header((WWW_AUTHENTICATE, "Basic realm=\"posthorn\""));
            }
            if let Some(seconds) = retry_after {
                answer.insert_header((RETRY_AFTER, seconds.to_string()));
            }
            answer.json(OauthError { error: error.to_owned(), error_description: plain(&why) })
        }
    }
}

/// What may stand in a description (section 5.2).
fn plain(text: &str) -> String {
    let allowed = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    text.replace('…', "...").chars().filter(allowed).collect()
}

async fn grant(
    api: &web::Data<Api>,
    request: &HttpRequest,
    incoming: &mut Incoming,
) -> Result<OauthToken, Refusal> {
    incoming.refuse_parameters()?;
    let form = parse(incoming.form_of_anybody(api, LIMIT).await?.as_str())?;
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        Some(_) => {
            return Err(Refusal::new("unsupported_grant_type", "grant_type must be client_credentials"));
        }
        None => return Err(Refusal::new("invalid_request", "grant_type is missing")),
    }
    let (key, token) = authenticate(api, request, &form).await?;
    let scopes = match form.get("scope") {
        Some(names) => {
            names.parse::<Scopes>().map_err(|error| Refusal::new("invalid_scope", error.to_string()))?
        }
        None => key.scopes,
    };
    if scopes.is_empty() || !scopes.within(key.scopes) {
        let detail = format!("the key has {}", key.scopes);
        return Err(Refusal::new("invalid_scope", detail));
    }
    let now = api.now();
    let until = now.plus(LIFE);
    let until = key.expires_at.map_or(until, |end| until.min(end));
    let sealed = api.store.seal_grant(&Grant::new(key.id, &token, scopes, until));
    Ok(OauthToken {
        access_token: format!("{}{}", TokenKind::Access.prefix(), URL_SAFE_NO_PAD.encode(sealed)),
        token_type: "Bearer".to_owned(),
        expires_in: until.since(now).as_secs(),
        scope: scopes.to_string(),
    })
}

/// The fields of a form, each once. Those that are not known are ignored (section 3.2).
fn parse(text: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let mut form = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if form.insert(name.clone().into_owned(), value.into_owned()).is_some() {
            return Err(Refusal::new("invalid_request", format!("{name} appears twice")));
        }
    }
    // What is sent without a value is as good as not sent.
    form.retain(|_, value| !value.is_empty());
    Ok(form)
}

/// The key of the client with the hash of its token, by one of the two ways to name it (section 2.3.1).
async fn authenticate(
    api: &web::Data<Api>,
    request: &HttpRequest,
    form: &BTreeMap<String, String>,
) -> Result<(ApiKey, TokenHash), Refusal> {
    let in_form = form.get("client_id").cloned().zip(form.get("client_secret").cloned());
    let (id, secret) = match (basic(request)?, in_form) {
        (Some(_), Some(_)) => {
            return Err(Refusal::new("invalid_request", "the client is named in the header and in the form"));
        }
        (Some(client), None) | (None, Some(client)) => client,
        (None, None) => {
            let detail =
                "send the id of an API key and the key itself, as Authorization: Basic or in the form";
            return Err(Refusal::invalid_client(detail));
        }
    };
    if !secret.starts_with(TokenKind::ApiKey.prefix()) {
        return Err(Refusal::invalid_client("the secret of a client is an API key, which begins with phk_"));
    }
    let hash = hash_token(&secret);
    match Credentials::with_token(request, api, secret).identify().await? {
        Caller::Key(known) if known.key.id.to_string() == id => Ok((known.key.clone(), hash)),
        _ => Err(Refusal::invalid_client("this is not the id of this API key")),
    }
}

/// The client in the header, if it is there.
fn basic(request: &HttpRequest) -> Result<Option<(String, String)>, Refusal> {
    let Some(header) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let malformed =
        || Refusal::invalid_client("the header Authorization is not Basic with an id and a secret");
    let (scheme, encoded) =
        header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(malformed());
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| malformed())?;
    let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
    let (id, secret) = decoded.split_once(':').ok_or_else(malformed)?;
    // Both are encoded as in forms before they are put together.
    let plain =
        |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned());
    Ok(Some((plain(id).unwrap_or_default(), plain(secret).unwrap_or_default())))
}
