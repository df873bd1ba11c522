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
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};

use model::address::{BlockedTarget, TargetPolicy};

/// A name has no address, in words for everybody.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAddress(&'static str);

/// Looks hosts up without blocking a thread, keeps answers for their TTL, and
/// gives what may be called.
pub(crate) struct Guard {
    targets: Arc<TargetPolicy>,
    names: OnceLock<TokioResolver>,
    /// Who is asked; the system's servers if there are none.
    servers: Vec<SocketAddr>,
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
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookUpError> {
        let found = self.unguarded(host, port).await?;
        allowed(&self.targets, &found).inspect_err(|blocked| {
            tracing::info!(url.host = host, addresses = ?found, %blocked, "a host may not be called");
        })
    }

    /// Where the operator's own hosts are, which may be anywhere.
    pub(crate) async fn unguarded(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookUpError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let failed = |error: NetError| {
            tracing::info!(url.host = host, %error, "a name was not looked up");
            NoAddress(in_words(&error))
        };
        let found = self.resolver().map_err(failed)?.lookup_ip(host).await.map_err(failed)?;
        Ok(found.iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    fn resolver(&self) -> Result<&TokioResolver, NetError> {
        if let Some(resolver) = self.names.get() {
            return Ok(resolver);
        }
        // The system's settings may be readable the next time.
        let builder = match self.servers.as_slice() {
            [] => TokioResolver::builder_tokio()?,
            servers => TokioResolver::builder_with_config(asking(servers), TokioRuntimeProvider::default()),
        };
        let made = builder.build()?;
        Ok(self.names.get_or_init(|| made))
    }
}

/// What went wrong with a name, without the inside of the operator's network.
fn in_words(error: &NetError) -> &'static str {
    match error {
        NetError::Timeout => "the name servers did not answer in time",
        NetError::Dns(DnsError::NoRecordsFound(_)) => "the name has no address: it does not exist",
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
        assert_eq!(blocked.to_string(), "is not a public address");
    }

    #[test]
    fn a_forbidden_port_is_blocked_on_a_public_address() {
        assert!(allowed(&TargetPolicy::default(), &addresses(&["93.184.216.34"], 22)).is_err());
    }

    #[tokio::test]
    async fn a_host_that_is_an_address_is_checked_as_well() {
        let guard = Guard::new(Arc::default(), &[]);
        assert!(guard.addresses("127.0.0.1", 443).await.is_err());
        assert!(guard.addresses("::ffff:10.0.0.1", 443).await.is_err());
        assert_eq!(
            guard.addresses("93.184.216.34", 443).await.expect("is public"),
            addresses(&["93.184.216.34"], 443)
        );
    }
}
