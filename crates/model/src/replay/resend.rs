//! What sending a delivery again, and taking that back, does to it.

use crate::attempt::Trigger;
use crate::delivery::{DeliveryStatus, Failure};

/// What a delivery is sent for when it is sent again. One that waits is hurried
/// by a replay of many, and stays what it was: if that is canceled, it goes on.
pub fn resent_for(status: DeliveryStatus, before: Trigger, trigger: Trigger) -> Trigger {
    match status.is_waiting() && trigger == Trigger::Replay {
        true => before,
        false => trigger,
    }
}

/// How a delivery stood before it was sent again and did not go out: by its
/// last attempt, because the store knows no more. One without attempts never was.
pub fn before_resend(attempts: u32, last_http_status: Option<u16>) -> DeliveryStatus {
    match (attempts, last_http_status) {
        (0, _) => DeliveryStatus::Canceled,
        (_, Some(200..=299)) => DeliveryStatus::Delivered,
        (_, Some(400 | 413 | 415 | 422)) => DeliveryStatus::Failed(Failure::Permanent),
        _ => DeliveryStatus::Failed(Failure::Exhausted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_stays_what_it_was_under_a_replay_of_many() {
        for (status, before, trigger, expected) in [
            (DeliveryStatus::Retrying, Trigger::Automatic, Trigger::Replay, Trigger::Automatic),
            (DeliveryStatus::Queued, Trigger::Manual, Trigger::Replay, Trigger::Manual),
            (DeliveryStatus::Queued, Trigger::Automatic, Trigger::Manual, Trigger::Manual),
            (DeliveryStatus::Delivered, Trigger::Automatic, Trigger::Replay, Trigger::Replay),
            (DeliveryStatus::Failed(Failure::Permanent), Trigger::Manual, Trigger::Replay, Trigger::Replay),
        ] {
            assert_eq!(resent_for(status, before, trigger), expected, "{status:?} {before:?} {trigger:?}");
        }
    }

    #[test]
    fn what_is_taken_back_stands_as_its_last_attempt_ended() {
        for (attempts, answer, expected) in [
            (0, None, DeliveryStatus::Canceled),
            (1, Some(204), DeliveryStatus::Delivered),
            (1, Some(422), DeliveryStatus::Failed(Failure::Permanent)),
            (8, Some(503), DeliveryStatus::Failed(Failure::Exhausted)),
            (8, None, DeliveryStatus::Failed(Failure::Exhausted)),
        ] {
            assert_eq!(before_resend(attempts, answer), expected, "{attempts} {answer:?}");
        }
    }
}
