//! What follows from how an attempt ended.

use std::time::{Duration, SystemTime};

use crate::attempt::{ErrorClass, Trigger};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryStatus, Failure};
use crate::entropy::Entropy;
use crate::retry::{NextReason, RetryPolicy};

/// The longest `Retry-After` that is obeyed.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// A delivery that has failed so often holds those that follow it in its order
/// no longer: under the policy `standard` that is after about half an hour of
/// tries, not counting the time for which it was held.
pub const ORDER_RELEASED_AFTER: u32 = 6;

/// What a delivery's schedule has used up before an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Failed tries on this schedule.
    pub tries: u32,
    /// How many of them were rejections.
    pub rejections: u32,
    /// When the schedule began.
    pub since: Timestamp,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The class of the failure.
    pub error_class: ErrorClass,
    /// The answer's status.
    pub http_status: Option<u16>,
    /// How long the receiver wants to be left alone.
    pub retry_after: Option<Duration>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What it was made for.
    pub trigger: Trigger,
    /// Whether others wait for it, in their order.
    pub ordered: bool,
    /// Whether a test wants a second call.
    pub twice: bool,
}

/// What follows for the delivery and its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The delivery's next status.
    pub status: DeliveryStatus,
    /// When its next attempt is due, if there is one.
    pub next_attempt_at: Option<Timestamp>,
    /// Why then.
    pub reason: NextReason,
    /// What the schedule has used up now.
    pub spent: Spent,
    /// No delivery goes to the endpoint before this.
    pub hold_until: Option<Timestamp>,
}

/// Decides what follows from an outcome.
pub fn judge(policy: &RetryPolicy, spent: Spent, outcome: &Outcome, entropy: &dyn Entropy) -> Verdict {
    let rejected = policy.is_permanent(outcome.http_status);
    // A probe asks for the breaker, not for the delivery: while one is held,
    // none of its tries are spent.
    let probed = outcome.trigger == Trigger::Probe && outcome.error_class != ErrorClass::None && !rejected;
    let spent_now = Spent {
        tries: spent.tries.saturating_add(u32::from(!probed)),
        rejections: spent.rejections.saturating_add(u32::from(rejected)),
        since: spent.since,
    };
    let ended = |status, reason, hold_until| Verdict {
        status,
        next_attempt_at: None,
        reason,
        spent: spent_now,
        hold_until,
    };
    if outcome.trigger == Trigger::Test && outcome.twice && spent.tries == 0 {
        return Verdict {
            status: DeliveryStatus::Retrying,
            next_attempt_at: Some(Timestamp::EPOCH),
            reason: NextReason::Scenario,
            spent: spent_now,
            hold_until: None,
        };
    }
    if outcome.error_class == ErrorClass::None {
        return ended(DeliveryStatus::Delivered, NextReason::Delivered, None);
    }
    // Posthorn's own end is not the receiver's failure: it costs no try.
    if outcome.error_class == ErrorClass::Interrupted {
        return Verdict {
            status: if spent.tries == 0 { DeliveryStatus::Queued } else { DeliveryStatus::Retrying },
            // A test stands before all that is held, as when it was made.
            next_attempt_at: Some(match outcome.trigger {
                Trigger::Test => Timestamp::EPOCH,
                _ => outcome.ended_at,
            }),
            reason: NextReason::Interrupted,
            spent,
            hold_until: None,
        };
    }
    let hold_until = outcome.retry_after.map(|wait| outcome.ended_at.plus(wait.min(MAX_RETRY_AFTER)));
    let give_up = |failure| ended(DeliveryStatus::Failed(failure), NextReason::GivenUp, hold_until);
    // A test shows its author the first answer; nobody waits for a second.
    if outcome.trigger == Trigger::Test {
        return give_up(Failure::Exhausted);
    }
    let (wait, reason) = if rejected {
        match policy.permanent_wait(spent_now.rejections, entropy) {
            Some(wait) => (wait, NextReason::Rejected),
            None => return give_up(Failure::Permanent),
        }
    } else {
        (policy.wait(spent_now.tries.max(1), entropy), NextReason::Backoff)
    };
    let scheduled = outcome.ended_at.plus(wait);
    let (next, reason) = match hold_until {
        Some(hold) if hold > scheduled => (hold, NextReason::RetryAfter),
        _ => (scheduled, reason),
    };
    let end = spent.since.plus(policy.max_age);
    if outcome.ended_at >= end {
        return give_up(Failure::Exhausted);
    }
    // Whatever held it: the last try is made at the end, and not skipped.
    let (next, reason) = if next > end { (end, NextReason::LastTry) } else { (next, reason) };
    let released = outcome.ordered && spent_now.tries == ORDER_RELEASED_AFTER;
    let reason = if released { NextReason::OrderReleased } else { reason };
    Verdict {
        status: DeliveryStatus::Retrying,
        next_attempt_at: Some(next),
        reason,
        spent: spent_now,
        hold_until,
    }
}

