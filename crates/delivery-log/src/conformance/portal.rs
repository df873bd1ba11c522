//! Portal sessions.

use std::time::Duration;

use model::access::{Token, TokenKind};
use model::ids::{KeyId, PortalSessionId, TenantId};
use model::portal::{CODE_LIFE, MAX_SESSIONS, PortalSession, Theme, usual};

use super::access::new_key;
use super::scene::{Scene, entry};
use crate::Edited;
use crate::access::SessionsOfKey;
use crate::idempotency::Performed;
use crate::portal::{EndSessions, SessionOpened, SessionTokens};

/// How long the sessions of these sentences are good.
const HOUR: Duration = Duration::from_secs(3_600);

struct Opened {
    session: PortalSession,
    token: Token,
    code: Token,
}

/// Opens a session of a tenant.
async fn open(scene: &Scene, tenant: TenantId, opened_by: KeyId) -> Opened {
    let (opened, answer) = try_open(scene, tenant, opened_by).await;
    assert_eq!(answer, SessionOpened::Done);
    opened
}

async fn try_open(scene: &Scene, tenant: TenantId, opened_by: KeyId) -> (Opened, SessionOpened) {
    let now = scene.now();
    let session = PortalSession {
        id: scene.env.new_id(),
        project: scene.project.id,
        tenant,
        opened_by,
        scopes: usual(),
        origins: vec!["https://app.acme.example".parse().expect("an origin")],
        theme: Theme { accent: Some("#0a7c5c".to_owned()), ..Theme::default() },
        locale: Some("pt-BR".to_owned()),
        page: Some("/deliveries".to_owned()),
        created_at: now,
        expires_at: now.plus(HOUR),
    };
    let token = Token::generate(TokenKind::Portal, scene.env.entropy.as_ref());
    let code = Token::generate(TokenKind::PortalCode, scene.env.entropy.as_ref());
    let tokens = SessionTokens {
        token: token.hash(),
        code: Some(code.hash()),
        code_until: now.plus(CODE_LIFE),
        page_token: None,
    };
    let opened = scene.store.open_portal_session(&session, tokens, None, entry()).await.expect("opens");
    let Performed::First(answer) = opened else { panic!("it was opened for the first time") };
    (Opened { session, token, code }, answer)
}

/// A key that opens sessions.
async fn opener(scene: &Scene) -> KeyId {
    let (key, token) = new_key(scene, None);
    scene.store.create_key(&key, token.hash(), None, entry()).await.expect("creates");
    key.id
}

/// The session that answers to a token.
fn known(scene: &Scene, token: &Token) -> Option<PortalSession> {
    let known = scene.store.configuration().session_by_token(&token.hash(), scene.now());
    known.map(|known| known.session.clone())
}

async fn listed(scene: &Scene) -> Vec<PortalSessionId> {
    let page = scene.store.list_portal_sessions(scene.view(), scene.tenant.id, Default::default()).await;
    page.expect("lists").rows.iter().map(|session| session.id).collect()
}

pub(super) async fn a_portal_session_answers_to_its_token_until_it_runs_out(scene: Scene) {
    let opened = open(&scene, scene.tenant.id, opener(&scene).await).await;
    assert_eq!(known(&scene, &opened.token), Some(opened.session.clone()));
    assert_eq!(listed(&scene).await, [opened.session.id]);
    scene.advance(HOUR.as_secs() - 1);
    assert!(known(&scene, &opened.token).is_some());
    scene.advance(1);
    assert_eq!(known(&scene, &opened.token), None);
    assert_eq!(listed(&scene).await, []);
    let id = opened.session.id;
    assert!(scene.store.configuration().session(id, scene.now()).is_none());
    let ended =
        scene.store.end_portal_sessions(scene.view(), EndSessions::One(scene.tenant.id, id), entry()).await;
    assert_eq!(ended.expect("answers"), 0, "it has run out");
}

pub(super) async fn a_code_is_exchanged_once_and_in_time(scene: Scene) {
    let opened = open(&scene, scene.tenant.id, opener(&scene).await).await;
    let id = opened.session.id;
    let new = || Token::generate(TokenKind::Portal, scene.env.entropy.as_ref());
    let exchange = async |code: &Token, token: &Token| {
        scene
            .store
            .exchange_portal_code(scene.project.id, id, code.hash(), token.hash(), entry())
            .await
            .expect("answers")
    };
    let (wrong, first, second) = (new(), new(), new());
    assert_eq!(exchange(&wrong, &first).await, Edited::Outdated);
    assert_eq!(exchange(&opened.code, &first).await, Edited::Done);
    assert_eq!(exchange(&opened.code, &second).await, Edited::Outdated, "once");
    assert_eq!(known(&scene, &first), Some(opened.session.clone()));
    assert_eq!(known(&scene, &opened.token), Some(opened.session.clone()), "the opener keeps its own");
    assert_eq!((known(&scene, &second), known(&scene, &opened.code)), (None, None));

    let late = open(&scene, scene.tenant.id, opener(&scene).await).await;
    scene.advance(CODE_LIFE.as_secs());
    let exchanged = scene
        .store
        .exchange_portal_code(scene.project.id, late.session.id, late.code.hash(), second.hash(), entry())
        .await;
    assert_eq!(exchanged.expect("answers"), Edited::Outdated, "too late");
}

