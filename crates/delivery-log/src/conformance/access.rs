//! Projects, keys, tenants, endpoints.

use std::num::NonZeroU32;
use std::time::Duration;

use model::access::{ApiKey, Grant, LastUse, Scopes, Token, TokenKind};
use model::clock::Timestamp;
use model::endpoint::{ActiveSecret, Endpoint, EndpointStatus};
use model::entropy::SeededEntropy;
use model::ids::{KeyId, TenantId};
use model::names::{IdempotencyKey, ProjectName};
use model::secret::SigningSecret;
use model::signature::VerifyingSecret;
use model::vault::MasterKey;
use secrecy::ExposeSecret as _;

use super::scene::{Scene, entry, event_of_type};
use crate::Edited;
use crate::View;
use crate::access::{KeyCreated, MAX_KEYS_OF_TENANT, Project, SessionsOfKey};
use crate::idempotency::{KeptAnswer, KeySpace, KeyUse, Once, Performed, Principal, SpacedKey};
use crate::tenants::{Created, Tenant};

pub(super) fn new_key(scene: &Scene, tenant: Option<&Tenant>) -> (ApiKey, Token) {
    let key = ApiKey {
        id: scene.env.new_id::<KeyId>(),
        project: scene.project.id,
        name: "publisher".to_owned(),
        scopes: "events:write".parse::<Scopes>().expect("scopes"),
        tenant: tenant.map(|tenant| tenant.id),
        expires_at: None,
        allowed_networks: vec!["10.0.0.0/8".parse().expect("a network")],
        rate_limit: NonZeroU32::new(20),
        created_by: None,
        last_use: None,
        created_at: scene.now(),
        updated_at: scene.now(),
    };
    (key, Token::generate(TokenKind::ApiKey, scene.env.entropy.as_ref()))
}

pub(super) async fn a_project_is_made_once_and_found_by_name(scene: Scene) {
    let name = ProjectName::parse("shop").expect("a name");
    let again = scene.store.ensure_project(&name, entry()).await.expect("finds");
    assert_eq!(again, scene.project);
    assert_eq!(scene.store.find_project(again.id).await.expect("reads"), Some(again));
}

pub(super) async fn a_tenant_has_no_more_keys_than_it_may_and_a_revoked_one_makes_room(scene: Scene) {
    let create = async |tenant| {
        let (key, token) = new_key(&scene, tenant);
        (key.clone(), scene.store.create_key(&key, token.hash(), None, entry()).await.expect("asks"))
    };
    let tenant = &scene.add_tenant("full").await;
    let mut last = None;
    for _ in 0..MAX_KEYS_OF_TENANT {
        let (key, created) = create(Some(tenant)).await;
        assert!(matches!(created, Performed::First(KeyCreated::Done)));
        last = Some(key);
    }
    let (refused, created) = create(Some(tenant)).await;
    assert!(matches!(created, Performed::First(KeyCreated::TooMany)));
    assert_eq!(scene.store.find_key(scene.view(), refused.id).await.expect("reads"), None);
    let other = &scene.add_tenant("other").await;
    for unaffected in [None, Some(other)] {
        assert!(matches!(create(unaffected).await.1, Performed::First(KeyCreated::Done)));
    }
    let last = last.expect("a key");
    let revoked =
        scene.store.revoke_key(scene.view(), last.id, last.updated_at, SessionsOfKey::GoOn, entry()).await;
    assert_eq!(revoked.expect("revokes"), Edited::Done);
    assert!(matches!(create(Some(tenant)).await.1, Performed::First(KeyCreated::Done)));
}

pub(super) async fn a_grant_opens_as_it_was_sealed_and_nothing_else_does(scene: Scene) {
    let (key, token) = new_key(&scene, None);
    let grant = Grant::new(key.id, &token.hash(), key.scopes, scene.now());
    let sealed = scene.store.seal_grant(&grant);
    assert_eq!(scene.store.open_grant(&sealed), Some(grant));
    assert!(grant.is_of(&token.hash()) && !grant.is_of(&new_key(&scene, None).1.hash()));
    let mut changed = sealed.clone();
    *changed.last_mut().expect("bytes") ^= 1;
    for other in [changed.as_slice(), &sealed[1..], token.reveal().as_bytes(), b""] {
        assert_eq!(scene.store.open_grant(other), None);
    }
}

