//! Client certificates, as far as they can be checked before they are used.

use rustls::Error;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};

/// The longest chain or key, in bytes.
const MAX_PEM: usize = 16 * 1024;

/// Whether there is a certificate and a key, and one belongs to the other.
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
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
        .map_err(|_| "private_key is no key in PEM")?;
    match CertifiedKey::from_der(certificates, key, &aws_lc_rs::default_provider()) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(_)) => {
            Err("private_key does not belong to the certificate, which is the first one in the text")
        }
        Err(Error::InvalidCertificate(_)) => Err("certificate cannot be read"),
        Err(_) => Err("private_key is of a kind that is not known"),
    }
}
