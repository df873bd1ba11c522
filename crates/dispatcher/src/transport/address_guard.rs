//! Hosts become addresses here, and only allowed addresses come out.
//!
//! Connections are made to what this guard gives and to nothing else, so the
//! address that was checked is the address that is called: a name that changes
//! its mind between check and call finds no gap. A host that is an address
//! itself is checked in the same way.
//!
//! A customer reads that an address is not public, and not which: a name may
//! stand for the inside of the operator's network. The log has the rest.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;
use tokio::time::{Instant, timeout};

use model::address::{BlockedTarget, TargetPolicy};

/// How long a name may take to be looked up.
const LOOK_UP: Duration = Duration::from_secs(5);
/// How long to wait for addresses of IPv6, when those of IPv4 are there (RFC
/// 8305, section 3),
const IPV6_TOO: Duration = Duration::from_millis(50);
/// and the other way round.
const IPV4_TOO: Duration = Duration::from_secs(2);
/// For how long an address is used at most, whatever its record says. What is
/// not there is asked for again each time: whoever has just made the record
/// waits for it.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// A name has no address, in words for everybody.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAddress(&'static str);

/// Looks hosts up without blocking a thread, keeps answers for their TTL, and
/// gives what may be called.
pub(crate) struct Guard {
    targets: Arc<TargetPolicy>,
    names: OnceLock<Names>,
    /// Who is asked; the system's servers if there are none.
    servers: Vec<SocketAddr>,
}

/// Asks for addresses of either kind by itself, so that a server that never
/// answers for one of them does not keep us from the other.
struct Names {
    v4: TokioResolver,
    v6: TokioResolver,
}

/// Where a host may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The best first.
    pub(crate) addresses: Vec<SocketAddr>,
    /// How long that is known to be right.
    pub(crate) until: Instant,
}

/// Why a host cannot be called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookUpError {
    #[error(transparent)]
    Blocked(#[from] BlockedTarget),
    #[error(transparent)]
    NoAddress(#[from] NoAddress),
}

impl Guard {
    pub(crate) fn new(targets: Arc<TargetPolicy>, servers: &[SocketAddr]) -> Self {
        Self { targets, names: OnceLock::new(), servers: servers.to_owned() }
    }

    /// Where a host may be called. One with no such address is blocked.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> Result<Found, LookUpError> {
        let Found { addresses, until } = self.unguarded(host, port).await?;
        let allowed = allowed(&self.targets, &addresses).inspect_err(|blocked| {
            tracing::info!(url.host = host, ?addresses, %blocked, "a host may not be called");
        })?;
        Ok(Found { addresses: allowed, until })
    }

    /// Where the operator's own hosts are, which may be anywhere.
    pub(crate) async fn unguarded(&self, host: &str, port: u16) -> Result<Found, LookUpError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            let addresses = vec![SocketAddr::new(address, port)];
            return Ok(Found { addresses, until: Instant::now() + LONGEST });
        }
        let failed = |error: NetError| {
            tracing::info!(url.host = host, %error, "a name was not looked up");
            NoAddress(in_words(&error))
        };
        // Read as it stands: DNS itself knows no rules for letters and hyphens.
        let name = Name::from_ascii(host).map_err(|error| failed(error.into()))?;
        let asking = self.names().map_err(failed)?.look_up(name);
        let found = timeout(LOOK_UP, asking).await.unwrap_or(Err(NetError::Timeout)).map_err(failed)?;
        let until = found.iter().map(|lookup| Instant::from_std(lookup.valid_until())).min();
        let kinds: Vec<Vec<IpAddr>> = found.iter().map(|lookup| lookup.iter().collect()).collect();
        let addresses = by_turns(&kinds).map(|address| SocketAddr::new(address, port)).collect();
        Ok(Found { addresses, until: until.unwrap_or_else(Instant::now) })
    }

    fn names(&self) -> Result<&Names, NetError> {
        if let Some(names) = self.names.get() {
            return Ok(names);
        }
        // The system's settings may be readable the next time.
        let asking = |kind| {
            let mut builder = match self.servers.as_slice() {
                [] => TokioResolver::builder_tokio()?,
                servers => {
                    TokioResolver::builder_with_config(asking(servers), TokioRuntimeProvider::default())
                }
            };
            let options = builder.options_mut();
            options.ip_strategy = kind;
            options.positive_max_ttl = Some(LONGEST);
            options.negative_max_ttl = Some(Duration::ZERO);
            builder.build()
        };
        let made = Names { v4: asking(LookupIpStrategy::Ipv4Only)?, v6: asking(LookupIpStrategy::Ipv6Only)? };
        Ok(self.names.get_or_init(|| made))
    }
}

