//! Puts the parts together, and takes them apart in the right order.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use clap::ValueEnum;
use delivery_log::SharedStore;
use delivery_log::sqlite::Ownership;
use dispatcher::{Dispatcher, MailSettings};
use events_api::{Readiness, Servers};
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use secrecy::{ExposeSecret as _, SecretString};

use crate::settings::Settings;
use crate::{descriptors, standbys, store, system};

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// The API and the dispatcher
    All,
    /// The API alone; needs a database that several processes can share
    Api,
    /// The dispatcher alone; needs a database that several processes can share
    Dispatcher,
}

/// The running platform.
pub(crate) struct Platform {
    store: SharedStore,
    dispatcher: Option<Dispatcher>,
    servers: Servers,
}

impl Platform {
    /// Starts what the role says.
    pub(crate) async fn start(settings: &Settings, role: Role) -> anyhow::Result<Self> {
        let env = system::env();
        let shares = descriptors::share_out();
        // Beside the calls under way there are idle connections, and those for tokens.
        let slots = settings.slots.min(shares.calls / 2);
        if slots < settings.slots {
            tracing::warn!(
                slots = settings.slots,
                used = slots,
                "the limit of open files is too low for so many slots; raise it (LimitNOFILE, ulimit -n)"
            );
        }
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        // The addresses are taken first: a second server on the same ones
        // must not touch the store.
        let public = match role {
            Role::All | Role::Api => Some(listen(settings.listen, "listen")?),
            Role::Dispatcher => None,
        };
        let admin = listen(settings.admin_listen, "admin_listen")?;
        let address = public.as_ref().map_or(Ok(settings.listen), TcpListener::local_addr)?;
        let public_url = settings.public_url(address);
        let mut targets = settings.targets();
        targets.own = vec![admin.local_addr()?];
        if public.is_some() {
            targets.own.push(address);
            targets.own_url = public_url.parse().ok();
        }
        let store = store::open(settings, public_url.clone(), &env, Ownership::Server).await?;
        standbys::register(&registry, store.clone())?;
        let dispatcher = match role {
            Role::All | Role::Dispatcher => {
                let delivery = dispatcher::Settings {
                    slots,
                    max_connections: shares.calls,
                    targets: targets.clone(),
                    name_servers: settings.name_servers.clone(),
                    egress_proxy: some_secret(&settings.egress_proxy),
                    mail: some_secret(&settings.smtp_url)
                        .map(|smtp_url| MailSettings { smtp_url, from: settings.mail_from.clone() }),
                    shutdown_grace: Duration::from_secs(settings.shutdown_grace_seconds),
                    ..dispatcher::Settings::default()
                };
                Some(Dispatcher::start(store.clone(), env.clone(), delivery, &registry)?)
            }
            Role::Api => None,
        };
        let others_ready = match &dispatcher {
            Some(dispatcher) => Readiness::new(dispatcher.readiness()),
            None => Readiness::new(|| Ok(())),
        };
        let api = events_api::Settings {
            targets,
            public_url: public_url.clone(),
            egress_addresses: settings.egress_addresses.clone(),
            max_data_bytes: settings.max_data_bytes,
            others_ready,
            max_endpoints_per_tenant: settings.max_endpoints_per_tenant,
            trusted_proxies: settings.trusted_proxies.clone(),
            request_rates: settings.request_rates(),
            workers: settings.api_threads(),
            max_connections: shares.callers,
            max_operator_connections: shares.operators,
            program: system::this_program(),
        };
        let servers = events_api::start(public, admin, store.clone(), env, api, &registry)?;
        Ok(Self { store, dispatcher, servers })
    }

    /// Where the API listens, if it does.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.servers.address()
    }

    /// Where the operators' listener is.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.servers.admin_address()
    }

    /// The store, for commands that work on it directly.
    pub(crate) fn store(&self) -> &SharedStore {
        &self.store
    }

    /// Takes no more requests, finishes or gives back what is under way, and
    /// closes the store.
    pub(crate) async fn shut_down(self) {
        self.servers.shut_down().await;
        if let Some(dispatcher) = self.dispatcher {
            dispatcher.shut_down().await;
        }
        self.store.close().await;
    }
}

/// A setting that is not empty.
fn some_secret(setting: &SecretString) -> Option<SecretString> {
    (!setting.expose_secret().is_empty()).then(|| setting.clone())
}

fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "another program listens on {address} already, perhaps another Posthorn: end that one, or choose another \
             address with --{flag} or POSTHORN_{name}, such as 127.0.0.1:0 for any that is free",
            flag = setting.replace('_', "-"),
            name = setting.to_uppercase(),
        ),
        _ => anyhow::Error::new(error).context(format!("cannot listen on {address} ({setting})")),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
