//! What went wrong, in the words of the log.

use std::error::Error;
use std::time::Duration;

use model::address::BlockedTarget;
use model::attempt::ErrorClass;

use crate::address_guard::{Blocked, LookUpError, NoAddress};

/// The longest detail that is kept, in bytes.
const MAX_DETAIL: usize = 500;

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

    /// A name that no connection may be made to, or that has no address.
    pub(crate) fn looking_up(error: &LookUpError) -> Self {
        let class = match error {
            LookUpError::Blocked(_) => ErrorClass::BlockedAddress,
            LookUpError::NoAddress(_) => ErrorClass::Dns,
        };
        Self { class, detail: error.to_string() }
    }

    pub(super) fn deadline(timeout: Duration) -> Self {
        let detail = format!("the answer was not complete within {} s", timeout.as_secs_f64());
        Self { class: ErrorClass::Timeout, detail }
    }

    /// A failure before the answer's headers were complete.
    pub(super) fn sending(error: reqwest::Error) -> Self {
        Self { class: class_of(&error), detail: describe(error) }
    }

    /// A failure after them.
    pub(super) fn reading(error: reqwest::Error) -> Self {
        Self { class: ErrorClass::Body, detail: describe(error) }
    }
}

fn class_of(error: &reqwest::Error) -> ErrorClass {
    if let Some(class) = causes(error).find_map(class_of_cause) {
        return class;
    }
    if error.is_connect() {
        return if error.is_timeout() { ErrorClass::Timeout } else { ErrorClass::Connect };
    }
    ErrorClass::Reset
}

fn class_of_cause(cause: &(dyn Error + 'static)) -> Option<ErrorClass> {
    // What an I/O error wraps is not among its sources.
    let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let is_tls = cause.is::<rustls::Error>() || wrapped.is_some_and(|inner| inner.is::<rustls::Error>());
    if cause.is::<Blocked>() {
        Some(ErrorClass::BlockedAddress)
    } else if cause.is::<NoAddress>() {
        Some(ErrorClass::Dns)
    } else if is_tls {
        Some(ErrorClass::Tls)
    } else {
        None
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The causes in one line. The URL stays out: a query may hold a token.
pub(super) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut detail = causes(&error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if detail.len() > MAX_DETAIL {
        let end = (0..=MAX_DETAIL).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or(0);
        detail.truncate(end);
    }
    detail
}
