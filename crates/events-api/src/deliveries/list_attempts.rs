//! `GET /v1/deliveries/{delivery}/attempts`

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use api_types::Milliseconds;
use api_types::words::BodyEncoding;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delivery_log::page::Order;
use model::access::Scope;
use model::attempt::{Attempt, HeaderList};

use super::{missing, parse_id};
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::Incoming;
use crate::memory::Holder;
use crate::openapi::parameters::{OfDelivery, Paged};
use crate::page::Rows;
use crate::problem::Problem;
use crate::query::Query;

/// How many attempts are read at once: they hold what the receiver answered.
const PIECE: u32 = 16;

/// Lists the attempts of a delivery, the first one first. What the receiver
/// answered is shown to callers with `payloads:read`, because receivers echo
/// what they got.
#[utoipa::path(get, path = "/v1/deliveries/{delivery}/attempts", tag = "Deliveries", operation_id = "deliveries.listAttempts",
    security(("api_key" = ["deliveries:read"])),
    params(OfDelivery, Paged),
    responses((status = 200, description = "A page of attempts.", body = api_types::Page<api_types::Attempt>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesRead).await?;
    let id = parse_id(&path)?;
    let request = Query::parse(incoming.path(), incoming.query())?.list_in(Order::Ascending, &[])?;
    let _gathering = api.memory.gather(Holder::of(&caller)).await?;
    api.note_payload_read(&caller);
    let mut rows = Rows::new(&request);
    while let Some(piece) = rows.wanted(PIECE) {
        let page = api.store.list_attempts(caller.view(), id, piece).await?.ok_or_else(missing)?;
        rows.add_page(page.map(|attempt| for_caller(&caller, attempt)));
    }
    Ok(rows.into_answer(incoming.path()))
}

/// An attempt for a caller: receivers echo what they got, so that their answers
/// are payload.
pub(crate) fn for_caller(caller: &Caller, attempt: Attempt) -> api_types::Attempt {
    let mut attempt = present(attempt);
    if !caller.may(Scope::PayloadsRead) {
        attempt.response_headers.clear();
        attempt.response_body = None;
        attempt.response_body_encoding = None;
    }
    attempt
}

fn present(attempt: Attempt) -> api_types::Attempt {
    let milliseconds = |span: Duration| span.as_micros() as f64 / 1_000.0;
    let http_status = attempt.http_status();
    let (headers, body, truncated) = match attempt.answer {
        Some(answer) => (answer.headers, Some(answer.body), answer.truncated),
        None => (Vec::new(), None, false),
    };
    let (response_body, encoding) = body.map(|body| shown(body, truncated)).unzip();
    api_types::Attempt {
        id: attempt.id.to_string(),
        delivery: attempt.delivery.to_string(),
        number: attempt.number,
        trigger: attempt.trigger.to_string(),
        started_at: attempt.started_at,
        milliseconds: Milliseconds {
            dns: attempt.phases.dns.map(milliseconds),
            connect: attempt.phases.connect.map(milliseconds),
            first_byte: attempt.phases.first_byte.map(milliseconds),
            total: milliseconds(attempt.phases.total),
        },
        remote_ip: attempt.remote_ip.map(|ip| ip.to_string()),
        http_version: attempt.http_version.map(str::to_owned),
        request_headers: joined(attempt.request_headers),
        http_status,
        response_headers: joined(headers),
        response_body,
        response_body_encoding: encoding.map(|encoding| encoding.to_string()),
        response_truncated: truncated,
        error_class: attempt.error_class.to_string(),
        error_detail: attempt.error_detail,
        next_attempt_at: attempt.next_attempt_at,
        next_attempt_reason: attempt.next_reason.as_str().to_owned(),
    }
}

/// A body as text if it is some, and how it stands there. The last character
/// may have been cut.
fn shown(body: Vec<u8>, truncated: bool) -> (String, BodyEncoding) {
    match String::from_utf8(body) {
        Ok(text) => (text, BodyEncoding::Text),
        Err(error) => {
            let (whole, cut) = (error.utf8_error().valid_up_to(), error.utf8_error().error_len().is_none());
            let mut body = error.into_bytes();
            if truncated && cut {
                body.truncate(whole);
                return (String::from_utf8_lossy(&body).into_owned(), BodyEncoding::Text);
            }
            (STANDARD.encode(body), BodyEncoding::Base64)
        }
    }
}

/// Headers by name; those that came several times are joined (RFC 9110, section 5.3).
fn joined(headers: HeaderList) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        joined
            .entry(name.into_owned())
            .and_modify(|values| *values = format!("{values}, {value}"))
            .or_insert(value);
    }
    joined
}
