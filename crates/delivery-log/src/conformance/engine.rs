//! Order, pauses, filters and policies.

use std::sync::Arc;
use std::time::Duration;

use model::attempt::{ErrorClass, Trigger};
use model::calls::{CallOptions, Ordering};
use model::delivery::{DeliveryStatus, Failure, HeldBy, Hold, VisibleStatus};
use model::endpoint::{ClientCertificate, Credentials, Endpoint, EndpointStatus};
use model::entropy::NoJitter;
use model::filter::Filter;
use model::health::{Ended, Health};
use model::ids::{DeliveryId, ReplayId};
use model::names::OrderingKey;
use model::replay::{Replay, ReplayFilter, ReplayMode, ReplayState, Waiting};
use model::retry::{MAX_POLICIES, RetryPolicy};
use secrecy::ExposeSecret as _;
use serde_json::json;
use uuid::Uuid;

use super::scene::{Scene, entry};
use crate::deliveries::{DeliveryFilter, Finished};
use crate::events::{Publish, Published};
use crate::idempotency::Performed;
use crate::lanes::{Cursor, LOOKED_AT};
use crate::policies::{NamedPolicy, PolicyRemoved, PolicySaved};

async fn publish(scene: &Scene, key: &str, subject: &str) -> DeliveryId {
    let ordering_key = Some(OrderingKey::parse(key).expect("a key"));
    let published = scene.store.publish(Publish { ordering_key, ..scene.event(subject) }).await;
    let Ok(Published::Accepted { event, .. }) = published else { panic!("accepted, not {published:?}") };
    let page = scene.store.deliveries_of_event(scene.view(), event, Default::default()).await;
    page.expect("lists").rows[0].id
}

async fn in_order(scene: &Scene) {
    scene.change_endpoint(|endpoint| endpoint.calls.ordering = Ordering::PerKey).await;
}

pub(super) async fn those_of_one_key_are_claimed_one_after_the_other(scene: Scene) {
    in_order(&scene).await;
    let a1 = publish(&scene, "a", "a1").await;
    let a2 = publish(&scene, "a", "a2").await;
    let b1 = publish(&scene, "b", "b1").await;
    let lane = scene.take_lane().await;
    let first = scene.claim(lane.epoch, 10).await;
    assert_eq!(first.iter().map(|ready| ready.id).collect::<Vec<_>>(), [a1, b1]);
    assert!(first.iter().all(|ready| ready.ordered));
    assert!(scene.claim(lane.epoch, 10).await.is_empty(), "the second waits for the first");
    let held = scene.store.find_delivery(scene.view(), a2).await.expect("reads").expect("is there");
    assert_eq!(held.hold.map(|hold| hold.by), Some(HeldBy::Order));
    // While the first is retried, its followers wait, and other keys do not.
    scene.store.finish(scene.finished(&first[0], 500, DeliveryStatus::Retrying)).await.expect("finishes");
    scene.store.finish(scene.finished(&first[1], 200, DeliveryStatus::Delivered)).await.expect("finishes");
    let b2 = publish(&scene, "b", "b2").await;
    let next = scene.claim(lane.epoch, 10).await;
    assert_eq!(next.iter().map(|ready| ready.id).collect::<Vec<_>>(), [b2]);
    scene.advance(5);
    let again = scene.claim(lane.epoch, 10).await;
    assert_eq!(again.iter().map(|ready| ready.id).collect::<Vec<_>>(), [a1]);
    scene.store.finish(scene.finished(&again[0], 200, DeliveryStatus::Delivered)).await.expect("finishes");
    assert_eq!(scene.claim(lane.epoch, 10).await[0].id, a2);
}

