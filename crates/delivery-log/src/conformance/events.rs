//! Publishing and reading events.

use std::time::Duration;

use model::endpoint::EndpointStatus;
use model::event::{Label, Labels};
use model::event_type::{EventType, Pattern};
use model::names::{IdempotencyKey, Subject};
use uuid::Uuid;

use super::engine::replay;
use super::scene::{Scene, entry, event_of_type};
use crate::events::{EventFilter, Publish, Published, Unmatched};
use crate::idempotency::{FirstAnswer, KeySpace, KeyUse, Principal, SpacedKey};
use crate::page::{Order, PageRequest};
use crate::{Edited, SharedStore, View};
use model::calls::Ordering;
use model::clock::Timestamp;
use model::ids::{EndpointId, EventId};
use model::replay::{ReplayMode, later_delivery};

fn spaced(key: &str) -> SpacedKey {
    let key = IdempotencyKey::parse(key).expect("a key");
    SpacedKey::new(KeySpace::Publishes(Principal::Project), &key)
}

fn key_use(scene: &Scene, key: &str, fingerprint: u8) -> Option<KeyUse> {
    Some(KeyUse {
        key: spaced(key),
        fingerprint: [fingerprint; 32],
        expires_at: scene.now().plus(Duration::from_secs(60)),
    })
}

fn accepted(published: &Published) -> (model::ids::EventId, u64) {
    match published {
        Published::Accepted { event, sequence, .. } => (*event, *sequence),
        other => panic!("accepted, not {other:?}"),
    }
}

pub(super) async fn a_published_event_is_read_back_byte_for_byte(scene: Scene) {
    let publish = scene.event("ord_1");
    let (id, sequence) = accepted(&scene.store.publish(publish.clone()).await.expect("publishes"));
    let stored = scene.store.find_event(scene.view(), id).await.expect("reads").expect("is there");
    assert_eq!(stored.tenant, scene.tenant.handle);
    let event = stored.event;
    assert_eq!((event.sequence, event.schema_version, event.revision), (sequence, 1, Some(7)));
    assert_eq!((event.event_type, event.subject.clone()), (publish.event_type, publish.subject));
    assert_eq!(event.ordering_key.as_str(), event.subject.as_str());
    assert_eq!(event.labels, publish.labels);
    assert_eq!((event.occurred_at, event.created_at), (scene.now(), scene.now()));
    let data = scene.store.read_data(scene.view(), id).await.expect("reads").expect("is there");
    assert_eq!(data, publish.data);
}

pub(super) async fn sequences_count_the_events_of_each_tenant_without_gaps(scene: Scene) {
    let beta = scene.add_tenant("beta").await;
    let publishes = (0..200).map(|i| {
        let tenant = if i % 2 == 0 { scene.tenant.id } else { beta.id };
        let event = event_of_type(&scene.project, tenant, "order.paid", &format!("ord_{i}"));
        let store = scene.store.clone();
        tokio::spawn(async move { (tenant, store.publish(event).await.expect("publishes")) })
    });
    let mut seen = std::collections::HashMap::<_, Vec<u64>>::new();
    for publish in publishes.collect::<Vec<_>>() {
        let (tenant, published) = publish.await.expect("no panic");
        seen.entry(tenant).or_default().push(accepted(&published).1);
    }
    for mut sequences in seen.into_values() {
        sequences.sort_unstable();
        assert_eq!(sequences, (1..=100).collect::<Vec<_>>());
    }
    // The order of the list is the order of the sequence.
    let filter = EventFilter { tenant: Some(beta.id), ..Default::default() };
    let page = PageRequest { limit: 100, after: None, order: Order::Ascending };
    let listed = scene.store.list_events(scene.view(), &filter, page).await.expect("lists");
    let sequences: Vec<u64> = listed.rows.iter().map(|stored| stored.event.sequence).collect();
    assert_eq!(sequences, (1..=100).collect::<Vec<_>>());
}

pub(super) async fn a_repeated_publish_gets_the_first_answer_and_stores_nothing(scene: Scene) {
    let publish = crate::events::Publish { key_use: key_use(&scene, "outbox-1", 1), ..scene.event("ord_1") };
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, publish) = (scene.store.clone(), publish.clone());
            tokio::spawn(async move { store.publish(publish).await.expect("publishes") })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("no panic"));
    }
    let firsts: Vec<_> = answers.iter().filter(|p| matches!(p, Published::Accepted { .. })).collect();
    assert_eq!(firsts.len(), 1, "{answers:?}");
    let (event, sequence) = accepted(firsts[0]);
    let repeated = Published::Repeated { event, sequence };
    assert_eq!(answers.iter().filter(|p| **p == repeated).count(), 19);
    let listed = scene.store.list_events(scene.view(), &Default::default(), Default::default()).await;
    assert_eq!(listed.expect("lists").rows.len(), 1);
    scene.advance(60);
    let later = crate::events::Publish { key_use: key_use(&scene, "outbox-1", 2), ..publish };
    accepted(&scene.store.publish(later).await.expect("a key that has expired is free"));
}

