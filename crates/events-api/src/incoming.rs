//! Requests, read once and strictly.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest, dev};
use delivery_log::idempotency::{self, Fingerprint, KeySpace, KeyUse, SpacedKey};
use futures_util::StreamExt as _;
use model::clock::Timestamp;
use model::coding::{Coding, Decoded};
use model::ids::TenantId;
use model::json::{self, InvalidJson};
use model::names::IdempotencyKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::Api;
use crate::auth::{Caller, refuse_unknown_parameters};
use crate::connections::Connection;
use crate::memory::{Holder, SMALL, Share};
use crate::preconditions;
use crate::problem::{Code, Problem};

/// The longest body of most requests, in bytes.
pub(crate) const BODY_LIMIT: usize = 256 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// What bodies are, as a rule.
const JSON: [&str; 2] = ["application/json", "application/merge-patch+json"];
const FORM: [&str; 1] = ["application/x-www-form-urlencoded"];

/// A request whose body has not been read yet.
pub(crate) struct Incoming {
    request: HttpRequest,
    payload: dev::Payload,
    /// What its body takes.
    share: Option<Share>,
}

impl FromRequest for Incoming {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        ready(Ok(Self { request: request.clone(), payload: payload.take(), share: None }))
    }
}

impl Incoming {
    fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Reads the body as text. Nothing beyond `limit` bytes is read. What it
    /// takes is the caller's until the request is answered.
    pub(crate) async fn text(&mut self, api: &Api, caller: &Caller, limit: usize) -> Result<Text, Problem> {
        self.read(api, Some(Holder::of(caller)), limit, &JSON).await
    }

    /// Reads the body of a request that needs no key: a small one.
    pub(crate) async fn text_of_anybody(&mut self, api: &Api, limit: usize) -> Result<Text, Problem> {
        self.read(api, None, limit.min(SMALL), &JSON).await
    }

    /// Reads the small form of a request that needs no key.
    pub(crate) async fn form_of_anybody(&mut self, api: &Api, limit: usize) -> Result<Text, Problem> {
        self.read(api, None, limit.min(SMALL), &FORM).await
    }

