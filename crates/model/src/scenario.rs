//! Tests with which a customer can prove that a receiver is safe.
//!
//! What makes a test a scenario stands in a label of its event, so that the
//! event's record tells what was tried.

use std::time::Duration;

use crate::event::{Event, Labels};

/// The label that names the scenario of a test.
pub const LABEL: &str = "posthorn.scenario";
/// How far back the time of an old timestamp lies: beyond what receivers should take.
pub const OLD: Duration = Duration::from_secs(10 * 60);
/// The label of the one of two events that is sent last.
const SENT_LAST: &str = "posthorn.sent";
/// How long the one that is sent last waits for the other.
pub const HEAD_START: Duration = Duration::from_secs(2);
/// How long ago a delayed event happened.
pub const DELAY: Duration = Duration::from_secs(6 * 60 * 60);

crate::words!(
    /// What a test does beyond a call with a test event.
    Scenario {
        /// The same event is sent twice.
        Duplicate = "duplicate",
        /// Two events are sent, the later one first.
        OutOfOrder = "out_of_order",
        /// The event happened hours ago; timestamp and signature are fresh.
        Delayed = "delayed",
        /// The signature fits another body.
        BadSignature = "bad_signature",
        /// The timestamp is too old; the signature fits it.
        OldTimestamp = "old_timestamp",
    }
);

impl Scenario {
    /// What is sent, for the customer.
    pub fn sends(self) -> &'static str {
        match self {
            Self::Duplicate => "the same event twice, with the same webhook-id",
            Self::OutOfOrder => "two events about the same subject, the one with the greater sequence first",
            Self::Delayed => "an event that happened six hours ago, with a fresh timestamp and signature",
            Self::BadSignature => "an event whose signature fits another body",
            Self::OldTimestamp => {
                "an event whose timestamp is ten minutes old, with a signature that fits it"
            }
        }
    }

    /// What a good receiver does.
    pub fn expects(self) -> &'static str {
        match self {
            Self::Duplicate => "answers 2xx both times and acts once: it remembers the webhook-id",
            Self::OutOfOrder => {
                "answers 2xx both times and keeps what the later one says: it compares sequence or revision"
            }
            Self::Delayed => "answers 2xx: when an event happened says nothing about when it is sent",
            Self::BadSignature => "answers 400 or 401 and does not act",
            Self::OldTimestamp => "answers 400 or 401 and does not act: somebody may repeat an old request",
        }
    }

    /// How many calls it makes.
    pub fn calls(self) -> usize {
        match self {
            Self::Duplicate | Self::OutOfOrder => 2,
            Self::Delayed | Self::BadSignature | Self::OldTimestamp => 1,
        }
    }

    /// What came of it, from the statuses that the calls were answered with;
    /// `None` for a call that was not answered. What the receiver then did only
    /// its owner sees.
    ///
    /// # Errors
    /// Why the receiver is not safe.
    pub fn judge(self, answers: &[Option<u16>]) -> Result<&'static str, String> {
        let wants_refusal = matches!(self, Self::BadSignature | Self::OldTimestamp);
        for (n, answer) in answers.iter().enumerate() {
            let call = n + 1;
            match answer {
                None => return Err(format!("call {call} was not answered")),
                Some(200..=299) if wants_refusal => {
                    return Err(format!(
                        "call {call} was taken, and should have been refused with 400 or 401"
                    ));
                }
                Some(400 | 401 | 403) if wants_refusal => {}
                Some(200..=299) => {}
                Some(status) if wants_refusal => {
                    return Err(format!("call {call} was answered {status}, not 400 or 401"));
                }
                Some(status) => return Err(format!("call {call} was answered {status}, not 2xx")),
            }
        }
        Ok(match self {
            Self::Duplicate => "both calls were taken; see for yourself that it acted once",
            Self::OutOfOrder => {
                "both calls were taken; see for yourself that it kept what the later one says"
            }
            Self::Delayed => "the call was taken",
            Self::BadSignature | Self::OldTimestamp => "the call was refused",
        })
    }

    /// The scenario of a test event, if it has one.
    pub fn of(event: &Event) -> Option<Self> {
        event.labels.get(LABEL).filter(|_| event.test)?.parse().ok()
    }

    /// The labels of a test of this scenario.
    pub fn labels(self) -> Labels {
        Labels::from_stored(vec![(LABEL.to_owned(), self.as_str().to_owned())])
    }

    /// The labels of the one of two events that is sent last.
    pub fn labels_of_last(self) -> Labels {
        let labels = [(LABEL, self.as_str()), (SENT_LAST, "last")];
        Labels::from_stored(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    /// Whether a test event lets another one go first.
    pub fn is_sent_last(event: &Event) -> bool {
        event.test && event.labels.get(SENT_LAST) == Some("last")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_passes_that_takes_what_is_right_and_refuses_what_is_not() {
        for (scenario, answers, passes) in [
            (Scenario::Duplicate, vec![Some(204), Some(200)], true),
            (Scenario::Duplicate, vec![Some(204), Some(409)], false),
            (Scenario::OutOfOrder, vec![Some(204), None], false),
            (Scenario::Delayed, vec![Some(200)], true),
            (Scenario::Delayed, vec![Some(400)], false),
            (Scenario::BadSignature, vec![Some(401)], true),
            (Scenario::BadSignature, vec![Some(200)], false),
            (Scenario::OldTimestamp, vec![Some(400)], true),
            (Scenario::OldTimestamp, vec![Some(500)], false),
            (Scenario::OldTimestamp, vec![None], false),
        ] {
            assert_eq!(scenario.judge(&answers).is_ok(), passes, "{scenario} {answers:?}");
        }
    }
}
