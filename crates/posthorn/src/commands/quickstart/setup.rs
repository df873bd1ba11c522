//! A project, a key, a tenant and an endpoint; made once, found again later.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use api_types::{Endpoint, EndpointRequest, Page, Secret, Tenant, TenantRequest};
use model::access::{Scopes, hash_token};
use model::clock::Clock as _;
use model::names::ProjectName;
use reqwest::Method;

use super::QuickstartArgs;
use crate::commands::keys;
use crate::commands::keys::CreateKeyArgs;
use crate::settings::{Overrides, Settings};
use crate::system::SystemClock;
use crate::wiring::Platform;
use client::Client;

/// The customer of the quickstart.
pub(super) const TENANT: &str = "acme";
/// The project of the quickstart.
const PROJECT: &str = "quickstart";
/// Marks the quickstart's own endpoint.
const DESCRIPTION: &str = "the receiver of the quickstart";
/// Where the quickstart keeps its key, which is shown only once otherwise.
pub(super) const KEY_FILE: &str = "quickstart.key";

/// The user's settings, with what the quickstart needs, on free ports where
/// the usual ones are taken.
pub(super) fn settings(args: &QuickstartArgs, overrides: Overrides<'_>) -> anyhow::Result<Settings> {
    let mut settings = Settings::load(&args.store, &args.listen, overrides)?;
    settings.allow_target(IpAddr::from([127, 0, 0, 1]));
    for address in [&mut settings.listen, &mut settings.admin_listen] {
        if std::net::TcpListener::bind(*address).is_err() {
            eprintln!("{address} is taken, so a free port is used instead");
            address.set_port(0);
        }
    }
    Ok(settings)
}

/// The key of an earlier run, if it is still good, or a new one.
pub(super) async fn key(platform: &Platform, folder: &Path) -> anyhow::Result<String> {
    let path = folder.join(KEY_FILE);
    let store = platform.store();
    if let Ok(key) = std::fs::read_to_string(&path) {
        let key = key.trim();
        if store.configuration().key(&hash_token(key), SystemClock.now()).is_some() {
            return Ok(key.to_owned());
        }
    }
    let args = CreateKeyArgs {
        project: ProjectName::parse(PROJECT)?,
        scopes: Scopes::everything(),
        name: "quickstart".to_owned(),
        tenant: None,
    };
    let token = keys::create(store, &args).await?;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| writeln!(file, "{}", token.reveal()));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(token.reveal().to_owned())
}

/// The quickstart's endpoint, at the receiver's present address.
pub(super) struct QuickstartEndpoint {
    pub(super) secret: String,
}

/// Makes the tenant and the endpoint, or moves the endpoint of an earlier run.
pub(super) async fn endpoint(client: &Client, receiver: SocketAddr) -> anyhow::Result<QuickstartEndpoint> {
    let tenant = TenantRequest { name: Some("Acme Inc.".to_owned()), ..TenantRequest::default() };
    let _: Tenant = client.send_json(Method::PUT, &format!("/v1/tenants/{TENANT}"), &tenant).await?;
    let url = format!("http://{receiver}/hook");
    let path = format!("/v1/tenants/{TENANT}/endpoints");
    let present: Page<Endpoint> = client.get(&path).await?.context("the tenant was just made")?;
    let endpoint: Endpoint =
        match present.data.into_iter().find(|endpoint| endpoint.description == DESCRIPTION) {
            Some(endpoint) => {
                let change = serde_json::json!({ "url": url, "status": "enabled" });
                client.send_json(Method::PATCH, &format!("{path}/{}", endpoint.id), &change).await?
            }
            None => {
                let new = EndpointRequest {
                    url,
                    description: Some(DESCRIPTION.to_owned()),
                    ..EndpointRequest::default()
                };
                client.send_json(Method::POST, &path, &new).await?
            }
        };
    let secret: Option<Secret> = client.get(&format!("{path}/{}/secret", endpoint.id)).await?;
    let secret = secret.and_then(|found| found.secret);
    Ok(QuickstartEndpoint { secret: secret.context("the endpoint was just made")? })
}
