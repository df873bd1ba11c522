//! Events in quarantine.

use std::time::Duration;

use model::event::EventData;
use model::ids::{EventId, QuarantineId};
use model::quarantine::{QuarantineState, QuarantinedEvent};
use model::schema::Fault;

use super::scene::{Scene, entry};
use crate::Edited;
use crate::idempotency::Performed;
use crate::quarantine::{QuarantineKept, Quarantined};

/// Keeps an event in quarantine.
async fn keep(scene: &Scene, subject: &str) -> Quarantined {
    let new = Quarantined {
        id: scene.env.new_id::<QuarantineId>(),
        project: scene.project.id,
        tenant: scene.tenant.id,
        event: QuarantinedEvent {
            event_type: "order.paid".to_owned(),
            schema_version: 2,
            version_named: true,
            subject: subject.to_owned(),
            revision: Some(7),
            occurred_at: Some(1_000_001),
            ordering_key: Some("acme".to_owned()),
            labels: vec![("region".to_owned(), "eu".to_owned())],
        },
        data: EventData::parse(r#"{"total": 1.10}"#, 1_000).expect("data"),
        faults: vec![Fault { pointer: "/total".to_owned(), detail: "is not a whole number".to_owned() }],
        state: QuarantineState::Held,
        became: None,
        created_at: scene.now(),
        updated_at: scene.now(),
    };
    let kept = scene.store.keep_in_quarantine(&new, None).await.expect("answers");
    assert!(matches!(kept, Performed::First(QuarantineKept::Done)));
    new
}

async fn stands(scene: &Scene, id: QuarantineId) -> Option<Quarantined> {
    scene.store.find_quarantined(scene.view(), id).await.expect("reads")
}

pub(super) async fn an_event_in_quarantine_is_read_back_and_listed_by_its_state(scene: Scene) {
    let first = keep(&scene, "ord_1").await;
    scene.advance(1);
    let second = keep(&scene, "ord_2").await;
    assert_eq!(stands(&scene, first.id).await.as_ref(), Some(&first));
    let dropped = scene.store.drop_quarantined(scene.view(), second.id, scene.now(), None, entry()).await;
    assert!(matches!(dropped, Ok(Performed::First(Edited::Done))));
    let again = scene.store.drop_quarantined(scene.view(), second.id, scene.now(), None, entry()).await;
    assert!(matches!(again, Ok(Performed::First(Edited::Outdated))), "it waits no longer");
    for (state, expected) in [
        (None, vec![second.id, first.id]),
        (Some(QuarantineState::Held), vec![first.id]),
        (Some(QuarantineState::Dropped), vec![second.id]),
        (Some(QuarantineState::Released), vec![]),
    ] {
        let page =
            scene.store.list_quarantined(scene.view(), state, Default::default()).await.expect("lists");
        let ids: Vec<QuarantineId> = page.rows.iter().map(|one| one.id).collect();
        assert_eq!(ids, expected, "{state:?}");
    }
}

pub(super) async fn a_release_keeps_others_away_until_it_came_to_something(scene: Scene) {
    let view = scene.view();
    let kept = keep(&scene, "ord_1").await;
    let begin = async || scene.store.begin_release(view, kept.id).await.expect("answers");
    assert_eq!(begin().await, Edited::Done);
    let dropped = scene.store.drop_quarantined(view, kept.id, scene.now(), None, entry()).await;
    assert!(matches!(dropped, Ok(Performed::First(Edited::Outdated))), "it is being published");
    // It did not fit this time either.
    scene.store.end_release(view, kept.id, None, scene.now(), None, entry()).await.expect("ends");
    assert_eq!(stands(&scene, kept.id).await.expect("is there").state, QuarantineState::Held);
    assert_eq!(begin().await, Edited::Done);
    let event = scene.env.new_id::<EventId>();
    scene.store.end_release(view, kept.id, Some(event), scene.now(), None, entry()).await.expect("ends");
    let released = stands(&scene, kept.id).await.expect("is there");
    assert_eq!((released.state, released.became), (QuarantineState::Released, Some(event)));
    assert_eq!(begin().await, Edited::Outdated, "it waits no longer");
}

pub(super) async fn what_was_in_quarantine_for_longer_than_events_are_kept_is_forgotten(scene: Scene) {
    let old = keep(&scene, "ord_1").await;
    let day = 24 * 60 * 60;
    let kept_for = u64::from(scene.project.retention_days) * day;
    scene.advance(kept_for - day);
    let young = keep(&scene, "ord_2").await;
    assert_eq!(scene.store.forget_quarantined(scene.now(), 10).await.expect("forgets"), 0);
    let later = scene.now().plus(Duration::from_secs(day + 1));
    assert_eq!(scene.store.forget_quarantined(later, 10).await.expect("forgets"), 1);
    assert_eq!(stands(&scene, old.id).await, None);
    assert!(stands(&scene, young.id).await.is_some());
}
