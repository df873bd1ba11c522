//! Where webhooks may go: the rules of the address guard.
//!
//! An endpoint's URL is chosen by a customer, so it could name the database
//! next door. Only public addresses are allowed; what else may be reached is
//! said by the operator (`POSTHORN_ALLOW_TARGETS`). The rules look at one
//! address at a time, so they can be asked again at every connection, for
//! the very address that is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// The longest URL of an endpoint, in bytes.
pub const MAX_URL_LEN: usize = 2_048;

/// IPv4 that is not public: the [IANA special-purpose registry], multicast
/// and reserved space.
///
/// [IANA special-purpose registry]: https://www.iana.org/assignments/iana-ipv4-special-registry
const BLOCKED_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carrier-grade NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, cloud metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // IETF protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarking
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, broadcast
];

/// Global unicast IPv6: all else is link-local, unique local, multicast, …
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Parts of global unicast IPv6 that are not public, from the
/// [IANA special-purpose registry] for IPv6.
///
/// [IANA special-purpose registry]: https://www.iana.org/assignments/iana-ipv6-special-registry
const BLOCKED_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocols, Teredo, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// NAT64 (RFC 6052): the way from an IPv6-only network to public IPv4.
const NAT64: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Why a target is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockedTarget {
    /// Not a URL with a host, or too long.
    #[error("must be an absolute https URL of at most {MAX_URL_LEN} bytes")]
    NotAUrl,
    /// Neither https nor an allowed http.
    #[error(
        "must use https; whoever runs Posthorn can allow http with POSTHORN_ALLOW_HTTP=true, and addresses that are not public with POSTHORN_ALLOW_TARGETS"
    )]
    Scheme,
    /// A user name or password in the URL would end up in logs.
    #[error("must not contain a user name or password; use a custom header")]
    Credentials,
    /// A fragment is never sent, so it would mislead.
    #[error("must not contain a fragment")]
    Fragment,
    /// Ports of other services.
    #[error("port {0} is not allowed; use 443, or 1024 and above")]
    Port(u16),
    /// No name that DNS or a certificate could have.
    #[error(
        "has a host name that cannot be called: between its dots stand 1 to 63 letters, digits, hyphens or \
         underscores, a hyphen neither first nor last, and all of it is at most 253 long"
    )]
    Name,
    /// Not a public address.
    #[error(
        "is not a public address; whoever runs Posthorn can allow its network with POSTHORN_ALLOW_TARGETS"
    )]
    Address(IpAddr),
    /// Posthorn would call itself.
    #[error("is the address of Posthorn itself")]
    Own,
}

/// Which targets a deployment allows.
#[derive(Debug, Clone, Default)]
pub struct TargetPolicy {
    /// Networks that may be reached beyond public addresses, on any port.
    pub allow: Vec<IpNet>,
    /// Whether plain `http` is allowed.
    pub allow_http: bool,
    /// Where Posthorn itself listens.
    pub own: Vec<SocketAddr>,
    /// Where the outside reaches it.
    pub own_url: Option<Url>,
}

impl TargetPolicy {
    /// Reads an endpoint's URL and checks all that can be known without DNS.
    pub fn parse_url(&self, text: &str) -> Result<Url, BlockedTarget> {
        let url = Url::parse(text).map_err(|_| BlockedTarget::NotAUrl)?;
        if text.len() > MAX_URL_LEN || !url.has_host() {
            return Err(BlockedTarget::NotAUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BlockedTarget::Credentials);
        }
        if url.fragment().is_some() {
            return Err(BlockedTarget::Fragment);
        }
        self.check_url(&url)?;
        Ok(url)
    }