pub(super) async fn portal_sessions_end_one_by_one_with_their_tenant_or_their_key(scene: Scene) {
    let other = scene.add_tenant("other").await;
    let (key, token) = new_key(&scene, None);
    scene.store.create_key(&key, token.hash(), None, entry()).await.expect("creates");
    let tenant = scene.tenant.id;
    let one = open(&scene, tenant, key.id).await;
    let two = open(&scene, tenant, key.id).await;
    let elsewhere = open(&scene, other.id, key.id).await;
    let by_another = open(&scene, tenant, opener(&scene).await).await;
    let there = |opened: &[&Opened]| -> Vec<bool> {
        opened.iter().map(|one| known(&scene, &one.token).is_some()).collect()
    };
    let all = [&one, &two, &elsewhere, &by_another];
    let end =
        async |which| scene.store.end_portal_sessions(scene.view(), which, entry()).await.expect("ends");

    // That of another tenant is not found.
    assert_eq!(end(EndSessions::One(other.id, one.session.id)).await, 0);
    assert_eq!(end(EndSessions::One(tenant, one.session.id)).await, 1);
    assert_eq!(end(EndSessions::One(tenant, one.session.id)).await, 0, "it has ended");
    assert_eq!(there(&all), [false, true, true, true]);
    assert_eq!(listed(&scene).await, [by_another.session.id, two.session.id]);

    let revoke = scene.store.revoke_key(scene.view(), key.id, key.updated_at, SessionsOfKey::End, entry());
    assert_eq!(revoke.await.expect("revokes"), Edited::Done);
    assert_eq!(there(&all), [false, false, false, true]);

    let last = open(&scene, other.id, opener(&scene).await).await;
    let ended = scene.store.delete_tenant(scene.view(), other.id, other.updated_at, entry()).await;
    assert_eq!(ended.expect("deletes"), Edited::Done);
    assert_eq!(there(&[&last, &by_another]), [false, true]);

    assert_eq!(end(EndSessions::OfTenant(tenant)).await, 1);
    assert_eq!(there(&[&by_another]), [false]);
}

pub(super) async fn sessions_outlive_their_key_unless_they_are_to_end(scene: Scene) {
    let (key, token) = new_key(&scene, None);
    scene.store.create_key(&key, token.hash(), None, entry()).await.expect("creates");
    let opened = open(&scene, scene.tenant.id, key.id).await;
    let revoke =
        async |sessions| scene.store.revoke_any_key(key.id, sessions, entry()).await.expect("answers");
    assert_eq!(revoke(SessionsOfKey::GoOn).await, Edited::Done);
    assert!(known(&scene, &opened.token).is_some());
    // Found out later: the key was leaked.
    assert_eq!(revoke(SessionsOfKey::End).await, Edited::Done);
    assert_eq!(known(&scene, &opened.token), None);
    assert_eq!(revoke(SessionsOfKey::End).await, Edited::Outdated, "nothing is left to end");
}

pub(super) async fn no_session_is_opened_by_a_revoked_key_or_for_a_deleted_tenant(scene: Scene) {
    let (key, token) = new_key(&scene, None);
    scene.store.create_key(&key, token.hash(), None, entry()).await.expect("creates");
    scene.store.revoke_any_key(key.id, SessionsOfKey::GoOn, entry()).await.map(|_| ()).expect("revokes");
    let other = scene.add_tenant("other").await;
    scene
        .store
        .delete_tenant(scene.view(), other.id, other.updated_at, entry())
        .await
        .map(|_| ())
        .expect("deletes");
    for (tenant, opened_by) in [(scene.tenant.id, key.id), (other.id, opener(&scene).await)] {
        let (refused, answer) = try_open(&scene, tenant, opened_by).await;
        assert_eq!(answer, SessionOpened::Gone);
        assert_eq!(known(&scene, &refused.token), None);
    }
}

pub(super) async fn what_ends_no_session_changes_no_configuration(scene: Scene) {
    let version = async || {
        scene.store.refresh().await.expect("refreshes");
        scene.store.configuration().version()
    };
    let before = version().await;
    let none =
        scene.store.end_portal_sessions(scene.view(), EndSessions::OfTenant(scene.tenant.id), entry()).await;
    assert_eq!((none.expect("answers"), version().await), (0, before));
}

pub(super) async fn a_tenant_has_a_bounded_number_of_portal_sessions_and_old_ones_are_forgotten(
    scene: Scene,
) {
    let opener = opener(&scene).await;
    for _ in 0..MAX_SESSIONS {
        open(&scene, scene.tenant.id, opener).await;
    }
    let (refused, answer) = try_open(&scene, scene.tenant.id, opener).await;
    assert_eq!(answer, SessionOpened::TooMany);
    assert_eq!(known(&scene, &refused.token), None);
    let other = scene.add_tenant("other").await;
    open(&scene, other.id, opener).await;
    scene.advance(HOUR.as_secs());
    open(&scene, scene.tenant.id, opener).await;
    let forget = async |limit| {
        scene.store.forget_portal_sessions(scene.now().plus(Duration::from_secs(1)), limit).await
    };
    assert_eq!(forget(600).await.expect("forgets"), 600);
    assert_eq!(forget(600).await.expect("forgets"), u64::from(MAX_SESSIONS) + 1 - 600);
    assert_eq!(forget(600).await.expect("forgets"), 0, "the last one is good");
}