pub(super) async fn one_that_has_failed_too_often_holds_its_followers_no_longer(scene: Scene) {
    in_order(&scene).await;
    let first = publish(&scene, "a", "a1").await;
    let second = publish(&scene, "a", "a2").await;
    let lane = scene.take_lane().await;
    for tries in 1..=6 {
        let ready = scene.claim(lane.epoch, 10).await;
        assert_eq!(ready.iter().map(|ready| ready.id).collect::<Vec<_>>(), [first], "try {tries}");
        let failed = scene.finished(&ready[0], 500, DeliveryStatus::Retrying);
        scene.store.finish(failed).await.expect("finishes");
        if tries < 6 {
            scene.advance(5);
        }
    }
    assert_eq!(scene.claim(lane.epoch, 10).await[0].id, second);
}

pub(super) async fn a_lane_finds_what_may_go_behind_many_that_may_not(scene: Scene) {
    in_order(&scene).await;
    let lane = scene.take_lane().await;
    let head = publish(&scene, "a", "a0").await;
    let ready = scene.claim(lane.epoch, 10).await;
    assert_eq!(ready[0].id, head);
    scene.store.finish(scene.finished(&ready[0], 500, DeliveryStatus::Retrying)).await.expect("finishes");
    let mut publishing = Vec::new();
    for n in 0..LOOKED_AT + 10 {
        let ordering_key = Some(OrderingKey::parse("a").expect("a key"));
        let event = Publish { ordering_key, ..scene.event(&format!("a{n}")) };
        let store = Arc::clone(&scene.store);
        publishing.push(tokio::spawn(async move { store.publish(event).await }));
    }
    for one in publishing {
        one.await.expect("no panic").expect("publishes");
    }
    scene.advance(1);
    let other = publish(&scene, "b", "b1").await;
    let mut wish = scene.wish(lane.epoch, scene.now(), 10);
    let none = scene.store.claim_due(wish).await.expect("claims");
    assert!(none.ready.is_empty());
    wish.after = none.more_after.expect("there is more to look at");
    assert_ne!(wish.after, Cursor::START);
    let found = scene.store.claim_due(wish).await.expect("claims");
    assert_eq!(found.ready.iter().map(|ready| ready.id).collect::<Vec<_>>(), [other]);
    assert_eq!(found.more_after, None);
}

pub(super) async fn a_pause_of_the_tenant_or_the_project_holds_all_of_its_endpoints(scene: Scene) {
    let waiting = scene.publish_one("ord_1").await;
    let hold = async || {
        let found = scene.store.find_delivery(scene.view(), waiting).await.expect("reads").expect("is there");
        found.hold.map(|hold| hold.by)
    };
    let called = || scene.store.configuration().is_called(scene.endpoint.id);
    assert_eq!((hold().await, called()), (None, Some(true)));
    let paused =
        scene.store.pause_tenant(scene.view(), scene.tenant.id, true, entry()).await.expect("pauses");
    assert_eq!(paused.expect("a tenant").paused_at, Some(scene.now()));
    assert_eq!((hold().await, called()), (Some(HeldBy::Paused), Some(false)));
    let project = scene.store.pause_project(scene.project.id, true, entry()).await.expect("pauses");
    assert!(project.expect("a project").paused_at.is_some());
    scene.store.pause_tenant(scene.view(), scene.tenant.id, false, entry()).await.expect("resumes");
    assert_eq!((hold().await, called()), (Some(HeldBy::Paused), Some(false)));
    // Nobody looks for a lane whose endpoint may not be called.
    let lane = scene.take_lane().await;
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("gives back");
    let found = scene.store.find_idle_lanes_with_work(scene.now(), 10).await.expect("looks");
    assert!(found.is_empty());
    scene.store.pause_project(scene.project.id, false, entry()).await.expect("resumes");
    assert_eq!((hold().await, called()), (None, Some(true)));
    let found = scene.store.find_idle_lanes_with_work(scene.now(), 10).await.expect("looks");
    assert_eq!(found, [scene.endpoint.id]);
}

