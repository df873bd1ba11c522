//! Client certificates, as far as they can be checked before they are used.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};

/// The longest chain or key, in bytes.
const MAX_PEM: usize = 16 * 1024;

/// Whether there is a certificate and a key. Whether they belong together is
/// seen when they are used first.
pub(super) fn check(chain: &str, key: &SecretString) -> Result<(), &'static str> {
    if chain.len() > MAX_PEM || key.expose_secret().len() > MAX_PEM {
        return Err("is longer than 16384 bytes");
    }
    let certificates = CertificateDer::pem_slice_iter(chain.as_bytes());
    let certificates: Vec<_> =
        certificates.collect::<Result<_, _>>().map_err(|_| "certificate is not PEM")?;
    if certificates.is_empty() {
        return Err("certificate holds no certificate in PEM");
    }
    PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
        .map_err(|_| "private_key is no key in PEM")?;
    Ok(())
}