    /// Checks scheme, port, and a host that is itself an address. A host that
    /// is a name is checked by its addresses, when they are known.
    pub fn check_url(&self, url: &Url) -> Result<(), BlockedTarget> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ => return Err(BlockedTarget::Scheme),
        }
        let port = url.port_or_known_default().ok_or(BlockedTarget::Scheme)?;
        let host_and_port = |url: &Url| {
            let host = url.host_str().map(|host| host.trim_end_matches('.').to_owned());
            host.zip(url.port_or_known_default())
        };
        if self.own_url.as_ref().is_some_and(|own| host_and_port(own) == host_and_port(url)) {
            return Err(BlockedTarget::Own);
        }
        // The URL parser has already turned `0x7f.1`, `2130706433` and
        // full-width digits into plain addresses (WHATWG URL, host parsing).
        match url.host().ok_or(BlockedTarget::NotAUrl)? {
            Host::Ipv4(address) => self.check(address.into(), port),
            Host::Ipv6(address) => self.check(address.into(), port),
            Host::Domain(name) if !is_name(name) => Err(BlockedTarget::Name),
            // It is this machine wherever it is looked up (RFC 6761, section 6.3).
            Host::Domain(name) if is_localhost(name) => self
                .check(Ipv4Addr::LOCALHOST.into(), port)
                .or_else(|blocked| self.check(Ipv6Addr::LOCALHOST.into(), port).map_err(|_| blocked)),
            Host::Domain(_) if self.allow.is_empty() => self.check_port(port),
            // The name may stand for an allowed network: its addresses decide.
            Host::Domain(_) => Ok(()),
        }
    }

    /// Checks the address and port that is about to be connected to.
    pub fn check(&self, address: IpAddr, port: u16) -> Result<(), BlockedTarget> {
        let canonical = address.to_canonical();
        if self.own.iter().any(|own| is_own(*own, canonical, port)) {
            return Err(BlockedTarget::Own);
        }
        if self.allow.iter().any(|net| net.contains(&canonical)) {
            return Ok(());
        }
        if !is_public(canonical) {
            return Err(BlockedTarget::Address(address));
        }
        self.check_port(port)
    }

    fn check_port(&self, port: u16) -> Result<(), BlockedTarget> {
        match port {
            443 | 1024.. => Ok(()),
            80 if self.allow_http => Ok(()),
            _ => Err(BlockedTarget::Port(port)),
        }
    }
}

/// Whether DNS can have a name, and a certificate too. DNS itself takes
/// everything (RFC 2181, section 11); underscores are common within networks.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let is_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(is_char)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether Posthorn listens there. On all addresses of its host, it is also at
/// those that are not public; which public ones it has it cannot know.
fn is_own(own: SocketAddr, address: IpAddr, port: u16) -> bool {
    let here = own.ip().to_canonical() == address || (own.ip().is_unspecified() && !is_public(address));
    own.port() == port && here
}

