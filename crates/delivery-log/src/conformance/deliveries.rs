//! Attempts, states, replays.

use std::time::Duration;

use model::attempt::{ErrorClass, Trigger};
use model::delivery::{DeliveryStatus, Failure, HeldBy, VisibleStatus};
use model::endpoint::EndpointStatus;

use super::scene::{AUTOMATIC, Scene, entry};
use crate::Edited;
use crate::View;
use crate::deliveries::{Canceled, DeliveryFilter, Recorded, Replayed};
use crate::idempotency::Performed;

const FAILED: DeliveryStatus = DeliveryStatus::Failed(Failure::Exhausted);

async fn replay(scene: &Scene, id: model::ids::DeliveryId, force: bool) -> Replayed {
    match scene.store.replay(scene.view(), id, force, None, entry()).await.expect("answers") {
        Performed::First(replayed) => replayed,
        other => panic!("the first, not {other:?}"),
    }
}

async fn read(scene: &Scene, id: model::ids::DeliveryId) -> model::delivery::Delivery {
    scene.store.find_delivery(scene.view(), id).await.expect("reads").expect("is there")
}

pub(super) async fn a_finished_attempt_and_the_next_state_are_read_back(scene: Scene) {
    let id = scene.publish_one("ord_1").await;
    let before = read(&scene, id).await;
    assert_eq!((before.status, before.attempts), (DeliveryStatus::Queued, 0));
    let lane = scene.take_lane().await;
    let ready = scene.claim(lane.epoch, 10).await;
    let finished = scene.finished(&ready[0], 503, DeliveryStatus::Retrying);
    assert_eq!(scene.store.finish(finished.clone()).await.expect("finishes"), Recorded::Advanced);
    let attempts = scene.attempts(id).await;
    assert_eq!(attempts, std::slice::from_ref(&finished.attempt));
    let after = read(&scene, id).await;
    assert_eq!((after.status, after.attempts, after.trigger), (DeliveryStatus::Retrying, 1, AUTOMATIC));
    assert_eq!((after.last_error, after.last_http_status), (Some(ErrorClass::Http5xx), Some(503)));
    assert_eq!(after.next_attempt_at, Some(scene.now().plus(Duration::from_secs(5))));
}

pub(super) async fn an_attempt_that_is_written_twice_stands_once(scene: Scene) {
    let id = scene.publish_one("ord_1").await;
    let lane = scene.take_lane().await;
    let ready = scene.claim(lane.epoch, 10).await;
    let finished = scene.finished(&ready[0], 200, DeliveryStatus::Delivered);
    scene.store.finish(finished.clone()).await.expect("finishes");
    assert_eq!(scene.store.finish(finished).await.expect("finishes"), Recorded::Late);
    let attempts = scene.attempts(id).await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(read(&scene, id).await.status, DeliveryStatus::Delivered);
}

pub(super) async fn a_late_attempt_is_logged_and_changes_no_state(scene: Scene) {
    let id = scene.publish_one("ord_1").await;
    let lane = scene.take_lane().await;
    let ready = scene.claim(lane.epoch, 10).await;
    let Performed::First(Canceled::Done(_)) =
        scene.store.cancel(scene.view(), id, None, entry()).await.expect("cancels")
    else {
        panic!("canceled");
    };
    let late = scene.finished(&ready[0], 200, DeliveryStatus::Delivered);
    assert_eq!(scene.store.finish(late).await.expect("finishes"), Recorded::Late);
    let attempts = scene.attempts(id).await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].next_reason, model::retry::NextReason::Superseded);
    let after = read(&scene, id).await;
    assert_eq!((after.status, after.attempts), (DeliveryStatus::Canceled, 1));
}

pub(super) async fn a_failed_delivery_is_replayed_on_a_fresh_schedule(scene: Scene) {
    let lane = scene.take_lane().await;
    let id = scene.deliver(lane.epoch, "ord_1", 500, FAILED).await;
    assert_eq!(read(&scene, id).await.status, FAILED);
    assert!(scene.claim(lane.epoch, 10).await.is_empty());
    scene.advance(3600);
    assert!(matches!(replay(&scene, id, false).await, Replayed::Due(_)));
    let ready = scene.claim(lane.epoch, 10).await;
    assert_eq!(ready.len(), 1);
    assert_eq!((ready[0].id, ready[0].attempts, ready[0].trigger), (id, 1, Trigger::Manual));
    assert_eq!((ready[0].spent.tries, ready[0].spent.since), (0, scene.now()));
    assert_eq!(ready[0].last_error, Some(ErrorClass::Http5xx));
}

pub(super) async fn a_delivered_one_is_replayed_only_by_force(scene: Scene) {
    let lane = scene.take_lane().await;
    let id = scene.deliver(lane.epoch, "ord_1", 200, DeliveryStatus::Delivered).await;
    assert!(matches!(replay(&scene, id, false).await, Replayed::AlreadyDelivered));
    assert!(matches!(replay(&scene, id, true).await, Replayed::Due(_)));
    assert_eq!(scene.claim(lane.epoch, 10).await.len(), 1);
}

