//! The catalogue of event types.

use std::sync::Arc;
use std::time::Duration;

use model::catalogue::{EventTypeEntry, Relation, Version};
use model::downgrade::Downgrade;
use model::event::EventData;
use model::event_type::EventType;
use model::schema::Schema;
use serde_json::json;

use super::scene::{Scene, entry};
use crate::Edited;
use crate::catalogue::Usage;
use crate::events::{Publish, Published};
use crate::idempotency::Performed;

fn order_paid() -> EventType {
    EventType::parse("order.paid").expect("a type")
}

/// A type with one version.
fn event_type(scene: &Scene) -> EventTypeEntry {
    let now = scene.now();
    let schema = Arc::new(Schema::from_stored(r#"{"type": "object"}"#).expect("a schema"));
    let version = Version {
        example: Some(r#"{"total":1}"#.to_owned()),
        changelog: "The first one".to_owned(),
        ..Version::new(1, schema, now)
    };
    EventTypeEntry {
        project: scene.project.id,
        name: order_paid(),
        description: "An order was paid".to_owned(),
        size_budget: Some(2_000),
        versions: vec![version],
        created_at: now,
        updated_at: now,
    }
}

pub(super) async fn a_type_is_saved_only_if_nothing_changed_since_it_was_checked(scene: Scene) {
    let paid = event_type(&scene);
    let checked_at = scene.store.configuration().version();
    let save = async |checked_at| match scene
        .store
        .save_event_types(std::slice::from_ref(&paid), checked_at, None, entry())
        .await
    {
        Ok(Performed::First(saved)) => saved,
        other => panic!("saved or not, not {other:?}"),
    };
    assert_eq!(save(checked_at).await, Edited::Done);
    let known = scene.store.configuration().event_type(scene.project.id, &order_paid()).expect("is known");
    assert_eq!(
        (&known.description, known.size_budget, known.versions[0].number),
        (&paid.description, Some(2_000), 1)
    );
    assert_eq!(known.versions[0].schema.text(), paid.versions[0].schema.text());
    assert_eq!(save(checked_at).await, Edited::Outdated, "the save itself was a change");
}

pub(super) async fn a_type_is_removed_on_the_same_condition(scene: Scene) {
    let before = scene.store.configuration().version();
    scene.store.save_event_types(&[event_type(&scene)], before, None, entry()).await.expect("is saved");
    let remove = async |checked_at| {
        let removed =
            scene.store.remove_event_type(scene.project.id, &order_paid(), checked_at, entry()).await;
        removed.expect("answers")
    };
    assert_eq!(remove(before).await, Edited::Outdated);
    let is_known = || scene.store.configuration().event_type(scene.project.id, &order_paid()).is_some();
    assert!(is_known());
    assert_eq!(remove(scene.store.configuration().version()).await, Edited::Done);
    assert!(!is_known());
}

pub(super) async fn how_much_an_endpoint_gets_of_a_type_is_counted_since_a_time(scene: Scene) {
    let began = scene.now();
    scene.publish_one("ord_1").await;
    scene.advance(60);
    scene.publish_one("ord_2").await;
    let last_at = Some(scene.now());
    let usage = async |name: &EventType, since| {
        scene.store.usage(scene.view(), scene.endpoint.id, name, since).await.expect("counts")
    };
    assert_eq!(usage(&order_paid(), began).await, Usage { deliveries: 2, last_at });
    let later = began.plus(Duration::from_secs(30));
    assert_eq!(usage(&order_paid(), later).await, Usage { deliveries: 1, last_at });
    let other = EventType::parse("order.lost").expect("a type");
    assert_eq!(usage(&other, began).await, Usage { deliveries: 0, last_at: None });
}

pub(super) async fn the_data_of_an_older_version_is_kept_for_those_who_are_pinned_to_it(scene: Scene) {
    let mut paid = event_type(&scene);
    let drop_note = Downgrade::parse(&json!({ "steps": [{ "drop": "/note" }] })).expect("a downgrade");
    let second = Version {
        number: 2,
        relation: Relation::Downgrade,
        downgrade: Some(Arc::new(drop_note)),
        ..paid.versions[0].clone()
    };
    paid.versions.push(second);
    let checked_at = scene.store.configuration().version();
    scene.store.save_event_types(&[paid], checked_at, None, entry()).await.expect("is saved");
    let publish = async |subject: &str| {
        let data = EventData::parse(r#"{"total": 1.10, "note": "gift"}"#, 1_000).expect("data");
        let publish = Publish { schema_version: 2, data, ..scene.event(subject) };
        match scene.store.publish(publish).await.expect("publishes") {
            Published::Accepted { event, .. } => event,
            other => panic!("accepted, not {other:?}"),
        }
    };
    let older = async |event| scene.store.read_older_data(scene.view(), event).await.expect("reads");
    let nobody_is_pinned = publish("ord_1").await;
    assert!(older(nobody_is_pinned).await.get(1).is_none());
    scene
        .add_endpoint(&scene.tenant, |endpoint| {
            endpoint.subscriptions = vec!["order.paid@1".parse().expect("a subscription")];
        })
        .await;
    let somebody_is = older(publish("ord_2").await).await;
    let text = somebody_is.get(1).map(|data| String::from_utf8_lossy(data.as_bytes()).into_owned());
    assert_eq!(text.as_deref(), Some(r#"{"total":1.10}"#), "the number as it was written");
}
