//! The audit log.

use model::access::TokenHash;
use model::audit::{Action, Actor, Author, Entry};
use model::ids::{KeyId, PortalSessionId};
use serde_json::json;
use uuid::Uuid;

use super::scene::{Scene, entry};
use crate::audit::{AuditFilter, Recorded, Verified};
use crate::page::{Order, PageRequest};
use crate::tenants::Tenant;
use crate::{Edited, View};

async fn list(scene: &Scene, view: View, filter: &AuditFilter) -> Vec<Recorded> {
    let page = PageRequest { order: Order::Ascending, limit: 250, ..PageRequest::default() };
    scene.store.list_audit(view, filter, page).await.expect("lists").rows
}

async fn numbers(scene: &Scene, filter: AuditFilter) -> Vec<u64> {
    list(scene, scene.view(), &filter).await.iter().map(|one| one.number).collect()
}

/// How many entries there are, all of them right.
async fn count_whole(scene: &Scene) -> u64 {
    let verified = scene.store.verify_audit(scene.project.id).await.expect("checks");
    assert_eq!((verified.erased, verified.broken), (0, None));
    verified.entries
}

pub(super) async fn an_entry_is_written_with_its_change_and_not_without_it(scene: Scene) {
    // What set the scene: a project, a tenant, an endpoint.
    assert_eq!(count_whole(&scene).await, 3);
    let before =
        scene.store.find_tenant(scene.view(), &scene.tenant.handle).await.expect("reads").expect("is there");
    let after = Tenant { name: "Acme".to_owned(), ..before.clone() };
    let author = Author {
        actor: Actor::Key(KeyId(Uuid::from_u128(5))),
        address: "192.0.2.1".parse().ok(),
        request: Some("req-1".to_owned()),
    };
    let said = Entry::new(author, Action::TenantUpdated, &scene.tenant.handle)
        .of_tenant(scene.tenant.id, &scene.tenant.handle)
        .before(&json!({ "name": before.name }))
        .after(&json!({ "name": "Acme" }))
        .because("they asked");
    let update =
        async |expected| scene.store.update_tenant(&after, expected, said.clone()).await.expect("answers");
    assert_eq!(update(scene.now().plus(std::time::Duration::from_secs(1))).await, Edited::Outdated);
    assert_eq!(count_whole(&scene).await, 3, "nothing was changed, so nothing is said");
    assert_eq!(update(before.updated_at).await, Edited::Done);
    let all = list(&scene, scene.view(), &AuditFilter::default()).await;
    let last = all.last().expect("an entry");
    let content = last.content.as_ref().expect("it was not erased");
    assert_eq!((last.number, last.at, content.number), (4, scene.now(), 4));
    assert_eq!(content.actor, KeyId(Uuid::from_u128(5)).to_string());
    assert_eq!(content.address.map(|address| address.to_string()).as_deref(), Some("192.0.2.1"));
    assert_eq!((content.request.as_deref(), content.reason.as_deref()), (Some("req-1"), Some("they asked")));
    assert_eq!((content.tenant.as_deref(), content.target.as_str()), (Some("acme"), "acme"));
    assert_eq!(content.after, Some(json!({ "name": "Acme" })));
    // A change that finds nothing to change says nothing, either.
    let (id, code) = (PortalSessionId(Uuid::from_u128(9)), TokenHash::default());
    let exchanged = scene.store.exchange_portal_code(scene.project.id, id, code, code, entry()).await;
    assert_eq!(exchanged.expect("answers"), Edited::Outdated);
    assert_eq!(count_whole(&scene).await, 4);
}