/// Whether anybody on the internet may be behind this address, and nobody else.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !BLOCKED_V4.iter().any(|(net, len)| Ipv4Net::new_assert(*net, *len).contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |(net, len): (Ipv6Addr, u8)| Ipv6Net::new_assert(net, len).contains(&address);
    let [.., a, b, c, d] = address.octets();
    let embedded = Ipv4Addr::new(a, b, c, d);
    if within(NAT64) {
        return is_public_v4(embedded);
    }
    // ISATAP (RFC 5214, section 6.1) keeps an IPv4 address behind 0:5efe or 200:5efe.
    let segments = address.segments();
    let isatap = segments[4] & !0x0200 == 0 && segments[5] == 0x5efe;
    within(GLOBAL_V6) && !BLOCKED_V6.into_iter().any(within) && (!isatap || is_public_v4(embedded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict() -> TargetPolicy {
        TargetPolicy::default()
    }

    #[test]
    fn private_addresses_are_refused_in_every_notation() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "017700000001",
            "0",
            "0.0.0.0",
            "１２７.０.０.１",
            "127。0。0。1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::808:808]",
            "[2002:7f00:1::]",
            "[2001:0:1:2::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[3fff::1]",
            "[100::1]",
            "[2600::5efe:a00:1]",
            "[2600::200:5efe:127.0.0.1]",
            "[fec0::1]",
            "[5f00::1]",
        ] {
            let url = format!("https://{host}/hook");
            let refused = strict().parse_url(&url);
            assert!(matches!(refused, Err(BlockedTarget::Address(_))), "{url}: {refused:?}");
        }
    }

    #[test]
    fn public_addresses_and_names_are_allowed() {
        for url in [
            "https://example.com/hook?x=1",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
            "https://[64:ff9b::808:808]/",
            "https://example.com:8443/",
            "https://bücher.example/",
        ] {
            assert!(strict().parse_url(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn names_that_can_be_looked_up_are_taken_and_others_are_refused_when_they_are_written() {
        let long = format!("https://{}.example/", "a".repeat(64));
        let longer = format!("https://{}example/", "a.".repeat(125));
        for url in ["https://my_service.example/", "https://_dmarc.a-b.example./", "https://1a.example/"] {
            strict().parse_url(url).expect(url);
        }
        for url in [
            "https://-a.example/",
            "https://a-.example/",
            "https://a..example/",
            "https://a*b/",
            &long,
            &longer,
        ] {
            assert_eq!(strict().parse_url(url), Err(BlockedTarget::Name), "{url}");
        }
    }

    #[test]
    fn names_of_this_machine_are_refused_unless_it_may_be_called() {
        let open = TargetPolicy { allow: vec!["127.0.0.1/32".parse().expect("a network")], ..strict() };
        for url in ["https://localhost/", "https://LOCALHOST.:8443/", "https://a.localhost/"] {
            assert!(matches!(strict().parse_url(url), Err(BlockedTarget::Address(_))), "{url}");
            open.parse_url(url).expect(url);
        }
        strict().parse_url("https://localhost.example/").expect("is another name");
    }

    #[test]
    fn other_schemes_credentials_fragments_and_ports_are_refused() {
        let refused = |url: &str| strict().parse_url(url).expect_err("refused");
        assert_eq!(refused("http://example.com/"), BlockedTarget::Scheme);
        assert_eq!(refused("ftp://example.com/"), BlockedTarget::Scheme);
        assert_eq!(refused("file:///etc/passwd"), BlockedTarget::NotAUrl);
        assert_eq!(refused("javascript:alert(1)"), BlockedTarget::NotAUrl);
        assert_eq!(refused("/hook"), BlockedTarget::NotAUrl);
        assert_eq!(refused("https://user:pw@example.com/"), BlockedTarget::Credentials);
        assert_eq!(refused("https://user@example.com/"), BlockedTarget::Credentials);
        assert_eq!(refused("https://example.com/#a"), BlockedTarget::Fragment);
        assert_eq!(refused("https://example.com:22/"), BlockedTarget::Port(22));
        assert_eq!(refused(&format!("https://example.com/{}", "a".repeat(2_048))), BlockedTarget::NotAUrl);
        // A zone id would choose an interface; the URL standard has none.
        assert_eq!(refused("https://[fe80::1%25eth0]/"), BlockedTarget::NotAUrl);
    }

    #[test]
    fn posthorn_never_calls_itself() {
        let policy = TargetPolicy {
            allow: vec!["127.0.0.0/8".parse().expect("a network"), "10.0.0.0/8".parse().expect("a network")],
            allow_http: true,
            own: vec![
                "127.0.0.1:8401".parse().expect("an address"),
                "0.0.0.0:8400".parse().expect("an address"),
            ],
            own_url: Some("https://posthorn.example/api".parse().expect("a URL")),
        };
        let refused = |url: &str| policy.parse_url(url) == Err(BlockedTarget::Own);
        assert!(refused("http://127.0.0.1:8401/") && refused("http://[::ffff:127.0.0.1]:8401/"));
        assert!(refused("http://127.0.0.1:8400/") && refused("http://10.1.2.3:8400/"));
        assert!(refused("https://POSTHORN.example/v1/events") && refused("https://posthorn.example.:443/"));
        assert!(!refused("http://127.0.0.1:8402/") && !refused("https://8.8.8.8:8400/"));
    }

    #[test]
    fn an_operator_can_allow_a_network_on_any_port() {
        let policy = TargetPolicy {
            allow: vec!["127.0.0.0/8".parse().expect("a network")],
            allow_http: true,
            ..strict()
        };
        assert!(policy.parse_url("http://127.0.0.1:25/").is_ok());
        assert!(policy.parse_url("http://[::ffff:127.0.0.1]:8080/").is_ok());
        assert!(policy.parse_url("http://10.0.0.1:8080/").is_err());
        assert_eq!(policy.check("8.8.8.8".parse().expect("ip"), 25), Err(BlockedTarget::Port(25)));
    }
}
