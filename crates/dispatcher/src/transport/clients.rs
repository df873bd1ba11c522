//! HTTP clients: one for all, and one for each client certificate.

use std::sync::Arc;
use std::time::Duration;

use model::attempt::ErrorClass;
use model::endpoint::{ClientCertificate, Endpoint};
use model::ids::EndpointId;
use moka::future::Cache;
use reqwest::{Client, ClientBuilder, Identity, Proxy, redirect};
use secrecy::{ExposeSecret as _, SecretString};

use super::fault::Fault;
use super::phases::PhaseLayer;
use crate::address_guard::GuardedResolver;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many idle connections to one host are kept.
const IDLE_PER_HOST: usize = 64;
/// For how long.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// So many clients with a certificate are kept,
const MOST: u64 = 1_000;
/// and so long after they were used last.
const UNUSED_FOR: Duration = Duration::from_secs(10 * 60);

/// All clients, which share their settings.
pub(super) struct Clients {
    resolver: Arc<GuardedResolver>,
    proxy: Option<SecretString>,
    plain: Client,
    /// By the endpoint and its last change: a certificate belongs to a client.
    with_certificate: Cache<(EndpointId, i64), Client>,
}

impl Clients {
    pub(super) fn new(
        resolver: Arc<GuardedResolver>,
        proxy: Option<&SecretString>,
    ) -> Result<Self, reqwest::Error> {
        let plain = builder(&resolver, proxy)?.build()?;
        let with_certificate = Cache::builder().max_capacity(MOST).time_to_idle(UNUSED_FOR).build();
        Ok(Self { resolver, proxy: proxy.cloned(), plain, with_certificate })
    }

    /// The client for calls that show no certificate.
    pub(super) fn plain(&self) -> &Client {
        &self.plain
    }

    /// The client for calls to an endpoint.
    pub(super) async fn of(&self, endpoint: &Endpoint) -> Result<Client, Fault> {
        let Some(certificate) = &endpoint.credentials.client_certificate else {
            return Ok(self.plain.clone());
        };
        let key = (endpoint.id, endpoint.updated_at.as_micros());
        let made = self.with_certificate.try_get_with(key, async { self.showing(certificate) });
        made.await.map_err(|error| Fault {
            class: ErrorClass::Tls,
            detail: format!("the client certificate of this endpoint cannot be used: {error}"),
        })
    }

    fn showing(&self, certificate: &ClientCertificate) -> Result<Client, reqwest::Error> {
        let pem = [certificate.chain.as_bytes(), b"\n", certificate.key.expose_secret().as_bytes()].concat();
        builder(&self.resolver, self.proxy.as_ref())?.identity(Identity::from_pem(&pem)?).build()
    }
}

fn builder(
    resolver: &Arc<GuardedResolver>,
    proxy: Option<&SecretString>,
) -> Result<ClientBuilder, reqwest::Error> {
    let builder = Client::builder()
        .tls_backend_rustls()
        // No proxy from the environment, which would go round the guard.
        .no_proxy()
        .redirect(redirect::Policy::none())
        // Repeats are the schedule's business, and each is logged.
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(IDLE_FOR)
        .dns_resolver(Arc::clone(resolver))
        .connector_layer(PhaseLayer);
    Ok(match proxy {
        Some(url) => builder.proxy(Proxy::all(url.expose_secret())?),
        None => builder,
    })
}
