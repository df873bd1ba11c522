//! Where a request comes from.
//!
//! Behind a proxy, everybody has the proxy's address. What a proxy says of the
//! caller is believed if the operator trusts it, and only as far back as the
//! chain of those that are trusted goes: everything before that may be made up.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How many proxies a request may have passed.
const MAX_HOPS: usize = 20;

/// The address of the caller, who is connected from `peer`.
pub(crate) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut address = peer.to_canonical();
    if !is_trusted(address) {
        return address;
    }
    // From right to left: each was written by the one after it.
    for hop in hops(headers).iter().rev().take(MAX_HOPS) {
        let Some(hop) = read(hop) else { break };
        address = hop;
        if !is_trusted(address) {
            break;
        }
    }
    address
}

/// Where the request was, as its proxies say; in `Forwarded` (RFC 7239) if it
/// is there, else in `X-Forwarded-For`.
fn hops(headers: &HeaderMap) -> Vec<String> {
    let lines = |name: HeaderName| {
        let values = headers.get_all(name).map(|value| value.to_str().unwrap_or("unknown").to_owned());
        values.collect::<Vec<_>>().join(",")
    };
    if headers.contains_key(FORWARDED) {
        let elements = lines(FORWARDED);
        return elements.split(',').map(|element| for_node(element).unwrap_or_default().to_owned()).collect();
    }
    let addresses = lines(X_FORWARDED_FOR);
    match addresses.trim().is_empty() {
        true => Vec::new(),
        false => addresses.split(',').map(str::to_owned).collect(),
    }
}

/// The `for` of an element of `Forwarded`.
fn for_node(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })
}

/// An address as proxies write it: alone, in brackets, in quotes, with a port.
fn read(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let alone = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = alone.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn address(peer: &str, lines: &[(&str, &str)], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().expect("a network")).collect();
        of(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_the_chain_is_trusted() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        for (peer, lines, wanted) in [
            // Whoever is not trusted may write what they want.
            ("203.0.113.9", vec![("x-forwarded-for", "1.2.3.4")], "203.0.113.9"),
            ("203.0.113.9", vec![("forwarded", "for=1.2.3.4")], "203.0.113.9"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec![("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
            // What stands further left, the caller wrote.
            ("10.0.0.1", vec![("x-forwarded-for", "127.0.0.1, 198.51.100.7")], "198.51.100.7"),
            ("10.0.0.1", vec![("x-forwarded-for", "198.51.100.7, 10.2.3.4")], "198.51.100.7"),
            (
                "10.0.0.1",
                vec![("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "198.51.100.7, 10.1.1.1")],
                "198.51.100.7",
            ),
            ("10.0.0.1", vec![("x-forwarded-for", "10.9.9.9, 10.1.1.1")], "10.9.9.9"),
            // What cannot be read ends the chain where it is.
            ("10.0.0.1", vec![("x-forwarded-for", "1.2.3.4, unknown")], "10.0.0.1"),
            ("10.0.0.1", vec![("x-forwarded-for", "1.2.3.4, unknown, 10.1.1.1")], "10.1.1.1"),
            ("10.0.0.1", vec![("x-forwarded-for", "")], "10.0.0.1"),
            ("10.0.0.1", vec![("forwarded", "for=198.51.100.7;proto=https;by=10.0.0.1")], "198.51.100.7"),
            ("fd00::1", vec![("forwarded", "For=\"[2001:db8::7]:4711\"")], "2001:db8::7"),
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4, for=198.51.100.7:80")], "198.51.100.7"),
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4, proto=https")], "10.0.0.1"),
            (
                "10.0.0.1",
                vec![("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "1.2.3.4")],
                "198.51.100.7",
            ),
            ("::ffff:10.0.0.1", vec![("x-forwarded-for", "::ffff:198.51.100.7")], "198.51.100.7"),
        ] {
            assert_eq!(address(peer, &lines, &proxies), wanted, "{peer} {lines:?}");
            assert_eq!(address(peer, &lines, &[]), peer.replace("::ffff:", ""), "nobody is trusted");
        }
    }
}
