//! Attempts: single HTTP requests made for a delivery.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{AttemptId, DeliveryId};
use crate::retry::NextReason;

/// How much of an answer's body is kept, in bytes.
pub const KEPT_BODY: usize = 16 * 1024;

crate::words!(
    /// How an attempt failed, if it did.
    ErrorClass {
        /// It did not: a 2xx answer.
        None = "none" = 0,
        /// The host's name has no address.
        Dns = "dns" = 1,
        /// No connection.
        Connect = "connect" = 2,
        /// No trust: a bad certificate, or no common protocol.
        Tls = "tls" = 3,
        /// The deadline passed.
        Timeout = "timeout" = 4,
        /// The address may not be called.
        BlockedAddress = "blocked_address" = 5,
        /// A redirect, which is not followed.
        Http3xx = "http_3xx" = 6,
        /// A refusal.
        Http4xx = "http_4xx" = 7,
        /// Too many requests.
        Http429 = "http_429" = 8,
        /// The receiver failed.
        Http5xx = "http_5xx" = 9,
        /// The answer's body was cut off or made no sense. Attempts of today are
        /// judged by their status alone; older ones may have this.
        Body = "body" = 10,
        /// The connection was closed or reset, or what came was not HTTP.
        Reset = "reset" = 11,
        /// No token for the call.
        Oauth = "oauth" = 12,
        /// Posthorn ended while the call may have been under way.
        Interrupted = "interrupted" = 13,
        /// The headers of the answer are longer than 256 KiB, or not HTTP/2, so
        /// that its status is not known.
        Headers = "headers" = 14,
    }
);

crate::words!(
    /// What an attempt was made for.
    Trigger {
        /// The schedule.
        Automatic = "automatic" = 0,
        /// A tracked replay of many.
        Replay = "replay" = 1,
        /// One delivery sent again by hand.
        Manual = "manual" = 2,
        /// The test route.
        Test = "test" = 3,
        /// The breaker asks whether the endpoint is well again.
        Probe = "probe" = 4,
    }
);

impl ErrorClass {
    /// The class of an HTTP status.
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::None,
            429 => Self::Http429,
            400..=499 => Self::Http4xx,
            500..=599 => Self::Http5xx,
            300..=399 => Self::Http3xx,
            // 1xx as a final answer, or outside HTTP altogether.
            _ => Self::Reset,
        }
    }
}

/// How long the parts of an attempt took; `None` where a connection was
/// reused or the part was never reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Looking up the host's name.
    pub dns: Option<Duration>,
    /// TCP and TLS.
    pub connect: Option<Duration>,
    /// From the start of the attempt to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// The whole attempt.
    pub total: Duration,
}

/// Header names and values, in order. Most names are known when the program
/// is built.
pub type HeaderList = Vec<(Cow<'static, str>, String)>;

/// What came back, as much as is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderList,
    /// The first [`KEPT_BODY`] bytes of the body.
    pub body: Vec<u8>,
    /// Whether there was more.
    pub truncated: bool,
}

/// One HTTP request made for a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// 1, 2, … within the delivery.
    pub number: u32,
    /// What it was made for.
    pub trigger: Trigger,
    /// When it began.
    pub started_at: Timestamp,
    /// How long its parts took.
    pub phases: Phases,
    /// Who was called.
    pub remote_ip: Option<IpAddr>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http_version: Option<&'static str>,
    /// What was sent, with secrets masked.
    pub request_headers: HeaderList,
    /// What came back.
    pub answer: Option<Answer>,
    /// How it failed, if it did.
    pub error_class: ErrorClass,
    /// What exactly went wrong, for people; also what was odd about a success,
    /// or done to get it.
    pub error_detail: Option<String>,
    /// When the next attempt is due, if there is one.
    pub next_attempt_at: Option<Timestamp>,
    /// Why then, or why there is none.
    pub next_reason: NextReason,
}

impl Attempt {
    /// The status of the answer, if there was one.
    pub fn http_status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_success() {
        for status in [200, 201, 204, 299] {
            assert_eq!(ErrorClass::of_status(status), ErrorClass::None);
        }
        assert_eq!(ErrorClass::of_status(302), ErrorClass::Http3xx);
        assert_eq!(ErrorClass::of_status(404), ErrorClass::Http4xx);
        assert_eq!(ErrorClass::of_status(429), ErrorClass::Http429);
        assert_eq!(ErrorClass::of_status(503), ErrorClass::Http5xx);
        assert_eq!(ErrorClass::of_status(999), ErrorClass::Reset);
    }

    #[test]
    fn every_name_and_number_reads_back() {
        for class in ErrorClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(*class));
            assert_eq!(ErrorClass::from_code(class.code()), Some(*class));
        }
        for trigger in Trigger::ALL {
            assert_eq!(trigger.as_str().parse(), Ok(*trigger));
            assert_eq!(Trigger::from_code(trigger.code()), Some(*trigger));
        }
    }
}