/// Reads a `Retry-After` header: seconds, or a date in any of the three forms
/// of HTTP (RFC 9110, sections 10.2.3 and 5.6.7). What is too large for a
/// number is the longest wait there is.
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    if let Ok(date) = httpdate::parse_http_date(value) {
        let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        return Some(Timestamp::EPOCH.plus(since_epoch).since(now));
    }
    // Dates of mails stand here too: with another zone than GMT, or without a weekday.
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    Some(Timestamp::from_micros(date.timestamp().as_microsecond()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::NoJitter;

    const START: Timestamp = Timestamp::from_secs(1_000_000);

    fn outcome(status: u16) -> Outcome {
        Outcome {
            error_class: ErrorClass::of_status(status),
            http_status: Some(status),
            retry_after: None,
            ended_at: START,
            trigger: Trigger::Automatic,
            ordered: false,
            twice: false,
        }
    }

    fn fresh() -> Spent {
        Spent { tries: 0, rejections: 0, since: START }
    }

    fn judge(spent: Spent, outcome: Outcome) -> Verdict {
        super::judge(&RetryPolicy::standard(), spent, &outcome, &NoJitter)
    }

    #[test]
    fn a_failed_probe_costs_no_try_and_lets_another_delivery_be_the_next_one() {
        let probe = Outcome { trigger: Trigger::Probe, ..outcome(503) };
        for (tries, secs) in [(0, 5), (1, 5), (3, 80)] {
            let verdict = judge(Spent { tries, ..fresh() }, probe);
            assert_eq!(verdict.spent.tries, tries);
            assert_eq!(verdict.next_attempt_at, Some(START.plus(Duration::from_secs(secs))));
        }
        let refused = Outcome { trigger: Trigger::Probe, ..outcome(422) };
        assert_eq!(judge(fresh(), refused).spent.tries, 1);
    }

    #[test]
    fn a_success_ends_the_delivery() {
        assert_eq!(judge(fresh(), outcome(204)).status, DeliveryStatus::Delivered);
    }

    #[test]
    fn failures_of_every_transient_kind_get_the_whole_schedule() {
        for status in [301, 401, 403, 404, 408, 410, 429, 500, 503] {
            let verdict = judge(fresh(), outcome(status));
            assert_eq!(verdict.status, DeliveryStatus::Retrying, "{status}");
            assert_eq!(verdict.next_attempt_at, Some(START.plus(Duration::from_secs(5))), "{status}");
        }
    }

    #[test]
    fn the_schedule_ends_after_120_hours_with_a_last_try() {
        let at =
            |hours: u64| Outcome { ended_at: START.plus(Duration::from_secs(hours * 3600)), ..outcome(500) };
        let spent = Spent { tries: 20, ..fresh() };
        let verdict = judge(spent, at(119));
        assert_eq!((verdict.status, verdict.reason), (DeliveryStatus::Retrying, NextReason::LastTry));
        assert_eq!(verdict.next_attempt_at, Some(START.plus(Duration::from_secs(120 * 3600))));
        let verdict = judge(spent, at(120));
        assert_eq!(verdict.status, DeliveryStatus::Failed(Failure::Exhausted));
        assert_eq!(verdict.reason, NextReason::GivenUp);
        // What was held beyond the end has had its last try with this one.
        assert_eq!(judge(fresh(), at(200)).status, DeliveryStatus::Failed(Failure::Exhausted));
    }

    #[test]
    fn what_follows_in_order_is_let_go_after_six_failures_and_that_is_said() {
        let ordered = Outcome { ordered: true, ..outcome(500) };
        let reasons: Vec<NextReason> =
            (0..8).map(|tries| judge(Spent { tries, ..fresh() }, ordered).reason).collect();
        let expected: Vec<NextReason> = (1..=8)
            .map(|tries| if tries == 6 { NextReason::OrderReleased } else { NextReason::Backoff })
            .collect();
        assert_eq!(reasons, expected);
    }

    #[test]
    fn a_scenario_may_want_a_second_call() {
        let twice = Outcome { trigger: Trigger::Test, twice: true, ..outcome(204) };
        let verdict = judge(fresh(), twice);
        assert_eq!((verdict.status, verdict.reason), (DeliveryStatus::Retrying, NextReason::Scenario));
        assert_eq!(judge(verdict.spent, twice).status, DeliveryStatus::Delivered);
    }

    #[test]
    fn a_request_that_is_rejected_four_times_failed_for_good() {
        let mut spent = fresh();
        for _ in 0..3 {
            let verdict = judge(spent, outcome(422));
            assert_eq!((verdict.status, verdict.reason), (DeliveryStatus::Retrying, NextReason::Rejected));
            spent = verdict.spent;
        }
        assert_eq!(judge(spent, outcome(400)).status, DeliveryStatus::Failed(Failure::Permanent));
        // Other failures in between do not count as rejections.
        assert_eq!(judge(spent, outcome(500)).status, DeliveryStatus::Retrying);
    }

    #[test]
    fn retry_after_is_obeyed_up_to_a_day_and_holds_the_endpoint() {
        let asked = |secs| Outcome { retry_after: Some(Duration::from_secs(secs)), ..outcome(429) };
        let verdict = judge(fresh(), asked(60));
        assert_eq!(verdict.next_attempt_at, Some(START.plus(Duration::from_secs(60))));
        assert_eq!((verdict.hold_until, verdict.reason), (verdict.next_attempt_at, NextReason::RetryAfter));
        let verdict = judge(fresh(), asked(10_000_000));
        assert_eq!(verdict.hold_until, Some(START.plus(MAX_RETRY_AFTER)));
        // A shorter wish than the schedule's wait does not hurry it.
        assert_eq!(judge(fresh(), asked(1)).next_attempt_at, Some(START.plus(Duration::from_secs(5))));
    }

    #[test]
    fn an_interrupted_attempt_costs_no_try() {
        let cut = Outcome { error_class: ErrorClass::Interrupted, http_status: None, ..outcome(500) };
        let verdict = judge(fresh(), cut);
        assert_eq!((verdict.status, verdict.next_attempt_at), (DeliveryStatus::Queued, Some(START)));
        assert_eq!(verdict.spent, fresh());
    }

    #[test]
    fn a_test_call_is_made_once() {
        let test = Outcome { trigger: Trigger::Test, ..outcome(500) };
        assert_eq!(judge(fresh(), test).status, DeliveryStatus::Failed(Failure::Exhausted));
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        let now = Timestamp::parse("2015-10-21T07:28:00Z").expect("a time");
        assert_eq!(parse_retry_after("120", now), Some(Duration::from_secs(120)));
        for form in [
            "Wed, 21 Oct 2015 07:28:30 GMT",
            "Wednesday, 21-Oct-15 07:28:30 GMT",
            "Wed Oct 21 07:28:30 2015",
            "Wed, 21 Oct 2015 09:28:30 +0200",
            " Wed, 21 Oct 2015 07:28:30 GMT ",
        ] {
            assert_eq!(parse_retry_after(form, now), Some(Duration::from_secs(30)), "{form}");
        }
        for longest in ["18446744073709551616", &"9".repeat(400), "Fri, 31 Dec 9999 23:59:59 GMT"] {
            let wait = parse_retry_after(longest, now).expect("is read");
            assert!(wait > MAX_RETRY_AFTER, "{longest}: {wait:?}");
        }
        assert_eq!(parse_retry_after("Thursday, 01-Jan-70 00:00:00 GMT", now), Some(Duration::ZERO));
        for other in ["", "1.5", "1e3", "0x10", "in an hour"] {
            assert_eq!(parse_retry_after(other, now), None, "{other}");
        }
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:28:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:27:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("soon", now), None);
        assert_eq!(parse_retry_after("-1", now), None);
    }
}
