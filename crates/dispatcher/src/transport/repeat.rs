//! Calls that are made again at once, because they cannot have been heard.
//!
//! A receiver may say that it has not begun with a call (RFC 9113, sections
//! 6.8, 7 and 8.7), and a connection that was kept from an earlier call may
//! have been closed at the other end when the next one is sent on it (RFC
//! 9112, section 9.3.1). Neither says anything about the receiver's health: one
//! further request is part of the same attempt.

use std::error::Error;

use h2::Reason;
use hyper_util::client::legacy::connect::CaptureConnection;

use super::connector::ConnectError;
use super::fault::{find, unearned};
use super::wire::WireInfo;

/// How a call is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// On a new connection: the one that was kept is closed.
    Stale,
    /// On a new connection: the receiver did not take it on this one.
    Refused,
    /// Over HTTP/1.1, as the receiver asks.
    OverHttp1,
}

impl Repeat {
    /// What the log says of it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Stale => {
                "the connection kept from an earlier call was closed; the call was made again at once on a \
                 new one"
            }
            Self::Refused => {
                "the receiver did not take the call on this HTTP/2 connection; it was made again at once on \
                 a new one"
            }
            Self::OverHttp1 => {
                "the receiver wants HTTP/1.1 instead of HTTP/2; the call was made again at once over HTTP/1.1"
            }
        }
    }

    /// Whether, and how, a call is made again that ended with `error` before
    /// its answer began.
    pub(super) fn after(error: &(dyn Error + 'static), wire: Option<&WireInfo>) -> Option<Self> {
        if find::<ConnectError>(error).is_some() {
            return None;
        }
        if let Some(error) = find::<h2::Error>(error).filter(|error| !error.is_io()) {
            return match error.reason() {
                // What we refused ourselves was an answer.
                _ if !error.is_remote() => None,
                Some(Reason::HTTP_1_1_REQUIRED) => Some(Self::OverHttp1),
                Some(Reason::REFUSED_STREAM) => Some(Self::Refused),
                // Told to those calls alone that the receiver has not begun with.
                _ if error.is_go_away() => Some(Self::Refused),
                _ => None,
            };
        }
        if unearned(error).is_some() {
            return None;
        }
        let broken = find::<hyper::Error>(error)?;
        let heard = broken.is_parse() || wire.is_some_and(WireInfo::is_heard);
        let unsent = broken.is_canceled();
        (unsent || (wire.is_some_and(WireInfo::is_reused) && !heard)).then_some(Self::Stale)
    }
}

/// What becomes of a call, known also when its time is over.
#[derive(Default)]
pub(super) struct Watch {
    /// Its connection, the last of them.
    pub(super) connection: Option<CaptureConnection>,
    /// Whether it was made again.
    pub(super) repeat: Option<Repeat>,
}

impl Watch {
    /// The connection that the call was sent on.
    pub(super) fn wire(&self) -> Option<WireInfo> {
        let connection = self.connection.as_ref()?;
        let mut extensions = http::Extensions::new();
        connection.connection_metadata().as_ref()?.get_extras(&mut extensions);
        extensions.remove()
    }

    /// No further call is made on the connection.
    pub(super) fn poison(&self) {
        let Some(connection) = &self.connection else { return };
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.poison();
        }
    }
}