    /// What it takes beyond a small body, it takes for `holder`. It is of one of these
    /// media types.
    async fn read(
        &mut self,
        api: &Api,
        holder: Option<Holder>,
        limit: usize,
        types: &[&str],
    ) -> Result<Text, Problem> {
        let too_large = || {
            let detail = format!("the body is longer than {limit} bytes");
            Problem::new(Code::PayloadTooLarge, detail)
        };
        let declared = self.header(CONTENT_LENGTH.as_str()).and_then(|value| value.parse::<usize>().ok());
        if declared.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        // Room is made for what comes and not for what is promised.
        let mut body = Vec::with_capacity(declared.unwrap_or(0).min(SMALL));
        let mut share = None;
        let read = async {
            while let Some(chunk) = self.payload.next().await {
                let broken =
                    |error| Problem::new(Code::MalformedRequest, format!("the body was cut off: {error}"));
                let chunk = chunk.map_err(broken)?;
                if body.len() + chunk.len() > limit {
                    return Err(too_large());
                }
                let more = (body.len() + chunk.len()).max(SMALL) - body.len().max(SMALL);
                if more > 0
                    && let Some(holder) = holder
                {
                    match &mut share {
                        None => share = Some(api.memory.take(holder, more)?),
                        Some(share) => Share::grow(share, more)?,
                    }
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        let in_time = tokio::time::timeout(BODY_TIME, read).await;
        in_time.map_err(|_| Problem::new(Code::Timeout, "the body did not arrive within 20 seconds"))??;
        self.share = share;
        if let Some(connection) = self.request.conn_data::<Arc<Connection>>() {
            connection.read_body();
        }
        if !body.is_empty() {
            self.check_media_type(types)?;
        }
        let body = self.decoded(body, limit)?;
        if body.starts_with(b"\xef\xbb\xbf") {
            let detail =
                "the body begins with a byte order mark; send the JSON without it (RFC 8259, section 8.1)";
            return Err(Problem::new(Code::MalformedRequest, detail));
        }
        match String::from_utf8(body) {
            Ok(text) => Ok(Text(text)),
            Err(error) if matches!(error.as_bytes(), [0xfe, 0xff, ..] | [0xff, 0xfe, ..]) => {
                Err(Problem::new(
                    Code::MalformedRequest,
                    "the body is UTF-16, by the byte order mark that it begins with; send UTF-8",
                ))
            }
            Err(_) => Err(Problem::new(Code::MalformedRequest, "the body is not valid UTF-8")),
        }
    }

    /// The body as it was before it was compressed. The bound is the same
    /// for both.
    fn decoded(&self, body: Vec<u8>, limit: usize) -> Result<Vec<u8>, Problem> {
        let name = match self.header(CONTENT_ENCODING.as_str()).map(str::trim) {
            None | Some("") => return Ok(body),
            Some(name) if name.eq_ignore_ascii_case("identity") => return Ok(body),
            Some(name) => name,
        };
        let coding = Coding::named(name).filter(|coding| matches!(coding, Coding::Gzip | Coding::Zstd));
        let Some(coding) = coding else {
            let detail =
                format!("send the body as it is, or with Content-Encoding: gzip or zstd, not {name:?}");
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        };
        let Decoded { bytes, is_broken } = coding.decode(&body, limit + 1);
        if bytes.len() > limit {
            let detail = format!("the body is longer than {limit} bytes when it is decoded");
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
        if is_broken {
            let detail = format!("the body is said to be {name} and is not, or is cut off");
            return Err(Problem::new(Code::MalformedRequest, detail));
        }
        Ok(bytes)
    }

    fn check_media_type(&self, types: &[&str]) -> Result<(), Problem> {
        let given = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if types.contains(&essence.as_str()) {
            return Ok(());
        }
        let detail = format!("send the body with Content-Type: {}, not {given:?}", types[0]);
        Err(Problem::new(Code::UnsupportedMediaType, detail))
    }

    /// The key in the header, if there is one.
    pub(crate) fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Problem> {
        let Some(value) = self.request.headers().get("idempotency-key") else { return Ok(None) };
        let parsed = value
            .to_str()
            .map_err(|_| "must be visible ASCII".to_owned())
            .and_then(|text| IdempotencyKey::parse(text).map_err(|error| error.to_string()));
        parsed.map(Some).map_err(|error| Problem::invalid("Idempotency-Key", "invalid_header", error))
    }

    /// What a repetition of this request is recognised by: the same caller's
    /// same request about the same tenant. A kept answer may hold a secret,
    /// so nobody else's request may ever be taken for a repetition.
    pub(crate) fn key_use(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        text: &Text,
        now: Timestamp,
    ) -> Result<Option<KeyUse>, Problem> {
        let (method, path) = (self.request.method().as_str(), self.request.uri().path());
        let name = |tenant: Option<TenantId>| tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
        let fingerprint =
            fingerprint(&[method, path, &text.0, &caller.id(), &name(caller.view().tenant), &name(tenant)]);
        let space = KeySpace::Requests(caller.principal());
        let key_use = |key| KeyUse {
            key: SpacedKey::new(space, &key),
            fingerprint,
            expires_at: now.plus(idempotency::KEPT),
        };
        Ok(self.idempotency_key()?.map(key_use))
    }

    /// Whether the caller's `If-Match` names the present state; without one,
    /// every state will do.
    pub(crate) fn check_if_match(&self, updated_at: Timestamp) -> Result<(), Problem> {
        preconditions::check_if_match(&self.request, updated_at)
    }

    /// Whether the caller takes it that the thing is there already.
    pub(crate) fn check_if_none_match(&self, updated_at: Timestamp) -> Result<(), Problem> {
        preconditions::check_if_none_match(&self.request, updated_at)
    }

    /// Checks that the query has no parameters but those of the route.
    pub(crate) fn refuse_parameters(&self) -> Result<(), Problem> {
        refuse_unknown_parameters(&self.request)
    }

    /// The query of the URL.
    pub(crate) fn query(&self) -> &str {
        self.request.query_string()
    }

    /// Checks that the caller expects no state of what is made here.
    pub(crate) fn expect_no_if_match(&self) -> Result<(), Problem> {
        preconditions::expect_no_if_match(&self.request)
    }

    /// The path of the URL.
    pub(crate) fn path(&self) -> &str {
        self.request.path()
    }
}

/// The SHA-256 of texts, each with its length before it, so that none can
/// run into the next.
pub(crate) fn fingerprint(parts: &[&str]) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// A body that is valid UTF-8.
#[derive(Debug)]
pub(crate) struct Text(String);

impl Text {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the JSON. Objects are objects, also those within.
    pub(crate) fn parse<T: DeserializeOwned + Serialize>(&self) -> Result<T, Problem> {
        let read = self.parse_flat()?;
        // Only an array can be taken for an object.
        if self.0.contains('[') {
            let sent: Value = serde_json::from_str(&self.0).unwrap_or_default();
            let known = serde_json::to_value(&read).unwrap_or_default();
            if let Some(pointer) = array_for_object(&sent, &known) {
                return Err(Problem::invalid(pointer, "invalid_type", "must be an object, not an array"));
            }
        }
        Ok(read)
    }

    /// Reads the JSON of a request that may have none: then it says nothing.
    pub(crate) fn parse_if_any<T: DeserializeOwned + Serialize + Default>(&self) -> Result<T, Problem> {
        if self.0.trim().is_empty() { Ok(T::default()) } else { self.parse() }
    }

    /// Reads JSON in which no object has objects of its own, as far as they
    /// are read.
    pub(crate) fn parse_flat<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.check_present()?;
        parse(&self.0, "")
    }

    fn check_present(&self) -> Result<(), Problem> {
        if self.0.trim().is_empty() {
            let detail = "the body is empty; send a JSON object, {} if there is nothing to say";
            return Err(Problem::new(Code::MalformedRequest, detail));
        }
        Ok(())
    }

    /// Reads JSON whose parts are checked one by one, each on its own.
    pub(crate) fn parse_outside<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.check_present()?;
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&self.0) {
            return Err(refuse_json(InvalidJson::Malformed(error.to_string()), ""));
        }
        parse_checked(&self.0, "")
    }
}

/// Reads JSON. `base` is the pointer to where it stands in the request.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, base: &str) -> Result<T, Problem> {
    json::check(text).map_err(|error| refuse_json(error, base))?;
    parse_checked(text, base)
}