impl Names {
    /// The addresses of a name, of IPv6 first (RFC 8305, sections 3 and 4).
    async fn look_up(&self, name: Name) -> Result<Vec<LookupIp>, NetError> {
        let (v6, v4) = (self.v6.lookup_ip(name.clone()), self.v4.lookup_ip(name));
        let (v6, v4) = match select(pin!(v6), pin!(v4)).await {
            Either::Left((v6, asking)) => {
                // Those of IPv4 may be the only ones that lead anywhere from here.
                let patience = if v6.is_ok() { IPV4_TOO } else { LOOK_UP };
                (v6, timeout(patience, asking).await.unwrap_or(Err(NetError::Timeout)))
            }
            Either::Right((v4, asking)) => {
                let patience = if v4.is_ok() { IPV6_TOO } else { LOOK_UP };
                (timeout(patience, asking).await.unwrap_or(Err(NetError::Timeout)), v4)
            }
        };
        match (v6, v4) {
            (Err(v6), Err(v4)) => Err(if matches!(v4, NetError::Timeout) { v6 } else { v4 }),
            (v6, v4) => Ok(v6.into_iter().chain(v4).collect()),
        }
    }
}

/// One of each kind in turn: if one kind does not get through, the other is
/// tried next (RFC 8305, section 4).
fn by_turns(kinds: &[Vec<IpAddr>]) -> impl Iterator<Item = IpAddr> {
    let most = kinds.iter().map(Vec::len).max().unwrap_or(0);
    (0..most).flat_map(|n| kinds.iter().filter_map(move |kind| kind.get(n).copied()))
}

/// What went wrong with a name, without the inside of the operator's network.
fn in_words(error: &NetError) -> &'static str {
    let code = match error {
        NetError::Timeout => return "the name servers did not answer in time",
        NetError::Proto(_) => return "the name is not valid in DNS",
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.response_code,
        NetError::Dns(DnsError::ResponseCode(code)) => *code,
        _ => return "the name could not be looked up",
    };
    match code {
        ResponseCode::NXDomain => "the name does not exist",
        ResponseCode::NoError => "the name exists, but has no address",
        ResponseCode::ServFail => {
            "the name servers could not find an answer (SERVFAIL): those of the domain may be down, or its \
             DNSSEC may be wrong"
        }
        ResponseCode::Refused => "the name servers refuse to answer for this name",
        _ => "the name could not be looked up",
    }
}

/// Asks these servers, and nobody else.
fn asking(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = address.port());
        NameServerConfig::new(address.ip(), true, connections)
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

/// Those addresses that may be called.
fn allowed(targets: &TargetPolicy, found: &[SocketAddr]) -> Result<Vec<SocketAddr>, LookUpError> {
    let mut refused = None;
    let mut allowed = Vec::with_capacity(found.len());
    for address in found {
        match targets.check(address.ip(), address.port()) {
            Ok(()) => allowed.push(*address),
            Err(blocked) => refused = Some(blocked),
        }
    }
    match (allowed.is_empty(), refused) {
        (true, Some(blocked)) => Err(blocked.into()),
        (true, None) => Err(NoAddress("the name has no address").into()),
        (false, _) => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str], port: u16) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), port)).collect()
    }

    #[test]
    fn of_mixed_addresses_only_the_public_ones_are_called() {
        let found = addresses(&["10.0.0.1", "93.184.216.34", "::1", "::ffff:127.0.0.1"], 443);
        let allowed = allowed(&TargetPolicy::default(), &found).expect("one is public");
        assert_eq!(allowed, addresses(&["93.184.216.34"], 443));
    }

    #[test]
    fn a_name_with_private_addresses_alone_is_blocked_and_does_not_tell_which() {
        let found = addresses(&["169.254.169.254", "fd00::1"], 443);
        let blocked = allowed(&TargetPolicy::default(), &found).expect_err("neither is public");
        let said = "is not a public address; whoever runs Posthorn can allow its network with POSTHORN_ALLOW_TARGETS";
        assert_eq!(blocked.to_string(), said);
    }

    #[test]
    fn a_forbidden_port_is_blocked_on_a_public_address() {
        assert!(allowed(&TargetPolicy::default(), &addresses(&["93.184.216.34"], 22)).is_err());
    }

    #[test]
    fn addresses_of_both_kinds_are_tried_by_turns() {
        let kind = |texts: &[&str]| addresses(texts, 443).iter().map(SocketAddr::ip).collect::<Vec<_>>();
        let (v6, v4) = (kind(&["2606::1", "2606::2", "2606::3"]), kind(&["93.184.216.34"]));
        let expected = kind(&["2606::1", "93.184.216.34", "2606::2", "2606::3"]);
        assert_eq!(by_turns(&[v6, v4]).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn a_host_that_is_an_address_is_checked_as_well() {
        let guard = Guard::new(Arc::default(), &[]);
        assert!(guard.addresses("127.0.0.1", 443).await.is_err());
        assert!(guard.addresses("::ffff:10.0.0.1", 443).await.is_err());
        let found = guard.addresses("93.184.216.34", 443).await.expect("is public");
        assert_eq!(found.addresses, addresses(&["93.184.216.34"], 443));
    }
}
