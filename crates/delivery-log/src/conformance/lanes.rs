//! Who may send, and what is in whose hands.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::attempt::{ErrorClass, Trigger};
use model::clock::Timestamp;
use model::delivery::DeliveryStatus;
use model::endpoint::EndpointStatus;
use model::health::{Ended, Health};

use super::scene::{OneLane, Scene};
use crate::deliveries::Recorded;
use crate::events::{Publish, Published};
use crate::lanes::Beat;

pub(super) async fn what_is_due_is_claimed_once_and_in_order(scene: Scene) {
    let mut published = Vec::new();
    for i in 0..5 {
        scene.advance(1);
        published.push(scene.publish_one(&format!("ord_{i}")).await);
    }
    let lane = scene.take_lane().await;
    let claimed = scene.store.claim_due(scene.wish(lane.epoch, scene.now(), 3)).await;
    let claimed = claimed.expect("claims");
    assert_eq!(claimed.ready.iter().map(|ready| ready.id).collect::<Vec<_>>(), published[..3]);
    assert!(claimed.next_due.is_some());
    assert_eq!(claimed.ready[0].data.as_bytes(), br#"{"total": 1.10, "id": 9007199254740993}"#);
    let rest = scene.claim(lane.epoch, 10).await;
    assert_eq!(rest.iter().map(|ready| ready.id).collect::<Vec<_>>(), published[3..]);
    assert!(scene.claim(lane.epoch, 10).await.is_empty());
    // A retry is not due before its time, and the lane knows when that is.
    let retry = scene.finished(&rest[0], 500, DeliveryStatus::Retrying);
    let due = retry.attempt.next_attempt_at;
    scene.store.finish(retry).await.expect("finishes");
    let none = scene.store.claim_due(scene.wish(lane.epoch, scene.now(), 10)).await;
    let none = none.expect("claims");
    assert!(none.ready.is_empty());
    assert_eq!(none.next_due, due);
    scene.advance(5);
    assert_eq!(scene.claim(lane.epoch, 10).await.len(), 1);
}

pub(super) async fn a_lane_has_one_owner_and_epochs_grow(scene: Scene) {
    let lane = scene.take_lane().await;
    let process = scene.new_process().await;
    assert!(scene.store.take_lanes(process, &[scene.endpoint.id]).await.expect("answers").is_empty());
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("releases");
    let next = scene.store.take_lanes(process, &[scene.endpoint.id]).await.expect("answers").remove(0);
    assert!(next.epoch > lane.epoch);
    // The owner before can claim no more.
    scene.publish_one("ord_1").await;
    assert!(scene.claim(lane.epoch, 10).await.is_empty());
    assert_eq!(scene.claim(next.epoch, 10).await.len(), 1);
}

pub(super) async fn released_deliveries_can_be_claimed_by_the_next_owner(scene: Scene) {
    let id = scene.publish_one("ord_1").await;
    let lane = scene.take_lane().await;
    let ready = scene.claim(lane.epoch, 10).await;
    let mut finished = scene.finished(&ready[0], 429, DeliveryStatus::Retrying);
    let mut health = Health::default();
    health.learn(
        &Ended {
            delivery: ready[0].id,
            event: ready[0].event.id,
            trigger: Trigger::Automatic,
            error_class: ErrorClass::Http429,
            http_status: Some(429),
            rejected: false,
            hold_until: Some(scene.now().plus(Duration::from_secs(60))),
            under_way: 0,
            at: scene.now(),
        },
        scene.env.entropy.as_ref(),
    );
    Arc::make_mut(&mut finished).health = Some(health.clone());
    scene.store.finish(finished).await.expect("finishes");
    scene.advance(5);
    assert_eq!(scene.claim(lane.epoch, 10).await.len(), 1);
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("releases");
    // Held: nobody needs to look before the hold ends.
    assert!(scene.store.find_idle_lanes_with_work(scene.now(), 10).await.expect("finds").is_empty());
    scene.advance(60);
    assert_eq!(scene.store.find_idle_lanes_with_work(scene.now(), 10).await.expect("finds").len(), 1);
    let next = scene.take_lane().await;
    assert_eq!(next.health, health);
    let again = scene.claim(next.epoch, 10).await;
    assert_eq!((again[0].id, again[0].attempts), (id, 1));
}

pub(super) async fn what_a_dead_process_had_in_hand_is_logged_as_interrupted_and_due(scene: Scene) {
    let id = scene.publish_one("ord_1").await;
    let lane = scene.take_lane().await;
    let in_hand = scene.claim(lane.epoch, 10).await;
    let later = scene.finished(&in_hand[0], 200, DeliveryStatus::Delivered);
    let Scene { backend, store, env, .. } = &scene;
    let store = backend.reopen_after_crash(store.clone(), env.clone()).await;
    let scene = Scene { store, ..scene };
    let attempts = scene.attempts(id).await;
    assert_eq!((attempts.len(), attempts[0].error_class), (1, ErrorClass::Interrupted));
    let delivery = scene.store.find_delivery(scene.view(), id).await.expect("reads").expect("is there");
    assert_eq!((delivery.status, delivery.attempts), (DeliveryStatus::Queued, 1));
    assert_eq!(
        scene.store.find_idle_lanes_with_work(scene.now(), 10).await.expect("finds"),
        [scene.endpoint.id]
    );
    let lane = scene.take_lane().await;
    let again = scene.claim(lane.epoch, 10).await;
    assert_eq!((again[0].id, again[0].attempts, again[0].spent.tries), (id, 1, 0));
    // What really happened takes the place of the guess, and changes no state.
    assert_eq!(scene.store.finish(later).await.expect("finishes"), Recorded::Late);
    let attempts = scene.attempts(id).await;
    assert_eq!((attempts.len(), attempts[0].error_class), (1, ErrorClass::None));
    let delivery = scene.store.find_delivery(scene.view(), id).await.expect("reads").expect("is there");
    assert_eq!(delivery.status, DeliveryStatus::Queued);
}

pub(super) async fn a_publish_into_an_owned_lane_needs_no_claim(scene: Scene) {
    let lane = scene.take_lane().await;
    let owner =
        Arc::new(OneLane { endpoint: scene.endpoint.id, epoch: lane.epoch, taken: Mutex::new(Vec::new()) });
    scene.store.connect(owner.clone());
    let id = scene.publish_one("ord_1").await;
    let taken = std::mem::take(&mut *owner.taken.lock().expect("not poisoned"));
    assert_eq!(taken.iter().map(|ready| ready.id).collect::<Vec<_>>(), [id]);
    assert!(scene.claim(lane.epoch, 10).await.is_empty(), "it is in hand already");
    let finished = scene.finished(&taken[0], 200, DeliveryStatus::Delivered);
    assert_eq!(scene.store.finish(finished).await.expect("finishes"), Recorded::Advanced);
}

pub(super) async fn idle_lanes_with_due_work_are_found(scene: Scene) {
    let find = async || scene.store.find_idle_lanes_with_work(scene.now(), 10).await.expect("finds");
    assert!(find().await.is_empty());
    scene.publish_one("ord_1").await;
    assert_eq!(find().await, [scene.endpoint.id]);
    let lane = scene.take_lane().await;
    assert!(find().await.is_empty());
    let ready = scene.claim(lane.epoch, 10).await;
    let retry = scene.finished(&ready[0], 500, DeliveryStatus::Retrying);
    scene.store.finish(retry).await.expect("finishes");
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("releases");
    assert!(find().await.is_empty(), "its retry is not due yet");
    scene.advance(5);
    assert_eq!(find().await, [scene.endpoint.id]);
}

pub(super) async fn a_test_call_can_be_claimed_alone_while_all_else_is_held(scene: Scene) {
    scene.publish_one("waiting").await;
    scene.set_status(EndpointStatus::Paused).await;
    let test = Publish { test: Some(scene.endpoint.id), ..scene.event("test") };
    let published = scene.store.publish(test).await.expect("publishes");
    let Published::Accepted { delivery: Some(test), .. } = published else {
        panic!("accepted, not {published:?}")
    };
    let lane = scene.take_lane().await;
    let held = scene.store.claim_due(scene.wish(lane.epoch, Timestamp::EPOCH, 10)).await;
    assert_eq!(held.expect("claims").ready.iter().map(|ready| ready.id).collect::<Vec<_>>(), [test]);
    // Given back unsent, the test is still to be sent.
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("releases");
    let find = async || scene.store.find_idle_lanes_with_work(scene.now(), 10).await.expect("finds");
    assert_eq!(find().await, [scene.endpoint.id]);
    let lane = scene.take_lane().await;
    let ready = scene.store.claim_due(scene.wish(lane.epoch, Timestamp::EPOCH, 10)).await;
    let ready = ready.expect("claims").ready.remove(0);
    scene.store.finish(scene.finished(&ready, 200, DeliveryStatus::Delivered)).await.expect("finishes");
    // Without one, the lane rests until somebody enables the endpoint.
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("releases");
    scene.advance(3600);
    assert!(find().await.is_empty());
}

pub(super) async fn a_process_that_gave_everything_back_leaves_nothing_to_take_over(scene: Scene) {
    let process = scene.new_process().await;
    assert!(matches!(scene.store.beat(process).await.expect("answers"), Beat::Alive { .. }));
    scene.publish_one("ord_1").await;
    let lane = scene.store.take_lanes(process, &[scene.endpoint.id]).await.expect("takes").remove(0);
    assert_eq!(scene.claim(lane.epoch, 10).await.len(), 1);
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("releases");
    let reviewed = scene.store.review_lanes(process, scene.now()).await.expect("answers");
    assert!(reviewed.lanes.is_empty(), "it has none any more");
    scene.store.leave(process).await.expect("goes");
    assert_eq!(scene.store.take_over_dead().await.expect("looks"), 0);
    // The next one has it as if it had never been claimed.
    let next = scene.take_lane().await;
    let ready = scene.claim(next.epoch, 10).await;
    assert_eq!(ready.iter().map(|one| one.attempts).collect::<Vec<_>>(), [0]);
}