pub(super) async fn a_filter_keeps_events_away_and_the_event_says_so(scene: Scene) {
    let filter = Filter::parse(&json!({"at": "/data/total", "above": 5})).expect("a filter");
    scene.change_endpoint(|endpoint| endpoint.calls.filter = Some(filter.clone())).await;
    let published = scene.store.publish(scene.event("ord_1")).await;
    let Ok(Published::Accepted { event, .. }) = published else { panic!("accepted, not {published:?}") };
    let stored = scene.store.find_event(scene.view(), event).await.expect("reads").expect("is there");
    assert_eq!(stored.unmatched[0].reason, "filter");
    let read = scene.store.find_endpoint(scene.view(), scene.tenant.id, scene.endpoint.id).await;
    assert_eq!(read.expect("reads").expect("is there").endpoint.calls.filter, Some(filter));
}

pub(super) async fn how_an_endpoint_is_called_and_its_credentials_are_read_back(scene: Scene) {
    let calls = CallOptions {
        retry_policy: "batch".to_owned(),
        rate_limit: std::num::NonZeroU32::new(10),
        ..CallOptions::default()
    };
    let certificate = ClientCertificate { chain: "PEM".to_owned(), key: "KEY".to_owned().into() };
    let endpoint = scene
        .add_endpoint(&scene.tenant, |endpoint| {
            endpoint.calls = calls.clone();
            endpoint.timeout = None;
            endpoint.credentials = Credentials {
                oauth_secret: Some("sesame".to_owned().into()),
                client_certificate: Some(certificate),
            };
        })
        .await;
    let read = scene.store.find_endpoint(scene.view(), scene.tenant.id, endpoint.id).await;
    let read = read.expect("reads").expect("is there").endpoint;
    assert_eq!((read.calls, read.timeout), (calls, None));
    assert_eq!(read.credentials.oauth_secret.expect("a secret").expose_secret(), "sesame");
    let certificate = read.credentials.client_certificate.expect("a certificate");
    assert_eq!((certificate.chain.as_str(), certificate.key.expose_secret()), ("PEM", "KEY"));
}

pub(super) async fn policies_are_kept_by_name_and_not_removed_while_in_use(scene: Scene) {
    let store = &scene.store;
    let named = |name: &str| NamedPolicy {
        project: scene.project.id,
        name: name.to_owned(),
        policy: RetryPolicy { initial: Duration::from_secs(1), ..RetryPolicy::standard() },
        created_at: scene.now(),
        updated_at: scene.now(),
    };
    let save = async |new: &NamedPolicy, expected| match store.save_policy(new, expected, None, entry()).await
    {
        Ok(Performed::First(saved)) => saved,
        other => panic!("an answer, not {other:?}"),
    };
    let quick = named("quick");
    assert_eq!(save(&quick, None).await, PolicySaved::Done);
    assert_eq!(save(&quick, None).await, PolicySaved::Taken);
    assert_eq!(store.list_policies(scene.project.id).await.expect("lists"), std::slice::from_ref(&quick));
    let known = || store.configuration().retry_policy(scene.project.id, "quick");
    assert_eq!(known().as_deref(), Some(&quick.policy));
    scene.advance(1);
    let later = NamedPolicy { updated_at: scene.now(), policy: RetryPolicy::batch(), ..quick.clone() };
    let stale = Some(scene.now());
    assert_eq!(save(&later, stale).await, PolicySaved::Changed);
    assert_eq!(save(&later, Some(quick.updated_at)).await, PolicySaved::Done);
    assert_eq!(known().as_deref(), Some(&RetryPolicy::batch()));
    scene.change_endpoint(|endpoint| endpoint.calls.retry_policy = "quick".to_owned()).await;
    let remove = async || store.remove_policy(scene.project.id, "quick", entry()).await.expect("removes");
    assert_eq!(remove().await, PolicyRemoved::InUse(1));
    scene.change_endpoint(|endpoint| endpoint.calls.retry_policy = "standard".to_owned()).await;
    assert_eq!((remove().await, remove().await), (PolicyRemoved::Done, PolicyRemoved::NotFound));
    assert_eq!(known(), None);
    assert_eq!(save(&quick, None).await, PolicySaved::Done);
    for n in 1..MAX_POLICIES {
        assert_eq!(save(&named(&format!("p{n}")), None).await, PolicySaved::Done);
    }
    assert_eq!(save(&named("more"), None).await, PolicySaved::TooMany);
}

