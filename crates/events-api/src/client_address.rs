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
    let address = peer.to_canonical();
    if !is_trusted(address) {
        return address;
    }
    // A proxy writes one of the two, and passes on what a caller wrote into the
    // other: where they differ, neither is known to be its own.
    let ways = [forwarded(headers), forwarded_for(headers)];
    let mut told = ways.iter().flatten().map(|hops| walk(address, hops, is_trusted));
    match (told.next(), told.next()) {
        (Some(one), None) => one,
        (Some(one), Some(other)) if one == other => one,
        _ => address,
    }
}

/// From right to left, since each was written by the one after it.
fn walk(peer: IpAddr, hops: &[String], is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut address = peer;
    for hop in hops.iter().rev().take(MAX_HOPS) {
        let Some(hop) = read(hop) else { break };
        address = hop;
        if !is_trusted(address) {
            break;
        }
    }
    address
}

fn lines(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = headers.get_all(name).map(|value| value.to_str().unwrap_or("unknown"));
    let joined = values.collect::<Vec<_>>().join(",");
    (!joined.trim().is_empty()).then_some(joined)
}

/// Where the request was, by `Forwarded` (RFC 7239).
fn forwarded(headers: &HeaderMap) -> Option<Vec<String>> {
    let elements = lines(headers, &FORWARDED)?;
    Some(elements.split(',').map(|element| for_node(element).unwrap_or_default().to_owned()).collect())
}

/// Where the request was, by `X-Forwarded-For`.
fn forwarded_for(headers: &HeaderMap) -> Option<Vec<String>> {
    Some(lines(headers, &X_FORWARDED_FOR)?.split(',').map(str::to_owned).collect())
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
            // One of them is the caller's word, and nobody knows which.
            ("10.0.0.1", vec![("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "1.2.3.4")], "10.0.0.1"),
            (
                "10.0.0.1",
                vec![("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "198.51.100.7")],
                "198.51.100.7",
            ),
            ("::ffff:10.0.0.1", vec![("x-forwarded-for", "::ffff:198.51.100.7")], "198.51.100.7"),
        ] {
            assert_eq!(address(peer, &lines, &proxies), wanted, "{peer} {lines:?}");
            assert_eq!(address(peer, &lines, &[]), peer.replace("::ffff:", ""), "nobody is trusted");
        }
    }
}