pub(super) async fn a_key_used_for_something_else_is_refused(scene: Scene) {
    let with = |fingerprint| crate::events::Publish {
        key_use: key_use(&scene, "outbox-1", fingerprint),
        ..scene.event("ord_1")
    };
    accepted(&scene.store.publish(with(1)).await.expect("publishes"));
    assert_eq!(scene.store.publish(with(2)).await.expect("answers"), Published::KeyReused);
}

pub(super) async fn an_event_that_no_endpoint_wants_is_stored_with_the_reasons(scene: Scene) {
    scene.set_status(EndpointStatus::Disabled).await;
    let picky = scene
        .add_endpoint(&scene.tenant, |endpoint| {
            endpoint.subscriptions = vec!["invoice.*".parse().expect("a pattern")];
        })
        .await;
    let (id, _) = accepted(&scene.store.publish(scene.event("ord_1")).await.expect("publishes"));
    let stored = scene.store.find_event(scene.view(), id).await.expect("reads").expect("is there");
    let reason = |endpoint, reason: &str| Unmatched { endpoint, reason: reason.to_owned() };
    assert_eq!(stored.unmatched, [reason(scene.endpoint.id, "disabled"), reason(picky.id, "event_type")]);
    let deliveries = scene.store.deliveries_of_event(scene.view(), id, Default::default()).await;
    assert!(deliveries.expect("lists").rows.is_empty());
}

pub(super) async fn an_event_for_a_deleted_tenant_is_refused(scene: Scene) {
    let deleted =
        scene.store.delete_tenant(scene.view(), scene.tenant.id, scene.tenant.updated_at, entry()).await;
    assert_eq!(deleted.expect("deletes"), Edited::Done);
    let published = scene.store.publish(scene.event("ord_1")).await.expect("answers");
    assert_eq!(published, Published::UnknownTenant);
}

