//! Certificates of an authority of the tests' own: right ones and wrong ones.

use std::net::{IpAddr, Ipv4Addr};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// What is right or wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Nothing: it is for 127.0.0.1.
    Right,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYet,
    /// It is for another name.
    OtherName,
    /// It is signed by itself.
    SelfSigned,
    /// The certificate between it and the authority is not sent.
    Incomplete,
}

/// An authority that a program trusts which is started with
/// `SSL_CERT_FILE` = [`Authority::file`].
#[derive(Debug)]
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Default for Authority {
    fn default() -> Self {
        let root = CertifiedIssuer::self_signed(authority_params("Root"), KeyPair::generate().unwrap());
        let root = root.unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), root.pem()).unwrap();
        Self { root, folder }
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    /// Where its own certificate is, as PEM.
    pub fn file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// What trusts it and nobody else.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        roots
    }

    /// A chain and its key, for a receiver on this machine.
    pub fn identity(&self, wanted: Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        match wanted {
            Identity::Expired => params.not_after = date_time_ymd(2020, 1, 1),
            Identity::NotYet => params.not_before = date_time_ymd(2090, 1, 1),
            Identity::OtherName => {
                params.subject_alt_names = vec![SanType::DnsName("other.example".try_into().unwrap())];
            }
            Identity::Right | Identity::SelfSigned | Identity::Incomplete => {}
        }
        let certificate = match wanted {
            Identity::SelfSigned => params.self_signed(&key).unwrap(),
            Identity::Incomplete => {
                let between = KeyPair::generate().unwrap();
                let issuer = Issuer::new(authority_params("Between"), between);
                params.signed_by(&key, &issuer).unwrap()
            }
            _ => params.signed_by(&key, &self.root).unwrap(),
        };
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}