pub(super) async fn a_master_key_that_is_not_the_stores_wraps_nothing(scene: Scene) {
    let [some, other] = [71, 72].map(|seed| MasterKey::generate(&SeededEntropy::new(seed)));
    assert_eq!(scene.store.rotate_master_key(&some, &other).await.expect("answers"), None);
}

pub(super) async fn a_key_answers_to_its_token_until_it_is_revoked(scene: Scene) {
    let (key, token) = new_key(&scene, None);
    scene.store.create_key(&key, token.hash(), None, entry()).await.expect("creates");
    let known = scene.store.configuration().key(&token.hash(), scene.now()).expect("known at once");
    assert_eq!(known.key, key);
    assert_eq!(scene.store.find_key(scene.view(), key.id).await.expect("reads"), Some(key.clone()));
    let earlier = scene.now().minus(Duration::from_secs(1));
    assert_eq!(
        scene
            .store
            .revoke_key(scene.view(), key.id, earlier, SessionsOfKey::GoOn, entry())
            .await
            .expect("was changed since"),
        Edited::Outdated
    );
    assert_eq!(
        scene
            .store
            .revoke_key(scene.view(), key.id, key.updated_at, SessionsOfKey::GoOn, entry())
            .await
            .expect("revokes"),
        Edited::Done
    );
    assert_eq!(
        scene
            .store
            .revoke_key(scene.view(), key.id, key.updated_at, SessionsOfKey::GoOn, entry())
            .await
            .expect("is gone"),
        Edited::Outdated
    );
    assert!(scene.store.configuration().key(&token.hash(), scene.now()).is_none());
    assert_eq!(scene.store.list_keys(scene.view(), None, Default::default()).await.expect("lists").rows, []);
}

pub(super) async fn a_rotated_key_answers_to_both_tokens_during_the_overlap(scene: Scene) {
    let (key, old) = new_key(&scene, None);
    scene.store.create_key(&key, old.hash(), None, entry()).await.expect("creates");
    let new = Token::generate(TokenKind::ApiKey, scene.env.entropy.as_ref());
    let until = scene.now().plus(Duration::from_secs(60));
    let after = ApiKey { updated_at: scene.now().plus(Duration::from_secs(1)), ..key.clone() };
    let rotated = scene.store.rotate_key(&after, key.updated_at, new.hash(), until, None, entry()).await;
    assert!(matches!(rotated, Ok(Performed::First(Edited::Done))));
    // Of two at the same moment, one wins.
    let late = Token::generate(TokenKind::ApiKey, scene.env.entropy.as_ref());
    let rotated = scene.store.rotate_key(&after, key.updated_at, late.hash(), until, None, entry()).await;
    assert!(matches!(rotated, Ok(Performed::First(Edited::Outdated))));
    assert!(scene.store.configuration().key(&late.hash(), scene.now()).is_none());
    let known = |token: &Token| scene.store.configuration().key(&token.hash(), scene.now()).is_some();
    assert!(known(&old) && known(&new));
    scene.advance(60);
    assert!(!known(&old) && known(&new));
}

pub(super) async fn a_key_bound_to_a_tenant_ends_with_the_tenant(scene: Scene) {
    let (key, token) = new_key(&scene, Some(&scene.tenant));
    scene.store.create_key(&key, token.hash(), None, entry()).await.expect("creates");
    let deleted =
        scene.store.delete_tenant(scene.view(), scene.tenant.id, scene.tenant.updated_at, entry()).await;
    assert_eq!(deleted.expect("deletes"), Edited::Done);
    assert!(scene.store.configuration().key(&token.hash(), scene.now()).is_none());
}

