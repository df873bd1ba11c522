//! `If-Match` (RFC 9110, section 13.1.1): a change is made to the state that
//! its caller has seen, or not at all; and `If-None-Match`: what the caller has
//! is not sent again, and what is there is not overwritten.
//!
//! Every route that changes something asks here. What cannot be read is
//! refused, never ignored: whoever sends a condition relies on it.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use model::clock::Timestamp;

use crate::outgoing::state_tag;
use crate::problem::{Code, Problem};

/// The states on which a request is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum IfMatch {
    /// Any, if there is one.
    Any,
    /// One of these, by their strong tags.
    Tags(Vec<String>),
}

/// The condition of a request, if it has one.
fn condition(request: &HttpRequest) -> Result<Option<IfMatch>, Problem> {
    let mut values = request.headers().get_all(IF_MATCH);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(unreadable("appears twice in the request"));
    }
    parse(value).map(Some).ok_or_else(|| unreadable("is neither * nor a list of tags such as \"1a2b\""))
}

fn unreadable(what: &str) -> Problem {
    Problem::new(Code::MalformedRequest, format!("the header If-Match {what}"))
}

fn parse(value: &HeaderValue) -> Option<IfMatch> {
    let text = value.to_str().ok()?.trim();
    if text == "*" {
        return Some(IfMatch::Any);
    }
    let mut tags = Vec::new();
    for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        let opaque = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
        if opaque.contains(|c: char| c == '"' || !c.is_ascii_graphic()) {
            return None;
        }
        // A weak tag names no state exactly, so none is that one.
        if !tag.starts_with("W/") {
            tags.push(tag.to_owned());
        }
    }
    (!text.is_empty()).then_some(IfMatch::Tags(tags))
}

/// Checks that the thing is in a state that the caller named: its last change
/// was then. Without a condition, every state will do.
pub(crate) fn check_if_match(request: &HttpRequest, updated_at: Timestamp) -> Result<(), Problem> {
    match condition(request)? {
        None | Some(IfMatch::Any) => Ok(()),
        Some(IfMatch::Tags(tags)) if tags.iter().any(|tag| names(tag, updated_at)) => Ok(()),
        Some(IfMatch::Tags(_)) => Err(Problem::changed_meanwhile()),
    }
}

/// Whether a tag is of the state in which the thing last changed then, whatever
/// else its answer showed.
fn names(tag: &str, updated_at: Timestamp) -> bool {
    let state = tag.trim_matches('"');
    state.split_once('-').map_or(state, |(state, _)| state) == state_tag(updated_at)
}

/// Checks that the caller expects no state, where there is none to be named.
pub(crate) fn expect_no_if_match(request: &HttpRequest) -> Result<(), Problem> {
    match condition(request)? {
        None => Ok(()),
        Some(_) => {
            let detail = "the header If-Match names a state, and there is nothing here yet that has one";
            Err(Problem::new(Code::PreconditionFailed, detail))
        }
    }
}

/// Whether the caller has the state already that an answer with this tag would
/// show (`If-None-Match`, RFC 9110, section 13.1.2). Here weak tags count.
pub(crate) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers.get_all(IF_NONE_MATCH).any(|value| {
        let Ok(text) = value.to_str() else { return false };
        let plain = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        text.trim() == "*"
            || text.split(',').any(|known| tag.to_str().is_ok_and(|tag| plain(known) == plain(tag)))
    })
}

/// Checks that the thing that is there already may be overwritten: with
/// `If-None-Match` it may not be there, or not be in that state (RFC 9110,
/// section 13.1.2).
pub(crate) fn check_if_none_match(request: &HttpRequest, updated_at: Timestamp) -> Result<(), Problem> {
    let excluded =
        request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok()).any(|text| {
            let mut tags = text.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
            text.trim() == "*" || tags.any(|tag| names(tag, updated_at))
        });
    if excluded {
        let detail = "the header If-None-Match excludes the state that is there";
        return Err(Problem::new(Code::PreconditionFailed, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[&str]) -> Option<IfMatch> {
        Some(IfMatch::Tags(list.iter().map(|tag| (*tag).to_owned()).collect()))
    }

    #[test]
    fn conditions_are_read_as_rfc_9110_writes_them_and_nothing_else_is() {
        for (text, read) in [
            ("*", Some(IfMatch::Any)),
            ("\"1\"", tags(&["\"1\""])),
            ("\"1\", \"2\" ,,\"3\"", tags(&["\"1\"", "\"2\"", "\"3\""])),
            ("W/\"1\"", tags(&[])),
            ("", None),
            ("1", None),
            ("\"1", None),
            ("*, \"1\"", None),
            ("\"1\" \"2\"", None),
            ("\"a\"b\"", None),
        ] {
            assert_eq!(parse(&HeaderValue::from_str(text).expect("a value")), read, "{text}");
        }
        assert_eq!(parse(&HeaderValue::from_bytes(b"\"\xff\"").expect("a value")), None);
    }
}
