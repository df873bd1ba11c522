//! What is sealed of an endpoint: secrets, values of headers, credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::Row as _;
use zeroize::Zeroizing;

use model::clock::Timestamp;
use model::endpoint::{ActiveSecret, ClientCertificate, Credentials, CustomHeader, Endpoint};
use model::entropy::Entropy;
use model::ids::EndpointId;
use model::vault::Vault;

use super::Row;
use super::rows::{broken, to_json};

/// What binds a sealed column to its row.
fn row_name(column: &str, id: EndpointId) -> Vec<u8> {
    [b"endpoints.", column.as_bytes(), id.as_bytes()].concat()
}

pub(crate) fn seal_headers(vault: &Vault, endpoint: &Endpoint, entropy: &dyn Entropy) -> Vec<u8> {
    let headers: Vec<(&str, &str)> =
        endpoint.headers.iter().map(|header| (header.name.as_str(), header.value.expose_secret())).collect();
    let text = Zeroizing::new(to_json(&headers));
    vault.seal(text.as_bytes(), &row_name("headers", endpoint.id), entropy)
}

pub(crate) fn seal_secrets(
    vault: &Vault,
    id: EndpointId,
    secrets: &[ActiveSecret],
    entropy: &dyn Entropy,
) -> Vec<u8> {
    let secrets: Vec<(Zeroizing<String>, Option<i64>)> = secrets
        .iter()
        .map(|active| {
            let encoded = Zeroizing::new(STANDARD.encode(active.secret.as_bytes()));
            (encoded, active.expires_at.map(Timestamp::as_micros))
        })
        .collect();
    let views: Vec<(&str, Option<i64>)> = secrets.iter().map(|(text, end)| (text.as_str(), *end)).collect();
    let text = Zeroizing::new(to_json(&views));
    vault.seal(text.as_bytes(), &row_name("secrets", id), entropy)
}

pub(crate) fn unseal<T: serde::de::DeserializeOwned>(
    row: &Row,
    vault: &Vault,
    column: &'static str,
    name: &str,
    id: EndpointId,
) -> sqlx::Result<T> {
    let text =
        vault.unseal(row.try_get(column)?, &row_name(name, id)).map_err(|error| broken(column, error))?;
    serde_json::from_slice(&text).map_err(|error| broken(column, error))
}

/// What is sealed of an endpoint's credentials.
#[derive(serde::Serialize, serde::Deserialize)]
struct SealedCredentials {
    oauth_secret: Option<Zeroizing<String>>,
    certificate: Option<(String, Zeroizing<String>)>,
}

pub(crate) fn seal_credentials(vault: &Vault, endpoint: &Endpoint, entropy: &dyn Entropy) -> Option<Vec<u8>> {
    let secret = |text: &SecretString| Zeroizing::new(text.expose_secret().to_owned());
    let Credentials { oauth_secret, client_certificate } = &endpoint.credentials;
    if oauth_secret.is_none() && client_certificate.is_none() {
        return None;
    }
    let sealed = SealedCredentials {
        oauth_secret: oauth_secret.as_ref().map(secret),
        certificate: client_certificate
            .as_ref()
            .map(|certificate| (certificate.chain.clone(), secret(&certificate.key))),
    };
    let text = Zeroizing::new(to_json(&sealed));
    Some(vault.seal(text.as_bytes(), &row_name("credentials", endpoint.id), entropy))
}

pub(crate) fn credentials(row: &Row, vault: &Vault, id: EndpointId) -> sqlx::Result<Credentials> {
    if row.try_get::<Option<&[u8]>, _>("sealed_credentials")?.is_none() {
        return Ok(Credentials::default());
    }
    let sealed: SealedCredentials = unseal(row, vault, "sealed_credentials", "credentials", id)?;
    let secret = |text: Zeroizing<String>| SecretString::from(text.as_str());
    Ok(Credentials {
        oauth_secret: sealed.oauth_secret.map(secret),
        client_certificate: sealed
            .certificate
            .map(|(chain, key)| ClientCertificate { chain, key: secret(key) }),
    })
}

/// Whether calls say in the same way who they are.
pub(crate) fn has_same_credentials(before: &Endpoint, after: &Endpoint) -> bool {
    let headers = |endpoint: &Endpoint| -> Vec<(String, String)> {
        let header = |header: &CustomHeader| (header.name.clone(), header.value.expose_secret().to_owned());
        endpoint.headers.iter().map(header).collect()
    };
    let secret = |endpoint: &Endpoint| {
        endpoint.credentials.oauth_secret.as_ref().map(|secret| secret.expose_secret().to_owned())
    };
    let certificate = |endpoint: &Endpoint| {
        let certificate = endpoint.credentials.client_certificate.as_ref();
        certificate.map(|certificate| (certificate.chain.clone(), certificate.key.expose_secret().to_owned()))
    };
    headers(before) == headers(after)
        && before.calls.oauth == after.calls.oauth
        && secret(before) == secret(after)
        && certificate(before) == certificate(after)
}
