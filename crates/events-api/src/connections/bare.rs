//! Answers that are given before there is a request: to what cannot be read,
//! to who is too slow, and to who finds no place. They are problems, too.

use crate::problem::{Code, Problem};
use crate::request_context;

/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

/// The HTTP library refuses what it cannot read with a bare status. Gives what
/// should go out instead; none if the bytes are anything else.
pub(super) fn with_problem(bytes: &[u8]) -> Option<Vec<u8>> {
    // Answers of our own have an id; and few end with their heads.
    if !bytes.ends_with(END) {
        return None;
    }
    let at = find_last(bytes, b"HTTP/1.1 4")?;
    let head = std::str::from_utf8(&bytes[at..]).ok()?;
    if head.len() > 512 || head.to_ascii_lowercase().contains("x-request-id") {
        return None;
    }
    let problem = match head.get(9..12)? {
        "400" => Problem::new(Code::MalformedRequest, "the request is not HTTP/1.1 as RFC 9112 writes it"),
        "431" => Problem::new(Code::MalformedRequest, "the head of the request is longer than 128 KiB"),
        "408" => slow(),
        _ => return None,
    };
    Some([&bytes[..at], &written(&problem)].concat())
}

fn find_last(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).rposition(|part| part == wanted)
}

fn slow() -> Problem {
    Problem::new(Code::Timeout, "the request did not arrive in time")
}

/// What somebody gets whose request does not arrive.
pub(super) fn too_slow() -> Vec<u8> {
    written(&slow())
}

/// What somebody gets for whom there is no place.
pub(crate) fn too_many() -> Vec<u8> {
    written(&Problem::new(Code::Unavailable, "there are too many connections; try again in a moment"))
}

/// A problem as a whole answer.
fn written(problem: &Problem) -> Vec<u8> {
    let id = request_context::id_without_request();
    let body = problem.body_for(Some(id.clone()));
    let body = serde_json::to_string(&body).expect("a problem has a JSON form");
    let retry = if problem.status() == 503 { "retry-after: 1\r\n" } else { "" };
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nx-request-id: {id}\r\n{retry}connection: close\r\n\r\n{body}",
        problem.status(),
        problem.reason(),
        body.len(),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_refusals_are_replaced_also_behind_an_answer() {
        let bare = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        let own = "HTTP/1.1 204 No Content\r\nx-request-id: req-1\r\n\r\n";
        let ours = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nX-Request-Id: req-1\r\n\r\n";
        let behind = with_problem(format!("{own}{bare}").as_bytes()).expect("is replaced");
        let text = String::from_utf8(behind).expect("text");
        assert!(text.starts_with(own) && text.contains("malformed_request"), "{text}");
        for other in [own, ours, "{\"a\":1}", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert_eq!(with_problem(other.as_bytes()), None, "{other}");
        }
    }
}
