//! Erasures.

use model::audit::{Action, Actor, Entry};
use model::delivery::DeliveryStatus;
use model::erasure::{Erased, Erasure, ErasureState};
use model::ids::{ErasureId, TenantId};
use model::names::Subject;

use super::scene::{Scene, entry};
use crate::SharedStore;
use crate::audit::AuditFilter;
use crate::deliveries::Recorded;
use crate::erasures::{ErasureBegun, ErasureStep};
use crate::idempotency::Performed;
use crate::page::PageRequest;

fn erasure(scene: &Scene, tenants: Vec<TenantId>, subject: Option<&str>) -> Erasure {
    Erasure {
        id: scene.env.new_id::<ErasureId>(),
        project: scene.project.id,
        handle: scene.tenant.handle.clone(),
        tenants,
        subject: subject.map(|subject| Subject::parse(subject).expect("a subject")),
        reason: "they asked".to_owned(),
        state: ErasureState::Running,
        erased: Erased::default(),
        created_at: scene.now(),
        updated_at: scene.now(),
    }
}

async fn begin(scene: &Scene, erasure: &Erasure, expected: Option<model::clock::Timestamp>) -> ErasureBegun {
    match scene.store.begin_erasure(erasure, expected, None, entry()).await.expect("begins") {
        Performed::First(begun) => begun,
        other => panic!("the first, not {other:?}"),
    }
}

/// Goes on by single events until there is nothing to do at once.
async fn go_on(store: &SharedStore, id: ErasureId) -> ErasureStep {
    for _ in 0..100 {
        match store.advance_erasure(id, 1).await.expect("goes on").expect("is there") {
            ErasureStep::GoesOn(_) => {}
            other => return other,
        }
    }
    panic!("it does not end")
}

async fn end(scene: &Scene, id: ErasureId) -> Erasure {
    match go_on(&scene.store, id).await {
        ErasureStep::Ended(erasure) => erasure,
        other => panic!("ended, not {other:?}"),
    }
}

async fn subjects(scene: &Scene) -> Vec<String> {
    let listed = scene.store.list_events(scene.view(), &Default::default(), PageRequest::default()).await;
    let mut subjects: Vec<String> =
        listed.expect("lists").rows.iter().map(|stored| stored.event.subject.to_string()).collect();
    subjects.sort();
    subjects
}

pub(super) async fn an_erased_tenant_leaves_nothing_but_the_receipt(scene: Scene) {
    let tenant = &scene.tenant;
    let (ended, waiting) = (scene.publish_one("ord_1").await, scene.publish_one("ord_2").await);
    let lane = scene.take_lane().await;
    let ready = scene.claim(lane.epoch, 1).await;
    scene.store.finish(scene.finished(&ready[0], 200, DeliveryStatus::Delivered)).await.expect("finishes");
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("gives back");
    let said = Entry::by(Actor::Posthorn, Action::TenantUpdated, &tenant.handle)
        .of_tenant(tenant.id, &tenant.handle);
    scene.store.record(scene.project.id, said).await.expect("writes");
    let beta = scene.add_tenant("beta").await;

    let wanted = erasure(&scene, vec![tenant.id], None);
    let another = scene.now().plus(std::time::Duration::from_secs(1));
    assert_eq!(begin(&scene, &wanted, Some(another)).await, ErasureBegun::Outdated);
    assert_eq!(scene.store.find_erasure(scene.view(), wanted.id).await.expect("reads"), None);
    assert_eq!(begin(&scene, &wanted, Some(tenant.updated_at)).await, ErasureBegun::Done);
    assert_eq!(scene.store.running_erasures(10).await.expect("looks"), [wanted.id]);
    let receipt = end(&scene, wanted.id).await;
    let erased =
        Erased { events: 2, deliveries: 2, attempts: 1, endpoints: 1, audit_entries: 1, ..Erased::default() };
    assert_eq!((receipt.state, receipt.erased), (ErasureState::Completed, erased));
    assert!(scene.store.running_erasures(10).await.expect("looks").is_empty());

    assert!(subjects(&scene).await.is_empty());
    for delivery in [ended, waiting] {
        assert!(scene.store.find_delivery(scene.view(), delivery).await.expect("reads").is_none());
        let attempts = scene.store.list_attempts(scene.view(), delivery, PageRequest::default()).await;
        assert!(attempts.expect("reads").is_none());
    }
    assert_eq!(scene.store.find_tenant(scene.view(), &tenant.handle).await.expect("reads"), None);
    let deleted = scene.store.deleted_tenants(scene.project.id, &tenant.handle).await;
    assert_eq!(deleted.expect("looks"), [], "nobody went by this handle");
    assert!(scene.store.configuration().tenant(scene.project.id, &beta.handle).is_some());
    assert_eq!(
        scene.store.find_erasure(scene.view(), wanted.id).await.expect("reads"),
        Some(receipt.clone())
    );
    let listed = scene.store.list_erasures(scene.view(), PageRequest::default()).await.expect("lists");
    assert_eq!(listed.rows, [receipt]);
    assert!(!scene.store.remains().is_empty());
    // The places in the audit log stay, and it is whole.
    let verified = scene.store.verify_audit(scene.project.id).await.expect("checks");
    assert_eq!((verified.erased, verified.broken), (1, None));
    let log = scene.store.list_audit(scene.view(), &AuditFilter::default(), PageRequest::default()).await;
    let erased: Vec<ErasureId> =
        log.expect("lists").rows.into_iter().filter_map(|one| one.content.err()).collect();
    assert_eq!(erased, [wanted.id]);
}