pub(super) async fn lists_of_events_are_filtered_and_paged_in_both_orders(scene: Scene) {
    for i in 0..7 {
        scene.advance(1);
        let event_type = if i % 2 == 0 { "order.paid" } else { "order.sent" };
        let event = event_of_type(&scene.project, scene.tenant.id, event_type, &format!("ord_{}", i / 2));
        scene.store.publish(event).await.expect("publishes");
    }
    for order in [Order::Ascending, Order::Descending] {
        let (mut seen, mut after) = (Vec::<u64>::new(), None::<Uuid>);
        loop {
            let page = PageRequest { limit: 3, after, order };
            let page = scene.store.list_events(scene.view(), &Default::default(), page).await.expect("lists");
            seen.extend(page.rows.iter().map(|stored| stored.event.sequence));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if order == Order::Descending {
            seen.reverse();
        }
        assert_eq!(seen, (1..=7).collect::<Vec<_>>(), "{order:?}");
    }
    let count = async |filter: EventFilter| {
        scene.store.list_events(scene.view(), &filter, Default::default()).await.expect("lists").rows.len()
    };
    let sent = EventType::parse("order.sent").expect("a type");
    assert_eq!(count(EventFilter { event_type: Some(Pattern::Exact(sent)), ..Default::default() }).await, 3);
    for (pattern, many) in [("order.*", 7), ("*", 7), ("order.sent.*", 0), ("order_.*", 0), ("ord.*", 0)] {
        let event_type = Some(pattern.parse::<Pattern>().expect("a pattern"));
        assert_eq!(count(EventFilter { event_type, ..Default::default() }).await, many, "{pattern}");
    }
    let subject = Subject::parse("ord_0").expect("a subject");
    assert_eq!(count(EventFilter { subject: Some(subject), ..Default::default() }).await, 2);
    let now = Some(scene.now());
    assert_eq!(count(EventFilter { occurred_after: now, ..Default::default() }).await, 1);
    assert_eq!(count(EventFilter { occurred_before: now, ..Default::default() }).await, 6);
    for (subject, labels) in
        [("eu", [("zone", "eu"), ("a", "b")]), ("odd", [("x", "\"],[\"zone\",\"eu"), ("zo", "ne:eu")])]
    {
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let labels = Labels::parse(labels).expect("labels");
        scene.store.publish(Publish { labels, ..scene.event(subject) }).await.expect("publishes");
    }
    for (label, many) in [("zone:eu", 1), ("a:b", 1), ("zone:e", 0), ("a:", 0), ("zo:ne:eu", 1)] {
        let label = Some(label.parse::<Label>().expect("a label"));
        assert_eq!(count(EventFilter { label, ..Default::default() }).await, many);
    }
}

pub(super) async fn what_belongs_to_others_is_not_found(scene: Scene) {
    let delivery = scene.publish_one("ord_1").await;
    let event =
        scene.store.find_delivery(scene.view(), delivery).await.expect("reads").expect("is there").event;
    let other_project = model::names::ProjectName::parse("other").expect("a name");
    let other_project = scene.store.ensure_project(&other_project, entry()).await.expect("a project");
    let beta = scene.add_tenant("beta").await;
    for view in
        [View { project: other_project.id, tenant: None }, View { tenant: Some(beta.id), ..scene.view() }]
    {
        assert!(scene.store.find_event(view, event).await.expect("reads").is_none());
        assert!(scene.store.read_data(view, event).await.expect("reads").is_none());
        assert!(scene.store.find_delivery(view, delivery).await.expect("reads").is_none());
        assert!(
            scene.store.list_attempts(view, delivery, PageRequest::default()).await.expect("reads").is_none()
        );
        assert!(
            scene
                .store
                .find_endpoint(view, scene.tenant.id, scene.endpoint.id)
                .await
                .expect("reads")
                .is_none()
        );
        assert!(scene.store.find_tenant(view, &scene.tenant.handle).await.expect("reads").is_none());
        let events = scene.store.list_events(view, &Default::default(), Default::default()).await;
        assert!(events.expect("lists").rows.is_empty());
        let deliveries = scene.store.list_deliveries(view, &Default::default(), Default::default()).await;
        assert!(deliveries.expect("lists").rows.is_empty());
    }
}

pub(super) async fn old_events_are_purged_unless_something_waits(scene: Scene) {
    let lane = scene.take_lane().await;
    let done = scene.deliver(lane.epoch, "done", 200, model::delivery::DeliveryStatus::Delivered).await;
    let waiting = scene.publish_one("waiting").await;
    scene.advance(31 * 24 * 3600);
    let fresh = scene.publish_one("fresh").await;
    assert_eq!(scene.store.purge(scene.now(), 100).await.expect("purges"), 1);
    let there = async |id| scene.store.find_delivery(scene.view(), id).await.expect("reads").is_some();
    assert_eq!((there(done).await, there(waiting).await, there(fresh).await), (false, true, true));
    assert_eq!(scene.store.purge(scene.now(), 100).await.expect("purges"), 0);
}

/// As many endpoints as seven parts are for.
const MANY: usize = 400;

/// Gives the tenant of the scene many endpoints, its own among them.
async fn add_many_endpoints(scene: &Scene) -> Vec<EndpointId> {
    let mut endpoints = vec![scene.endpoint.id];
    while endpoints.len() < MANY {
        endpoints.push(scene.add_endpoint(&scene.tenant, |_| {}).await.id);
    }
    endpoints.sort_unstable();
    endpoints
}

/// Goes on with all events for many endpoints until nothing is left to do.
async fn end_fan_outs(store: &SharedStore) {
    while store.go_on_with_fan_outs(Timestamp::FAR_FUTURE, 100).await.expect("goes on") > 0 {}
}

/// To which endpoints an event is on its way, sorted.
async fn given_to(store: &SharedStore, view: View, event: EventId) -> Vec<EndpointId> {
    let page = PageRequest { limit: 1_000, after: None, order: Order::Ascending };
    let page = store.deliveries_of_event(view, event, page).await.expect("lists");
    let mut endpoints: Vec<EndpointId> = page.rows.iter().map(|delivery| delivery.endpoint).collect();
    endpoints.sort_unstable();
    endpoints
}

pub(super) async fn an_event_for_many_endpoints_reaches_each_of_them_once(scene: Scene) {
    let endpoints = add_many_endpoints(&scene).await;
    let mut events = Vec::new();
    for n in 0..3 {
        let mut publish = scene.event(&format!("ord_{n}"));
        publish.key_use = key_use(&scene, &format!("key-{n}"), 1);
        events.push(accepted(&scene.store.publish(publish.clone()).await.expect("publishes")).0);
        // The first answer stands, also while the rest is written.
        let again = scene.store.publish(publish).await.expect("publishes");
        assert!(matches!(again, Published::Repeated { event, .. } if event == events[n]), "{again:?}");
    }
    // Others may be at it, and each part is written once all the same.
    tokio::join!(end_fan_outs(&scene.store), end_fan_outs(&scene.store));
    for event in events {
        assert_eq!(given_to(&scene.store, scene.view(), event).await, endpoints);
    }
}

pub(super) async fn what_was_left_of_an_event_for_many_endpoints_is_gone_on_with(scene: Scene) {
    let endpoints = add_many_endpoints(&scene).await;
    let (event, _) = accepted(&scene.store.publish(scene.event("ord_1")).await.expect("publishes"));
    // A store that closes does no more than the part that is under way.
    let store = std::sync::Arc::clone(&scene.store);
    let store = scene.backend.reopen_after_crash(store, scene.env.clone()).await;
    let given = given_to(&store, scene.view(), event).await;
    assert!(given.len() < MANY, "the rest is left: {}", given.len());
    // An endpoint asks for what it missed before the rest is written.
    let missing = *endpoints.iter().find(|one| !given.contains(one)).expect("one has not got it");
    let missing = store.find_endpoint(scene.view(), scene.tenant.id, missing).await.expect("reads");
    let replay = replay(&scene, ReplayMode::Missing, &missing.expect("is there").endpoint, 1);
    store.create_replay(&replay, None, entry()).await.expect("is made");
    store.advance_replay(replay.id).await.expect("goes on");
    assert_eq!(given_to(&store, scene.view(), event).await.len(), given.len() + 1);
    scene.advance(60);
    let recent = scene.now().minus(Duration::from_secs(61));
    assert_eq!(store.go_on_with_fan_outs(recent, 100).await.expect("looks"), 0, "somebody is at it");
    assert_eq!(store.go_on_with_fan_outs(scene.now(), 100).await.expect("goes on"), 1);
    assert_eq!(given_to(&store, scene.view(), event).await, endpoints);
    let page = PageRequest { limit: 1_000, after: None, order: Order::Ascending };
    let page = store.deliveries_of_event(scene.view(), event, page).await.expect("lists");
    let late = page.rows.iter().filter(|delivery| delivery.created_at == scene.now()).count();
    assert_eq!(late, MANY - given.len() - 1, "their schedule begins when they are made");
    assert_eq!(store.go_on_with_fan_outs(Timestamp::FAR_FUTURE, 100).await.expect("looks"), 0);
}

pub(super) async fn those_that_get_events_in_order_are_given_them_with_the_commit(scene: Scene) {
    add_many_endpoints(&scene).await;
    let mut in_order = Vec::new();
    for _ in 0..3 {
        let ordered = scene.add_endpoint(&scene.tenant, |endpoint| {
            endpoint.calls.ordering = Ordering::PerKey;
        });
        in_order.push(ordered.await.id);
    }
    let (event, _) = accepted(&scene.store.publish(scene.event("ord_1")).await.expect("publishes"));
    let page = PageRequest { limit: 1_000, after: None, order: Order::Ascending };
    let page = scene.store.deliveries_of_event(scene.view(), event, page).await.expect("lists");
    for endpoint in in_order.iter().copied() {
        // Each is among the newest of many, and would come last by its id.
        let delivery = page.rows.iter().find(|one| one.endpoint == endpoint).expect("is there");
        assert_ne!(delivery.id, later_delivery(event, endpoint), "it came in a later part");
    }
    end_fan_outs(&scene.store).await;
    assert_eq!(given_to(&scene.store, scene.view(), event).await.len(), MANY + in_order.len());
}

pub(super) async fn events_of_a_batch_are_numbered_in_their_order_and_fail_alone(scene: Scene) {
    let other = scene.add_tenant("other").await;
    let deleted = scene.store.delete_tenant(scene.view(), other.id, other.updated_at, entry()).await;
    assert_eq!(deleted.expect("deletes"), Edited::Done);
    let mut batch: Vec<_> = (1..=5).map(|n| scene.event(&format!("ord_{n}"))).collect();
    batch.insert(2, event_of_type(&scene.project, other.id, "order.paid", "lost"));
    let published = scene.store.publish_all(batch).await;
    let numbers: Vec<Option<u64>> = published
        .into_iter()
        .map(|one| match one.expect("answers") {
            Published::Accepted { sequence, .. } => Some(sequence),
            Published::UnknownTenant => None,
            other => panic!("accepted or not, not {other:?}"),
        })
        .collect();
    assert_eq!(numbers, [Some(1), Some(2), None, Some(3), Some(4), Some(5)]);
}

pub(super) async fn the_first_answer_to_a_publish_is_told_before_it_is_repeated(scene: Scene) {
    let key_use = |fingerprint| key_use(&scene, "outbox-1", fingerprint).expect("a use of a key");
    let (first, other) = (key_use(1), key_use(2));
    let answer = async |key_use| scene.store.first_answer(scene.project.id, key_use).await.expect("answers");
    assert!(matches!(answer(&first).await, FirstAnswer::None));
    let publish = crate::events::Publish { key_use: Some(first.clone()), ..scene.event("ord_1") };
    let (event, sequence) = accepted(&scene.store.publish(publish).await.expect("publishes"));
    assert!(
        matches!(answer(&first).await, FirstAnswer::Event { event: e, sequence: s } if (e, s) == (event, sequence))
    );
    assert!(matches!(answer(&other).await, FirstAnswer::OtherRequest));
    scene.advance(60);
    assert!(matches!(answer(&first).await, FirstAnswer::None), "it has expired");
}