pub(super) async fn what_waits_is_given_the_time_of_a_jump_again(scene: Scene) {
    let month: u32 = 30 * 24 * 60 * 60;
    let id = publish(&scene, "one", "one").await;
    let before = scene.now();
    scene.advance(month.into());
    // One that was published after the jump is as young as it seems.
    let young = publish(&scene, "two", "two").await;
    let by = i64::from(month) * 1_000_000;
    scene.store.make_up_for_jump(before, by).await.expect("makes up");
    let lane = scene.take_lane().await;
    let ready = scene.claim(lane.epoch, 10).await;
    let since = |id| ready.iter().find(|ready| ready.id == id).map(|ready| ready.spent.since);
    assert_eq!((since(id), since(young)), (Some(scene.now()), Some(scene.now())));
}

pub(super) async fn what_failed_is_due_when_the_endpoint_is_reset_moved_or_enabled_again(scene: Scene) {
    let waiting = scene.publish_one("ord_1").await;
    let lane = scene.take_lane().await;
    for way in ["reset", "moved", "enabled", "only described"] {
        let ready = scene.claim(lane.epoch, 10).await;
        let [ready] = ready.as_slice() else { panic!("one is due: {}", ready.len()) };
        scene.store.finish(scene.finished(ready, 500, DeliveryStatus::Retrying)).await.expect("finishes");
        assert!(scene.claim(lane.epoch, 10).await.is_empty(), "it waits for its next try");
        match way {
            "reset" => scene.store.reset_endpoint(&scene.endpoint, entry()).await.expect("resets"),
            "moved" => {
                let url = "https://other.example/hook".parse().expect("a URL");
                scene.change_endpoint(|endpoint| endpoint.url = url).await;
            }
            "enabled" => {
                scene.set_status(EndpointStatus::Disabled).await;
                scene.set_status(EndpointStatus::Enabled).await;
            }
            _ => scene.change_endpoint(|endpoint| endpoint.description = "the same".to_owned()).await,
        }
    }
    assert!(scene.claim(lane.epoch, 10).await.is_empty(), "another description is no reason");
    let delivery = scene.store.find_delivery(scene.view(), waiting).await.expect("reads").expect("is there");
    assert_eq!((delivery.status, delivery.attempts), (DeliveryStatus::Retrying, 4));
}

pub(super) async fn what_a_limit_of_calls_spaces_is_seen_as_held_by_it(scene: Scene) {
    scene.change_endpoint(|endpoint| endpoint.calls.rate_limit = std::num::NonZeroU32::new(1)).await;
    let waiting = scene.publish_one("ord_1").await;
    let read =
        async || scene.store.find_delivery(scene.view(), waiting).await.expect("reads").expect("is there");
    assert_eq!(read().await.hold, None, "it may be on its way already");
    scene.advance(2);
    let held = read().await;
    assert_eq!(held.hold, Some(Hold { by: HeldBy::RateLimit, until: None }));
    assert_eq!(held.next_attempt_at, None, "nobody knows when its turn is");
    let listed = |status| DeliveryFilter { statuses: vec![status], ..Default::default() };
    let count = async |filter| {
        scene
            .store
            .list_deliveries(scene.view(), &filter, Default::default())
            .await
            .expect("lists")
            .rows
            .len()
    };
    assert_eq!(
        (count(listed(VisibleStatus::Held)).await, count(listed(VisibleStatus::Queued)).await),
        (1, 0)
    );
}

