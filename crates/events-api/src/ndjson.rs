//! Whole lists, one row a line (`application/x-ndjson`), read and sent piece by
//! piece: never more than a piece is in memory.

use std::future::Future;

use actix_web::http::header::ACCEPT;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use delivery_log::page::{Page, PageRequest};
use futures_util::stream;
use serde::Serialize;

use crate::api::Api;
use crate::outgoing::{private, to_json};
use crate::problem::Problem;

const TYPE: &str = "application/x-ndjson";

/// Whether a request asks for a list in this form.
pub(crate) fn is_wanted(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|list| list.split(','));
    kinds.any(|kind| kind.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(TYPE)))
}

/// All rows of a list, beginning with a page, `piece` of them at a time. If one
/// cannot be read, the answer is cut off, so that its reader learns that it is not all.
pub(crate) fn answer<T, R, F>(api: web::Data<Api>, first: PageRequest, piece: u32, read: R) -> HttpResponse
where
    T: Serialize,
    R: Fn(web::Data<Api>, PageRequest) -> F + 'static,
    F: Future<Output = Result<Page<T>, Problem>> + 'static,
{
    let lines = stream::try_unfold(Some(first), move |next| {
        let read = next.map(|page| read(api.clone(), PageRequest { limit: piece, ..page }));
        async move {
            let (Some(page), Some(read)) = (next, read) else { return Ok(None) };
            let found = read.await?;
            let mut text = String::new();
            for row in &found.rows {
                text.push_str(&to_json(row));
                text.push('\n');
            }
            let next = found.next.map(|after| PageRequest { after: Some(after), ..page });
            Ok::<_, Problem>(Some((Bytes::from(text), next)))
        }
    });
    HttpResponse::Ok().insert_header(private()).content_type(TYPE).streaming(lines)
}