pub(super) async fn a_tenant_that_was_deleted_long_ago_is_erased_beside_its_successor(scene: Scene) {
    scene.publish_one("ord_1").await;
    let old = &scene.tenant;
    let deleted = scene.store.delete_tenant(scene.view(), old.id, old.updated_at, entry()).await;
    assert_eq!(deleted.expect("deletes"), crate::Edited::Done);
    scene.advance(32 * 24 * 60 * 60);
    let new = scene.add_tenant(old.handle.as_str()).await;
    let found = scene.store.deleted_tenants(scene.project.id, &old.handle).await.expect("looks");
    assert_eq!(found.iter().map(|tenant| tenant.id).collect::<Vec<_>>(), [old.id]);
    assert_eq!(subjects(&scene).await, ["ord_1"], "deleting erases nothing");

    let wanted = erasure(&scene, vec![old.id, new.id], None);
    assert_eq!(begin(&scene, &wanted, Some(new.updated_at)).await, ErasureBegun::Done);
    assert_eq!(end(&scene, wanted.id).await.erased.events, 1);
    assert!(subjects(&scene).await.is_empty());
    assert_eq!(scene.store.find_tenant(scene.view(), &old.handle).await.expect("reads"), None);
    assert_eq!(scene.store.deleted_tenants(scene.project.id, &old.handle).await.expect("looks"), []);
}

pub(super) async fn an_erased_subject_is_gone_and_the_others_stay(scene: Scene) {
    for subject in ["ord_1", "ord_2", "ord_1"] {
        scene.publish_one(subject).await;
    }
    let wanted = erasure(&scene, vec![scene.tenant.id], Some("ord_1"));
    assert_eq!(begin(&scene, &wanted, None).await, ErasureBegun::Done);
    let receipt = end(&scene, wanted.id).await;
    assert_eq!((receipt.erased.events, receipt.erased.deliveries, receipt.erased.endpoints), (2, 2, 0));
    assert_eq!(subjects(&scene).await, ["ord_2"]);
    // What is published later is not meant.
    scene.publish_one("ord_1").await;
    assert_eq!(go_on(&scene.store, wanted.id).await, ErasureStep::Ended(receipt));
    assert_eq!(subjects(&scene).await, ["ord_1", "ord_2"]);
    assert!(scene.store.find_tenant(scene.view(), &scene.tenant.handle).await.expect("reads").is_some());
}

pub(super) async fn the_end_of_a_call_brings_nothing_back_that_was_erased_meanwhile(scene: Scene) {
    let delivery = scene.publish_one("ord_1").await;
    let lane = scene.take_lane().await;
    let ready = scene.claim(lane.epoch, 1).await;
    let wanted = erasure(&scene, vec![scene.tenant.id], None);
    begin(&scene, &wanted, Some(scene.tenant.updated_at)).await;
    // Somebody owns the lane, and may have a call under way.
    assert!(matches!(go_on(&scene.store, wanted.id).await, ErasureStep::Waits(_)));
    let late = scene.finished(&ready[0], 200, DeliveryStatus::Delivered);
    assert_eq!(scene.store.finish(late).await.expect("finishes"), Recorded::Late);
    let attempts = scene.store.list_attempts(scene.view(), delivery, PageRequest::default()).await;
    assert!(attempts.expect("reads").is_none());
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("gives back");
    assert_eq!(end(&scene, wanted.id).await.erased.attempts, 0);
}

pub(super) async fn an_erasure_goes_on_after_a_crash(scene: Scene) {
    let wanted = erasure(&scene, vec![scene.tenant.id], None);
    // Published while it was being asked for.
    for _ in 0..3 {
        scene.publish_one("ord_1").await;
    }
    begin(&scene, &wanted, Some(scene.tenant.updated_at)).await;
    let step = scene.store.advance_erasure(wanted.id, 1).await.expect("goes on");
    assert!(matches!(step, Some(ErasureStep::GoesOn(_))), "{step:?}");
    let store = std::sync::Arc::clone(&scene.store);
    let store = scene.backend.reopen_after_crash(store, scene.env.clone()).await;
    assert_eq!(store.running_erasures(10).await.expect("looks"), [wanted.id]);
    match go_on(&store, wanted.id).await {
        ErasureStep::Ended(receipt) => assert_eq!(receipt.erased.events, 3),
        other => panic!("ended, not {other:?}"),
    }
}