fn refuse_json(error: InvalidJson, base: &str) -> Problem {
    match error {
        InvalidJson::Malformed(detail) => {
            Problem::new(Code::MalformedRequest, format!("the body is not JSON: {detail}"))
        }
        InvalidJson::Refused { pointer, detail } => {
            Problem::invalid(format!("{base}{pointer}"), "invalid_json", detail)
        }
    }
}

/// Reads JSON that has been checked for form. `base` is the pointer to where
/// it stands in the request.
pub(crate) fn parse_checked<T: DeserializeOwned>(text: &str, base: &str) -> Result<T, Problem> {
    if !text.trim_start().starts_with('{') {
        return Err(Problem::invalid(base, "invalid_type", "must be a JSON object"));
    }
    serde_json::from_str(text).map_err(|_| explain::<T>(text, base))
}

/// Where an array was sent and an object was read: the fields in their order
/// are no object.
pub(crate) fn array_for_object(sent: &Value, read: &Value) -> Option<String> {
    match (sent, read) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(sent), Value::Array(read)) => {
            sent.iter().zip(read).enumerate().find_map(|(n, (sent, read))| {
                array_for_object(sent, read).map(|below| format!("/{n}{below}"))
            })
        }
        (Value::Object(sent), Value::Object(read)) => sent.iter().find_map(|(name, sent)| {
            let below = array_for_object(sent, read.get(name)?)?;
            Some(format!("/{}{below}", json::escape(name)))
        }),
        _ => None,
    }
}

/// Reads again, more slowly, to say where it does not fit.
fn explain<T: DeserializeOwned>(text: &str, base: &str) -> Problem {
    let mut json = serde_json::Deserializer::from_str(text);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut json) else {
        return Problem::new(Code::MalformedRequest, "the body is not JSON");
    };
    let mut pointer = base.to_owned();
    for segment in error.path() {
        use serde_path_to_error::Segment;
        match segment {
            Segment::Map { key } => pointer.push_str(&format!("/{}", json::escape(key))),
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    if error.inner().is_syntax() {
        // By the grammar it is right: it was checked.
        let detail = "holds a number, or half of a surrogate pair, that cannot be kept here";
        return Problem::invalid(pointer, "invalid_value", detail);
    }
    let message = error.inner().to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let named = message.split('`').nth(1);
    match named {
        Some(field) if message.starts_with("missing field") => {
            Problem::invalid(format!("{pointer}/{field}"), "required", "is required")
        }
        Some(field) if message.starts_with("unknown field") => {
            let at = format!("/{}", json::escape(field));
            let pointer = if pointer.ends_with(&at) { pointer } else { pointer + &at };
            let known = message.split_once(", expected ").map_or(message, |(_, known)| known);
            Problem::invalid(pointer, "unknown_field", format!("is not a field; expected {known}"))
        }
        _ => Problem::invalid(pointer, "invalid_type", message),
    }
}
