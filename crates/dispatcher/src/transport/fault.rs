//! What went wrong, in the words of the log.

use std::error::Error;
use std::time::Duration;

use model::address::BlockedTarget;
use model::attempt::ErrorClass;

use super::connector::ConnectError;
use super::wire::Unearned;
use crate::address_guard::LookUpError;

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(super) class: ErrorClass,
    pub(super) detail: String,
}

impl Fault {
    pub(super) fn blocked(target: &BlockedTarget) -> Self {
        Self { class: ErrorClass::BlockedAddress, detail: target.to_string() }
    }

    pub(super) fn deadline(timeout: Duration) -> Self {
        let detail = format!("the answer was not complete within {} s", timeout.as_secs_f64());
        Self { class: ErrorClass::Timeout, detail }
    }

    /// A failure before the answer's headers were complete.
    pub(super) fn sending(error: &(dyn Error + 'static)) -> Self {
        if let Some(connecting) = find::<ConnectError>(error) {
            return Self::connecting(connecting);
        }
        let detail = match unearned(error) {
            Some(unearned) => unearned.to_string(),
            None => before_the_answer(error).to_owned(),
        };
        Self { class: ErrorClass::Reset, detail }
    }

    /// A failure after them.
    pub(super) fn reading(error: &hyper::Error) -> Self {
        let detail = match unearned(error) {
            Some(unearned) => unearned.to_string(),
            None => "the answer's body broke off, or is not what its headers say".to_owned(),
        };
        Self { class: ErrorClass::Body, detail }
    }

    fn connecting(error: &ConnectError) -> Self {
        let class = match error {
            ConnectError::LookUp(LookUpError::Blocked(_)) => ErrorClass::BlockedAddress,
            ConnectError::LookUp(LookUpError::NoAddress(_)) => ErrorClass::Dns,
            ConnectError::Slow => ErrorClass::Timeout,
            ConnectError::Tcp(error) if error.kind() == std::io::ErrorKind::TimedOut => ErrorClass::Timeout,
            ConnectError::Tls(_) => ErrorClass::Tls,
            ConnectError::Tcp(_) | ConnectError::Proxy(_) | ConnectError::Full | ConnectError::NoHost => {
                ErrorClass::Connect
            }
        };
        Self { class, detail: error.to_string() }
    }
}

/// What went wrong with TLS.
pub(super) fn tls_words(error: &std::io::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>());
    let what = match inner {
        Some(Tls::InvalidCertificate(wrong)) => match wrong {
            Certificate::Expired | Certificate::ExpiredContext { .. } => "its certificate has expired",
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            Certificate::Revoked => "its certificate was revoked",
            Certificate::UnknownIssuer => {
                "its certificate is self-signed, comes from an authority that is not trusted, or is sent \
                 without the certificates between"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            _ => "its certificate is not valid",
        },
        Some(Tls::InvalidMessage(_)) => "what it answers is not TLS; is it plain http?",
        Some(Tls::PeerIncompatible(_)) => "it offers no version or cipher of TLS 1.2 or 1.3",
        Some(Tls::AlertReceived(Alert::ProtocolVersion | Alert::HandshakeFailure)) => {
            "it offers no version or cipher of TLS 1.2 or 1.3, or wants a client certificate"
        }
        Some(Tls::AlertReceived(Alert::CertificateRequired | Alert::BadCertificate | Alert::UnknownCA)) => {
            "it does not take our client certificate, or wants one"
        }
        Some(Tls::AlertReceived(Alert::UnrecognisedName)) => "it does not know this host name",
        Some(_) => "the handshake failed",
        None => "the connection ended during the handshake",
    };
    format!("no trusted connection: {what}")
}

/// What went wrong before there was an answer.
fn before_the_answer(error: &(dyn Error + 'static)) -> &'static str {
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse() => "what was answered is not HTTP",
        Some(error) if error.is_incomplete_message() => "the connection was closed before an answer came",
        Some(error) if find::<std::io::Error>(error).is_some() => {
            "the connection was reset before an answer came"
        }
        _ => "the connection ended before an answer came",
    }
}

fn unearned<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Unearned> {
    causes(error).find_map(|cause| {
        // What an I/O error wraps is not among its sources.
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        wrapped.and_then(|inner| inner.downcast_ref::<Unearned>())
    })
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref::<E>())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
