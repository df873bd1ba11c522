//! How many calls an endpoint may have under way.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, 1989), as in
//! TCP: each success allows one more, so the limit doubles with every round
//! trip while all goes well; a sign of trouble halves it.

use model::attempt::ErrorClass;

/// Where every endpoint starts.
const START: usize = 4;

/// The in-flight limit of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlightLimit {
    allowed: usize,
    cap: usize,
}

impl InFlightLimit {
    /// A limit that never grows beyond `cap`.
    pub(crate) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Self { allowed: START.min(cap), cap }
    }

    pub(crate) fn allowed(self) -> usize {
        self.allowed
    }

    /// Learns from how a call ended.
    pub(crate) fn learn(&mut self, ended: ErrorClass) {
        match ended {
            ErrorClass::None => self.allowed = (self.allowed + 1).min(self.cap),
            ErrorClass::Timeout
            | ErrorClass::Connect
            | ErrorClass::Reset
            | ErrorClass::Body
            | ErrorClass::Http429
            | ErrorClass::Http5xx => self.allowed = (self.allowed / 2).max(1),
            // Says something about the request or the name, not about load.
            ErrorClass::Dns
            | ErrorClass::Tls
            | ErrorClass::BlockedAddress
            | ErrorClass::Http3xx
            | ErrorClass::Http4xx
            | ErrorClass::Oauth
            | ErrorClass::Interrupted => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_grows_with_success_and_halves_on_trouble() {
        let mut limit = InFlightLimit::new(8);
        assert_eq!(limit.allowed(), 4);
        (0..10).for_each(|_| limit.learn(ErrorClass::None));
        assert_eq!(limit.allowed(), 8);
        limit.learn(ErrorClass::Timeout);
        assert_eq!(limit.allowed(), 4);
        (0..10).for_each(|_| limit.learn(ErrorClass::Http5xx));
        assert_eq!(limit.allowed(), 1);
        limit.learn(ErrorClass::Http4xx);
        assert_eq!(limit.allowed(), 1);
    }
}