pub(super) async fn a_paused_endpoint_holds_its_deliveries_and_refuses_replays(scene: Scene) {
    let id = scene.publish_one("ord_1").await;
    scene.set_status(EndpointStatus::Paused).await;
    let held = read(&scene, id).await;
    assert_eq!(held.visible_status(), VisibleStatus::Held);
    assert_eq!(held.hold.map(|hold| (hold.by, hold.until)), Some((HeldBy::Paused, None)));
    assert!(matches!(replay(&scene, id, false).await, Replayed::EndpointNotEnabled));
    // New events wait there too.
    let newer = scene.publish_one("ord_2").await;
    assert_eq!(read(&scene, newer).await.visible_status(), VisibleStatus::Held);
    scene.set_status(EndpointStatus::Enabled).await;
    assert_eq!(read(&scene, id).await.visible_status(), VisibleStatus::Queued);
    assert_eq!(
        scene.store.find_idle_lanes_with_work(scene.now(), 10).await.expect("finds"),
        [scene.endpoint.id]
    );
}

pub(super) async fn a_canceled_delivery_is_never_claimed(scene: Scene) {
    let id = scene.publish_one("ord_1").await;
    let canceled = scene.store.cancel(scene.view(), id, None, entry()).await;
    assert!(matches!(canceled, Ok(Performed::First(Canceled::Done(_)))), "{canceled:?}");
    let lane = scene.take_lane().await;
    assert!(scene.claim(lane.epoch, 10).await.is_empty());
    let again = scene.store.cancel(scene.view(), id, None, entry()).await;
    assert!(matches!(again, Ok(Performed::First(Canceled::AlreadyEnded))), "{again:?}");
    assert!(matches!(replay(&scene, id, false).await, Replayed::Due(_)));
    assert_eq!(scene.claim(lane.epoch, 10).await.len(), 1);
}

pub(super) async fn deliveries_are_listed_by_status_endpoint_and_error(scene: Scene) {
    let lane = scene.take_lane().await;
    let failed = scene.deliver(lane.epoch, "failed", 500, FAILED).await;
    let delivered = scene.deliver(lane.epoch, "delivered", 200, DeliveryStatus::Delivered).await;
    let retrying = scene.deliver(lane.epoch, "retrying", 429, DeliveryStatus::Retrying).await;
    let queued = scene.publish_one("queued").await;
    let list = async |filter: DeliveryFilter| {
        let page =
            scene.store.list_deliveries(scene.view(), &filter, Default::default()).await.expect("lists");
        page.rows.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>()
    };
    let with =
        |statuses: &[VisibleStatus]| DeliveryFilter { statuses: statuses.to_vec(), ..Default::default() };
    assert_eq!(list(with(&[])).await, [queued, retrying, delivered, failed]);
    assert_eq!(list(with(&[VisibleStatus::Failed])).await, [failed]);
    assert_eq!(list(with(&[VisibleStatus::Queued, VisibleStatus::Retrying])).await, [queued, retrying]);
    assert_eq!(list(with(&[VisibleStatus::Held])).await, []);
    let of_endpoint =
        DeliveryFilter { endpoint: Some(scene.endpoint.id), ..with(&[VisibleStatus::Delivered]) };
    assert_eq!(list(of_endpoint).await, [delivered]);
    let limited = DeliveryFilter { error_class: Some(ErrorClass::Http429), ..Default::default() };
    assert_eq!(list(limited).await, [retrying]);
    let by_status = DeliveryFilter { http_status: Some(500), ..Default::default() };
    assert_eq!(list(by_status).await, [failed]);
    scene.set_status(EndpointStatus::Paused).await;
    assert_eq!(list(with(&[VisibleStatus::Held])).await, [queued, retrying]);
    assert_eq!(list(with(&[VisibleStatus::Queued])).await, []);
}

pub(super) async fn what_waits_for_a_deleted_endpoint_is_canceled(scene: Scene) {
    let id = scene.publish_one("ord_1").await;
    let deleted = scene
        .store
        .delete_endpoint(scene.view(), scene.endpoint.id, scene.endpoint.updated_at, entry())
        .await;
    assert_eq!(deleted.expect("deletes"), Edited::Done);
    assert_eq!(read(&scene, id).await.visible_status(), VisibleStatus::Canceled);
    assert_eq!(scene.store.settle_held(scene.now(), 100).await.expect("settles"), 1);
    assert_eq!(read(&scene, id).await.status, DeliveryStatus::Canceled);
    assert_eq!(scene.store.settle_held(scene.now(), 100).await.expect("settles"), 0);
    assert!(matches!(replay(&scene, id, true).await, Replayed::EndpointNotEnabled));
}

pub(super) async fn what_was_held_for_too_long_expires(scene: Scene) {
    let old = scene.publish_one("old").await;
    scene.set_status(EndpointStatus::Paused).await;
    scene.advance(14 * 24 * 3600);
    let since = scene.now();
    scene.advance(1);
    let new = scene.publish_one("new").await;
    assert_eq!(scene.store.settle_held(since, 100).await.expect("settles"), 1);
    assert_eq!(read(&scene, old).await.status, DeliveryStatus::Failed(Failure::Expired));
    assert_eq!(read(&scene, new).await.visible_status(), VisibleStatus::Held);
}

pub(super) async fn what_the_body_of_a_delivery_is_made_of_is_read_back(scene: Scene) {
    let event = scene.event("ord_1");
    let id = scene.publish_one("ord_1").await;
    let read = scene.store.read_payload(scene.view(), id).await.expect("reads");
    let (delivery, stored, data) = read.expect("is there");
    assert_eq!((delivery.id, stored.subject.as_str(), data), (id, "ord_1", event.data));
    let other = scene.add_tenant("other").await;
    let of_other = View { tenant: Some(other.id), ..scene.view() };
    assert!(scene.store.read_payload(of_other, id).await.expect("reads").is_none(), "another's");
}
