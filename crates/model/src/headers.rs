//! Custom headers of an endpoint: which are allowed.

/// Most custom headers an endpoint may have.
pub const MAX_CUSTOM_HEADERS: usize = 20;
/// The longest value of a custom header, in bytes.
pub const MAX_VALUE_LEN: usize = 4_096;

/// Names that a customer may not set: they steer the connection (RFC 9110,
/// section 7.6.1) or the framing.
const RESERVED: [&str; 14] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "host",
    "user-agent",
    "traceparent",
    "tracestate",
];

/// What begins like this is Posthorn's own, or describes the body.
const RESERVED_PREFIXES: [&str; 4] = ["content-", "webhook-", "svix-", "posthorn-"];

/// Why a custom header cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// Not a token of RFC 9110, section 5.6.2, or longer than 128 bytes.
    #[error("is not a header name")]
    Name,
    /// Set by Posthorn or by the connection.
    #[error("this header is set by Posthorn or belongs to the connection")]
    Reserved,
    /// Not visible ASCII, or too long.
    #[error("must be at most {MAX_VALUE_LEN} visible ASCII characters or spaces")]
    Value,
}

/// Checks a header name, and gives it in lower case.
pub fn check_name(name: &str) -> Result<String, InvalidHeader> {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
        return Err(InvalidHeader::Name);
    }
    let name = name.to_ascii_lowercase();
    let reserved =
        RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if reserved { Err(InvalidHeader::Reserved) } else { Ok(name) }
}

/// Checks a header value.
pub fn check_value(value: &str) -> Result<(), InvalidHeader> {
    let visible = value.bytes().all(|c| c.is_ascii_graphic() || c == b' ' || c == b'\t');
    if visible && value.len() <= MAX_VALUE_LEN { Ok(()) } else { Err(InvalidHeader::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_and_of_posthorn_are_refused() {
        for name in [
            "Host",
            "Content-Length",
            "content-type",
            "Webhook-Id",
            "SVIX-id",
            "posthorn-x",
            "Transfer-Encoding",
            "Connection",
            "Upgrade",
            "TE",
        ] {
            assert_eq!(check_name(name), Err(InvalidHeader::Reserved), "{name}");
        }
        for name in ["", "a b", "a:", "ä", "a\r\nb"] {
            assert_eq!(check_name(name), Err(InvalidHeader::Name), "{name:?}");
        }
        assert_eq!(check_name("X-Api-Key").as_deref(), Ok("x-api-key"));
        assert_eq!(check_name("Authorization").as_deref(), Ok("authorization"));
    }

    #[test]
    fn a_value_cannot_break_out_of_its_line() {
        assert!(check_value("Bearer abc").is_ok());
        assert_eq!(check_value("a\r\nHost: evil"), Err(InvalidHeader::Value));
        assert_eq!(check_value("a\0"), Err(InvalidHeader::Value));
    }
}
