//! How many calls an endpoint may have under way.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, 1989), as in
//! TCP: each success allows one more, so the limit doubles with every round
//! trip while all goes well; a sign of trouble halves it. An endpoint that
//! answers much more slowly than it could has more calls than it can take
//! (Brakmo and Peterson, "TCP Vegas", 1995).

use std::time::Duration;

use model::attempt::ErrorClass;

/// Where every endpoint starts.
const START: usize = 4;
/// So many times the fastest answer is slow,
const SLOW: u32 = 8;
/// if it takes at least so long.
const NOTICEABLE: Duration = Duration::from_millis(500);
/// The share by which the fastest answer is forgotten with each answer, so
/// that an endpoint that became slower for good is not punished for ever.
const FORGET: f64 = 0.001;

/// The in-flight limit of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InFlightLimit {
    allowed: usize,
    cap: usize,
    /// The fastest answer lately, in seconds; 0 before the first.
    fastest: f64,
    /// So many answers are left of those that were under way at the last
    /// decrease: they tell of the same trouble.
    same_trouble: usize,
}

impl InFlightLimit {
    /// A limit that never grows beyond `cap`.
    pub(crate) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Self { allowed: START.min(cap), cap, fastest: 0.0, same_trouble: 0 }
    }

    pub(crate) fn allowed(self) -> usize {
        self.allowed
    }

    /// The endpoint has been away: single calls at first.
    pub(crate) fn restart(&mut self) {
        *self = Self { allowed: 1, ..Self::new(self.cap) };
    }

    /// Learns from how a call ended, and how long it took.
    pub(crate) fn learn(&mut self, ended: ErrorClass, took: Duration) {
        self.same_trouble = self.same_trouble.saturating_sub(1);
        match ended {
            ErrorClass::None => {
                if self.is_slow(took) {
                    self.decrease(3, 4);
                } else {
                    self.allowed = (self.allowed + 1).min(self.cap);
                }
            }
            ErrorClass::Timeout
            | ErrorClass::Connect
            | ErrorClass::Reset
            | ErrorClass::Body
            | ErrorClass::Headers
            | ErrorClass::Http429
            | ErrorClass::Http5xx => self.decrease(1, 2),
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

    fn is_slow(&mut self, took: Duration) -> bool {
        let took_secs = took.as_secs_f64();
        if self.fastest == 0.0 || took_secs < self.fastest {
            self.fastest = took_secs;
        } else {
            self.fastest += (took_secs - self.fastest) * FORGET;
        }
        took >= NOTICEABLE && took_secs > self.fastest * f64::from(SLOW)
    }

    fn decrease(&mut self, of: usize, parts: usize) {
        if self.same_trouble == 0 {
            self.same_trouble = self.allowed;
            self.allowed = (self.allowed * of / parts).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(10);

    #[test]
    fn the_limit_grows_with_success_and_halves_on_trouble() {
        let mut limit = InFlightLimit::new(8);
        assert_eq!(limit.allowed(), 4);
        (0..10).for_each(|_| limit.learn(ErrorClass::None, FAST));
        assert_eq!(limit.allowed(), 8);
        limit.learn(ErrorClass::Timeout, FAST);
        assert_eq!(limit.allowed(), 4);
        (0..7).for_each(|_| limit.learn(ErrorClass::Timeout, FAST));
        assert_eq!(limit.allowed(), 4, "what was under way with it tells of the same trouble");
        (0..30).for_each(|_| limit.learn(ErrorClass::Http5xx, FAST));
        assert_eq!(limit.allowed(), 1);
        limit.learn(ErrorClass::Http4xx, FAST);
        assert_eq!(limit.allowed(), 1);
    }

    #[test]
    fn answers_that_become_slow_lower_the_limit() {
        let mut limit = InFlightLimit::new(64);
        (0..60).for_each(|_| limit.learn(ErrorClass::None, FAST));
        assert_eq!(limit.allowed(), 64);
        (0..65).for_each(|_| limit.learn(ErrorClass::None, Duration::from_secs(2)));
        assert!(limit.allowed() < 49, "{}", limit.allowed());
    }

    #[test]
    fn an_endpoint_that_is_slow_from_the_start_is_not_held_back() {
        let mut limit = InFlightLimit::new(16);
        (0..20).for_each(|_| limit.learn(ErrorClass::None, Duration::from_secs(3)));
        assert_eq!(limit.allowed(), 16);
    }

    #[test]
    fn after_an_outage_it_begins_with_one() {
        let mut limit = InFlightLimit::new(16);
        limit.restart();
        assert_eq!(limit.allowed(), 1);
        limit.learn(ErrorClass::None, FAST);
        assert_eq!(limit.allowed(), 2);
    }
}
