//! What went wrong, in the words of the log.

use std::error::Error;
use std::time::Duration;

use model::address::BlockedTarget;
use model::attempt::ErrorClass;

use super::address_guard::LookUpError;
use super::connector::ConnectError;
use super::phases::Stage;
use super::wire::Unearned;

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

    /// The time of the attempt was over while it was at a stage.
    pub(super) fn deadline(timeout: Duration, stage: Stage) -> Self {
        let (class, what) = match stage {
            Stage::LookingUp => (ErrorClass::Dns, "the name servers did not answer"),
            Stage::Connecting => (ErrorClass::Timeout, "the host did not accept the connection"),
            Stage::Securing => (ErrorClass::Timeout, "the TLS handshake was not complete"),
            Stage::Calling => (ErrorClass::Timeout, "the answer was not complete"),
        };
        Self { class, detail: format!("{what} within {} s", timeout.as_secs_f64()) }
    }

    /// Posthorn ends.
    pub(super) fn interrupted() -> Self {
        let detail = "Posthorn was stopped while this call was under way".to_owned();
        Self { class: ErrorClass::Interrupted, detail }
    }

    /// A failure before the answer's headers were complete.
    pub(super) fn sending(error: &(dyn Error + 'static)) -> Self {
        if let Some(connecting) = find::<ConnectError>(error) {
            return Self::connecting(connecting);
        }
        if let Some(unearned) = unearned(error) {
            return Self { class: ErrorClass::Reset, detail: unearned.to_string() };
        }
        // In TLS 1.3 a refusal of our certificate comes when we are done already.
        if let Some(refused) = causes(error).find_map(|cause| cause.downcast_ref()).filter(|io| is_tls(io)) {
            return Self { class: ErrorClass::Tls, detail: tls_words(refused) };
        }
        if find::<h2::Error>(error).is_some_and(is_head_refused) {
            let detail = "the headers of the answer are longer than 256 KiB, or not HTTP/2".to_owned();
            return Self { class: ErrorClass::Headers, detail };
        }
        Self { class: ErrorClass::Reset, detail: before_the_answer(error).to_owned() }
    }

    fn connecting(error: &ConnectError) -> Self {
        let class = match error {
            ConnectError::LookUp(LookUpError::Blocked(_)) => ErrorClass::BlockedAddress,
            ConnectError::LookUp(LookUpError::NoAddress(_)) => ErrorClass::Dns,
            ConnectError::SlowTcp | ConnectError::SlowTls => ErrorClass::Timeout,
            ConnectError::Tcp(error) if error.kind() == std::io::ErrorKind::TimedOut => ErrorClass::Timeout,
            ConnectError::Tls(_) => ErrorClass::Tls,
            ConnectError::Tcp(_) | ConnectError::Proxy(_) | ConnectError::Full | ConnectError::NoHost => {
                ErrorClass::Connect
            }
        };
        Self { class, detail: error.to_string() }
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
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
    format!("no trusted TLS connection: {what}")
}

/// What was odd about the body of an answer whose status is known.
pub(super) fn body_words(error: &hyper::Error) -> String {
    match unearned(error) {
        Some(unearned) => unearned.to_string(),
        None => "the answer's body was cut off, or does not match its headers".to_owned(),
    }
}

/// Whether we have refused what came in the place of an answer's head.
fn is_head_refused(error: &h2::Error) -> bool {
    error.is_library() && error.is_reset() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR)
}

/// What went wrong before there was an answer.
fn before_the_answer(error: &(dyn Error + 'static)) -> &'static str {
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse_too_large() => {
            "the head of the answer has more than 100 headers, or more than 256 KiB"
        }
        Some(error) if error.is_parse() => "the answer is not HTTP",
        Some(error) if find::<h2::Error>(error).is_some_and(h2::Error::is_remote) => {
            "the receiver ended the call over HTTP/2 without an answer"
        }
        Some(error) if error.is_incomplete_message() => "the connection was closed before an answer came",
        Some(error) if find::<std::io::Error>(error).is_some() => {
            "the connection was reset before an answer came"
        }
        _ => "the connection ended before an answer came",
    }
}

pub(super) fn unearned<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Unearned> {
    causes(error).find_map(|cause| {
        // What an I/O error wraps is not among its sources.
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        wrapped.and_then(|inner| inner.downcast_ref::<Unearned>())
    })
}

pub(super) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref::<E>())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