pub(super) async fn a_held_delivery_says_until_when_and_what_the_endpoint_answered(scene: Scene) {
    let first = scene.publish_one("ord_1").await;
    let second = scene.publish_one("ord_2").await;
    let lane = scene.take_lane().await;
    let ready = scene.claim(lane.epoch, 1).await;
    let mut health = Health::default();
    for n in 0..5 {
        let ended = Ended {
            delivery: DeliveryId(Uuid::from_u128(n)),
            event: ready[0].event.id,
            trigger: Trigger::Automatic,
            error_class: ErrorClass::Http5xx,
            http_status: Some(503),
            rejected: false,
            hold_until: None,
            under_way: 0,
            at: scene.now(),
        };
        health.learn(&ended, &NoJitter);
    }
    let until = health.breaker.held_until().expect("it is open");
    let failed = scene.finished(&ready[0], 503, DeliveryStatus::Retrying);
    let failed = Finished { health: Some(health), ..Finished::clone(&failed) };
    scene.store.finish(Arc::new(failed)).await.expect("finishes");
    let held = scene.store.find_delivery(scene.view(), second).await.expect("reads").expect("is there");
    assert_eq!((held.attempts, held.hold), (0, Some(Hold { by: HeldBy::Breaker, until: Some(until) })));
    assert_eq!(held.next_attempt_at, Some(until), "not in the past");
    assert_eq!(held.endpoint_failed, Some((ErrorClass::Http5xx, Some(503))));
    // Everything that has not arrived is one list, held or not.
    let undelivered = DeliveryFilter { undelivered: true, ..Default::default() };
    let list = async || {
        let page = scene.store.list_deliveries(scene.view(), &undelivered, Default::default()).await;
        page.expect("lists").rows.iter().map(|delivery| delivery.id).collect::<Vec<_>>()
    };
    assert_eq!(list().await, [second, first]);
    scene.store.cancel(scene.view(), second, None, entry()).await.expect("cancels");
    assert_eq!(list().await, [first], "what was withdrawn is not missing");
}

pub(super) async fn the_rate_of_a_replay_is_a_pace(scene: Scene) {
    let lane = scene.take_lane().await;
    let mut failed = Vec::new();
    for n in 0..5 {
        failed.push(scene.publish_one(&format!("ord_{n}")).await);
        let ready = scene.claim(lane.epoch, 1).await;
        let gone = DeliveryStatus::Failed(Failure::Permanent);
        scene.store.finish(scene.finished(&ready[0], 400, gone)).await.expect("finishes");
    }
    let replay = replay(&scene, ReplayMode::Failed, &scene.endpoint, 5);
    scene.store.create_replay(&replay, None, entry()).await.expect("is made");
    scene.store.advance_replay(replay.id).await.expect("goes on");
    let mut due = Vec::new();
    for id in failed {
        let delivery = scene.store.find_delivery(scene.view(), id).await.expect("reads").expect("is there");
        due.push(delivery.next_attempt_at.expect("is due").since(scene.now()).as_millis());
    }
    assert_eq!(due, [0, 100, 200, 300, 400]);
    let stands = scene.store.find_replay(scene.view(), replay.id).await.expect("reads").expect("is there");
    assert_eq!(stands.waiting, Waiting { queued: 5, ..Waiting::default() });
}

/// A replay to an endpoint of the scene's tenant, which begins now.
pub(super) fn replay(scene: &Scene, mode: ReplayMode, endpoint: &Endpoint, matched: u32) -> Replay {
    Replay {
        id: scene.env.new_id::<ReplayId>(),
        project: scene.project.id,
        tenant: scene.tenant.id,
        endpoint: endpoint.id,
        mode,
        filter: ReplayFilter::default(),
        rate_per_second: 10,
        max: 100,
        reason: String::new(),
        state: ReplayState::Running,
        detail: None,
        matched,
        sent: 0,
        skipped: 0,
        delivered: 0,
        failed: 0,
        waiting: Waiting::default(),
        created_at: scene.now(),
        updated_at: scene.now(),
    }
}