pub(super) async fn a_change_that_expects_another_state_changes_nothing(scene: Scene) {
    let expected = scene.endpoint.updated_at;
    scene.advance(1);
    let change = |text: &str| Endpoint {
        description: text.to_owned(),
        updated_at: scene.now(),
        ..scene.endpoint.clone()
    };
    assert_eq!(
        scene.store.update_endpoint(&change("first"), expected, entry()).await.expect("updates"),
        Edited::Done
    );
    assert_eq!(
        scene.store.update_endpoint(&change("second"), expected, entry()).await.expect("is refused"),
        Edited::Outdated
    );
    let read = scene.store.find_endpoint(scene.view(), scene.tenant.id, scene.endpoint.id).await;
    assert_eq!(read.expect("reads").expect("is there").endpoint.description, "first");
    let old = scene.store.delete_endpoint(scene.view(), scene.endpoint.id, expected, entry()).await;
    assert_eq!(old.expect("is refused"), Edited::Outdated);
}

pub(super) async fn a_tenant_created_again_sees_nothing_old(scene: Scene) {
    scene.publish_one("old").await;
    let deleted =
        scene.store.delete_tenant(scene.view(), scene.tenant.id, scene.tenant.updated_at, entry()).await;
    assert_eq!(deleted.expect("deletes"), Edited::Done);
    let again = scene.add_tenant("acme").await;
    let found = scene.store.find_tenant(scene.view(), &again.handle).await.expect("reads");
    assert_eq!(found.map(|tenant| tenant.id), Some(again.id));
    let own = View { tenant: Some(again.id), ..scene.view() };
    assert!(
        scene
            .store
            .list_events(own, &Default::default(), Default::default())
            .await
            .expect("lists")
            .rows
            .is_empty()
    );
    assert!(
        scene.store.list_endpoints(own, again.id, Default::default()).await.expect("lists").rows.is_empty()
    );
    // Its events count from 1.
    let event = event_of_type(&scene.project, again.id, "order.paid", "new");
    scene.store.publish(event).await.expect("publishes");
    let events = scene.store.list_events(own, &Default::default(), Default::default()).await.expect("lists");
    assert_eq!(events.rows[0].event.sequence, 1);
}

pub(super) async fn an_endpoint_keeps_its_secrets_and_headers(scene: Scene) {
    let found = scene.store.find_endpoint(scene.view(), scene.tenant.id, scene.endpoint.id).await;
    let read = found.expect("reads").expect("is there");
    assert_eq!(read.endpoint.headers[0].name, "x-api-key");
    assert_eq!(read.endpoint.headers[0].value.expose_secret(), "sesame");
    assert_eq!(read.secrets.len(), 1);
    let live = scene.store.configuration().endpoint(scene.endpoint.id).expect("is known");
    let signature = live.sign("evt_1", scene.now(), b"{}");
    let timestamp = scene.now().as_secs().to_string();
    let checked = model::signature::verify(
        &VerifyingSecret::Shared(read.secrets[0].secret.clone()),
        "evt_1",
        &timestamp,
        &signature,
        b"{}",
        None,
    );
    assert_eq!(checked, Ok(()));
}