pub(super) async fn entries_are_found_by_all_that_they_say_and_by_those_who_may_see_them(scene: Scene) {
    let beta = scene.add_tenant("beta").await;
    let record = async |entry| scene.store.record(scene.project.id, entry).await.expect("writes");
    let said = |action, target: &str, tenant: &Tenant| {
        Entry::by(Actor::Posthorn, action, target).of_tenant(tenant.id, &tenant.handle)
    };
    scene.advance(10);
    record(said(Action::SecretRead, "ep_1", &scene.tenant)).await;
    scene.advance(10);
    record(said(Action::PayloadRead, "dlv_1", &beta)).await;
    record(said(Action::PayloadRead, "ep_1", &beta)).await;
    let by = |filter: AuditFilter| numbers(&scene, filter);
    let none = AuditFilter::default();
    assert_eq!(by(none.clone()).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(by(AuditFilter { actor: Some(Actor::Posthorn), ..none.clone() }).await, [5, 6, 7]);
    assert_eq!(by(AuditFilter { actions: vec![Action::PayloadRead], ..none.clone() }).await, [6, 7]);
    let both = vec![Action::PayloadRead, Action::SecretRead];
    assert_eq!(by(AuditFilter { actions: both, ..none.clone() }).await, [5, 6, 7]);
    assert_eq!(by(AuditFilter { target: Some("ep_1".to_owned()), ..none.clone() }).await, [5, 7]);
    assert_eq!(by(AuditFilter { tenant: Some(beta.id), ..none.clone() }).await, [6, 7]);
    assert_eq!(by(AuditFilter { after: Some(scene.now()), ..none.clone() }).await, [6, 7]);
    assert_eq!(by(AuditFilter { before: Some(scene.now()), ..none.clone() }).await, [1, 2, 3, 4, 5]);
    // Who is bound to a tenant sees what is about it.
    let bound = View { tenant: Some(beta.id), ..scene.view() };
    let seen: Vec<u64> = list(&scene, bound, &none).await.iter().map(|one| one.number).collect();
    assert_eq!(seen, [6, 7]);
    let of_another = AuditFilter { tenant: Some(scene.tenant.id), ..none };
    assert_eq!(list(&scene, bound, &of_another).await, []);
}

pub(super) async fn the_log_is_listed_page_by_page_in_both_directions_while_it_grows(scene: Scene) {
    for _ in 0..4 {
        scene.store.record(scene.project.id, entry()).await.expect("writes");
    }
    for (order, pages) in [
        (Order::Ascending, [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8]]),
        (Order::Descending, [vec![8, 7, 6], vec![5, 4, 3], vec![2, 1]]),
    ] {
        let mut after = None;
        for (index, wanted) in pages.into_iter().enumerate() {
            let page = PageRequest { order, limit: 3, after };
            let found =
                scene.store.list_audit(scene.view(), &AuditFilter::default(), page).await.expect("lists");
            assert_eq!(found.rows.iter().map(|one| one.number).collect::<Vec<_>>(), wanted);
            after = found.next;
            assert_eq!(after.is_none(), index == 2);
            if (order, index) == (Order::Ascending, 0) {
                scene.store.record(scene.project.id, entry()).await.expect("writes");
            }
        }
    }
}

pub(super) async fn old_entries_are_forgotten_from_the_beginning_and_the_rest_is_whole(scene: Scene) {
    scene.advance(100);
    let then = scene.now();
    scene.store.record(scene.project.id, entry()).await.expect("writes");
    assert_eq!(count_whole(&scene).await, 4);
    assert_eq!(scene.store.forget_audit(then, 2).await.expect("forgets"), 2, "no more than it was told");
    assert_eq!(count_whole(&scene).await, 2);
    assert_eq!(scene.store.forget_audit(then, 100).await.expect("forgets"), 1);
    assert_eq!(scene.store.forget_audit(then, 100).await.expect("forgets"), 0);
    assert_eq!(numbers(&scene, AuditFilter::default()).await, [4]);
    scene.store.record(scene.project.id, entry()).await.expect("writes");
    assert_eq!(count_whole(&scene).await, 2);
    // A project without entries is whole, too.
    let other = model::ids::ProjectId(Uuid::from_u128(1));
    assert_eq!(scene.store.verify_audit(other).await.expect("checks"), Verified::NOTHING);
}
