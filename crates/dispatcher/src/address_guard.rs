//! Names become addresses here, and only allowed addresses come out.
//!
//! The client connects to what this resolver gives it and to nothing else,
//! so the address that was checked is the address that is called: a name
//! that changes its mind between check and call finds no gap. Hosts that are
//! addresses themselves never reach a resolver; the transport checks them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use url::Url;

use model::address::{BlockedTarget, TargetPolicy};

use crate::transport::{Fault, phases};

/// Every address of a name is forbidden.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Blocked(BlockedTarget);

/// A name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be looked up: {0}")]
pub(crate) struct NoAddress(String);

/// Looks names up without blocking a thread, and keeps answers for their TTL.
pub(crate) struct GuardedResolver {
    targets: Arc<TargetPolicy>,
    names: Arc<OnceLock<TokioResolver>>,
    /// Who is asked; the system's servers if there are none.
    servers: Arc<[SocketAddr]>,
    /// The name of the operator's forward proxy, which may be anywhere.
    proxy: Option<String>,
}

/// Why a name cannot be called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookUpError {
    #[error(transparent)]
    Blocked(#[from] Blocked),
    #[error(transparent)]
    NoAddress(#[from] NoAddress),
}

impl GuardedResolver {
    pub(crate) fn new(
        targets: Arc<TargetPolicy>,
        servers: &[SocketAddr],
        proxy: Option<&SecretString>,
    ) -> Self {
        let proxy = proxy.and_then(|url| Some(Url::parse(url.expose_secret()).ok()?.host_str()?.to_owned()));
        Self { targets, names: Arc::new(OnceLock::new()), servers: servers.into(), proxy }
    }

    /// Looks a name up that somebody else will connect to. All of its
    /// addresses must be allowed, because that one will choose.
    pub(crate) async fn check(&self, name: &str, port: u16) -> Result<(), Fault> {
        let checked = async {
            for address in look_up(&self.names, &self.servers, name).await? {
                self.targets.check(address.ip(), port).map_err(Blocked)?;
            }
            Ok(())
        };
        checked.await.map_err(|error: LookUpError| Fault::looking_up(&error))
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (targets, names) = (Arc::clone(&self.targets), Arc::clone(&self.names));
        let servers = Arc::clone(&self.servers);
        let is_proxy = self.proxy.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let since = Instant::now();
            let found = look_up(&names, &servers, name.as_str()).await;
            phases::record_dns(since);
            if is_proxy {
                return Ok(Box::new(found?.into_iter()) as Addrs);
            }
            // Without a request there is no port: then only networks that
            // are allowed on any port pass.
            let port = phases::port().unwrap_or(0);
            Ok(allowed(&targets, found?, port)?)
        })
    }
}

async fn look_up(
    names: &OnceLock<TokioResolver>,
    servers: &[SocketAddr],
    name: &str,
) -> Result<Vec<SocketAddr>, NoAddress> {
    let unusable = |error: hickory_resolver::net::NetError| NoAddress(error.to_string());
    let resolver = match names.get() {
        Some(resolver) => resolver,
        // The system's settings may be readable the next time.
        None => {
            let builder = match servers {
                [] => TokioResolver::builder_tokio().map_err(unusable)?,
                servers => {
                    TokioResolver::builder_with_config(asking(servers), TokioRuntimeProvider::default())
                }
            };
            let made = builder.build().map_err(unusable)?;
            names.get_or_init(|| made)
        }
    };
    let found = resolver.lookup_ip(name).await.map_err(|error| NoAddress(error.to_string()))?;
    // Port 0 stands for the port of the URL.
    Ok(found.iter().map(|ip| SocketAddr::new(ip, 0)).collect())
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

/// Those addresses that may be called. A name with none is blocked.
fn allowed(targets: &TargetPolicy, found: Vec<SocketAddr>, port: u16) -> Result<Addrs, Blocked> {
    let mut refused = None;
    let mut allowed = Vec::with_capacity(found.len());
    for address in found {
        match targets.check(address.ip(), port) {
            Ok(()) => allowed.push(address),
            Err(blocked) => refused = Some(blocked),
        }
    }
    match (allowed.is_empty(), refused) {
        (true, Some(blocked)) => Err(Blocked(blocked)),
        _ => Ok(Box::new(allowed.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect()
    }

    #[test]
    fn of_mixed_addresses_only_the_public_ones_are_called() {
        let found = addresses(&["10.0.0.1", "93.184.216.34", "::1", "::ffff:127.0.0.1"]);
        let allowed: Vec<_> = allowed(&TargetPolicy::default(), found, 443).expect("one is public").collect();
        assert_eq!(allowed, addresses(&["93.184.216.34"]));
    }

    #[test]
    fn a_name_with_private_addresses_alone_is_blocked() {
        let found = addresses(&["169.254.169.254", "fd00::1"]);
        assert!(allowed(&TargetPolicy::default(), found, 443).is_err());
    }

    #[test]
    fn a_forbidden_port_is_blocked_on_a_public_address() {
        assert!(allowed(&TargetPolicy::default(), addresses(&["93.184.216.34"]), 22).is_err());
    }
}