pub(super) async fn a_repeated_creation_gets_the_first_answer(scene: Scene) {
    let once = |fingerprint: u8| Once {
        key_use: KeyUse {
            key: SpacedKey::new(
                KeySpace::Requests(Principal::Project),
                &IdempotencyKey::parse("create-1").expect("a key"),
            ),
            fingerprint: [fingerprint; 32],
            expires_at: scene.now().plus(Duration::from_secs(60)),
        },
        show: None,
        answer: KeptAnswer {
            status: 201,
            location: Some("/v1/tenants/beta".to_owned()),
            body: "{\"id\":\"beta\"}".to_owned(),
        },
    };
    let tenant = |handle: &str| Tenant {
        id: scene.env.new_id::<TenantId>(),
        handle: model::names::TenantHandle::parse(handle).expect("a handle"),
        ..scene.tenant.clone()
    };
    let first = scene.store.create_tenant(&tenant("beta"), Some(once(1)), entry()).await;
    assert!(matches!(first, Ok(Performed::First(Created::New))), "{first:?}");
    let again = scene.store.create_tenant(&tenant("beta"), Some(once(1)), entry()).await;
    let Ok(Performed::Repeated(answer)) = again else { panic!("repeated, not {again:?}") };
    assert_eq!(answer, once(1).answer);
    let other = scene.store.create_tenant(&tenant("gamma"), Some(once(2)), entry()).await;
    assert!(matches!(other, Ok(Performed::KeyReused)), "{other:?}");
    scene.advance(60);
    let later = scene.store.create_tenant(&tenant("gamma"), Some(once(2)), entry()).await;
    assert!(matches!(later, Ok(Performed::First(Created::New))), "a key that has expired is free: {later:?}");
}

pub(super) async fn a_project_keeps_its_settings_and_changes_once(scene: Scene) {
    let after = Project { retention_days: 7, updated_at: later(&scene), ..scene.project.clone() };
    let update = async || {
        scene.store.update_project(&after, scene.project.updated_at, entry()).await.expect("answers")
    };
    assert_eq!(update().await, Edited::Done);
    assert_eq!(update().await, Edited::Outdated, "it was changed since");
    assert_eq!(scene.store.find_project(after.id).await.expect("reads"), Some(after.clone()));
    let known = scene.store.configuration().project(after.id).expect("is known");
    assert_eq!(known.retention_days, 7);
}

pub(super) async fn the_last_use_of_a_key_is_kept_and_those_not_used_are_found(scene: Scene) {
    let maker: KeyId = scene.env.new_id();
    let (used, used_token) = new_key(&scene, None);
    let used = ApiKey { created_by: Some(maker), ..used };
    let (unused, unused_token) = new_key(&scene, None);
    scene.store.create_key(&used, used_token.hash(), None, entry()).await.expect("creates");
    scene.store.create_key(&unused, unused_token.hash(), None, entry()).await.expect("creates");
    let version = scene.store.configuration().version();
    let use_at = |seconds: u64, from: &str| LastUse {
        at: scene.now().plus(Duration::from_secs(seconds)),
        from: from.parse().expect("an address"),
    };
    let (first, later) = (use_at(1, "192.0.2.1"), use_at(2, "2001:db8::1"));
    for one in [later, first] {
        scene.store.note_key_uses(&[(used.id, one)]).await.expect("writes");
    }
    let found = scene.store.find_key(scene.view(), used.id).await.expect("reads").expect("is there");
    assert_eq!(found, ApiKey { last_use: Some(later), ..used.clone() }, "the later one stands");
    let unused_since = async |seconds| {
        let since = scene.now().plus(Duration::from_secs(seconds));
        let page = scene.store.list_keys(scene.view(), Some(since), Default::default()).await;
        page.expect("lists").rows.iter().map(|key| key.id).collect::<Vec<_>>()
    };
    assert_eq!(unused_since(0).await, [], "none is older");
    assert_eq!(unused_since(2).await, [unused.id]);
    assert_eq!(unused_since(3).await, [unused.id, used.id]);
    scene.store.refresh().await.expect("refreshes");
    assert_eq!(scene.store.configuration().version(), version, "a use changes no configuration");
}

pub(super) async fn the_operator_sees_and_revokes_the_keys_of_all_projects(scene: Scene) {
    let (key, token) = new_key(&scene, None);
    scene.store.create_key(&key, token.hash(), None, entry()).await.expect("creates");
    let all = scene.store.list_all_keys().await.expect("lists");
    assert_eq!(all, [(scene.project.name.clone(), key.clone())]);
    assert_eq!(
        scene.store.revoke_any_key(key.id, SessionsOfKey::GoOn, entry()).await.expect("revokes"),
        Edited::Done
    );
    assert_eq!(
        scene.store.revoke_any_key(key.id, SessionsOfKey::GoOn, entry()).await.expect("answers"),
        Edited::Outdated,
        "it is gone"
    );
    assert_eq!(scene.store.list_all_keys().await.expect("lists"), []);
    assert!(scene.store.configuration().key(&token.hash(), scene.now()).is_none());
}

pub(super) async fn tenants_are_listed_and_change_once(scene: Scene) {
    let beta = scene.add_tenant("beta").await;
    let page = scene.store.list_tenants(scene.view(), Default::default()).await.expect("lists");
    assert_eq!(page.rows, [beta.clone(), scene.tenant.clone()], "the newest first");
    let after = Tenant {
        name: "Beta Corp.".to_owned(),
        contacts: vec!["hooks@beta.example".to_owned()],
        updated_at: later(&scene),
        ..beta.clone()
    };
    let update = async || scene.store.update_tenant(&after, beta.updated_at, entry()).await.expect("answers");
    assert_eq!(update().await, Edited::Done);
    assert_eq!(update().await, Edited::Outdated, "it was changed since");
    let found = scene.store.find_tenant(scene.view(), &beta.handle).await.expect("reads");
    assert_eq!(found, Some(after));
}

pub(super) async fn secrets_are_replaced_once(scene: Scene) {
    let find = async || {
        let found = scene.store.find_endpoint(scene.view(), scene.tenant.id, scene.endpoint.id).await;
        found.expect("reads").expect("is there")
    };
    let before = find().await;
    let new = SigningSecret::generate(scene.env.entropy.as_ref());
    let secrets = [ActiveSecret { secret: new.clone(), expires_at: None }];
    let after = Endpoint { updated_at: later(&scene), ..before.endpoint.clone() };
    let replace = async || {
        scene
            .store
            .replace_secrets(&after, &secrets, before.endpoint.updated_at, None, entry())
            .await
            .expect("answers")
    };
    assert!(matches!(replace().await, Performed::First(Edited::Done)));
    assert!(matches!(replace().await, Performed::First(Edited::Outdated)), "it was changed since");
    let found = find().await;
    let texts: Vec<String> = found.secrets.iter().map(|one| one.secret.reveal()).collect();
    assert_eq!(texts, [new.reveal()]);
}

pub(super) async fn an_endpoint_is_disabled_with_its_reason_unless_it_was_changed(scene: Scene) {
    let as_it_was = scene.endpoint.clone();
    let disable = async |as_it_was| {
        scene.store.disable_endpoint(as_it_was, "it answered 410 Gone", entry()).await.expect("answers")
    };
    assert_eq!(disable(&as_it_was).await, Edited::Done);
    assert_eq!(disable(&as_it_was).await, Edited::Outdated, "it is enabled no longer");
    let found = scene.store.find_endpoint(scene.view(), scene.tenant.id, as_it_was.id).await;
    let endpoint = found.expect("reads").expect("is there").endpoint;
    assert_eq!(
        (endpoint.status, endpoint.disabled_reason.as_deref()),
        (EndpointStatus::Disabled, Some("it answered 410 Gone"))
    );
    let report = scene.store.report_on_endpoint(as_it_was.id).await.expect("reads");
    assert_eq!((report.waiting, report.recent.len()), (0, 0));
}

pub(super) async fn a_store_is_ready_until_it_is_closed(scene: Scene) {
    scene.store.check_ready().await.expect("is ready");
    assert!(scene.store.second_machine().is_none(), "none is asked for");
    let beta = scene.add_tenant("beta").await;
    scene.store.refresh().await.expect("reads");
    assert!(scene.store.configuration().tenant(scene.project.id, &beta.handle).is_some());
    scene.store.ensure_fresh(Duration::from_secs(1)).await.expect("reads");
    scene.store.close().await;
    assert!(scene.store.publish(scene.event("ord_1")).await.is_err(), "it is closed");
}

/// The time of a change that comes after all before.
fn later(scene: &Scene) -> Timestamp {
    scene.advance(1);
    scene.now()
}
