//! Who calls, and what they may do.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delivery_log::View;
use delivery_log::configuration::{Configuration, KnownKey, KnownSession};
use delivery_log::idempotency::Principal;
use model::access::{ApiKey, Scope, TokenKind, hash_token, is_whole};
use model::audit::Actor;
use model::clock::Timestamp;
use model::ids::PortalSessionId;
use url::form_urlencoded;

use crate::api::Api;
use crate::client_address;
use crate::memory::Holder;
use crate::openapi;
use crate::problem::{Code, Faults, Problem};

/// How old the configuration may be by which a caller is authorised.
const FRESH: Duration = Duration::from_secs(1);
/// How long an unknown key waits for news of it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A request's credentials, not checked yet.
pub(crate) struct Credentials {
    token: Option<String>,
    address: Option<IpAddr>,
    api: web::Data<Api>,
    request: HttpRequest,
}

impl FromRequest for Credentials {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        let api = request.app_data::<web::Data<Api>>().cloned().expect("every app has the API's data");
        ready(Ok(Self { token, address: client_address(request, &api), api, request: request.clone() }))
    }
}

impl Credentials {
    /// Those of a request that brings a token in another place.
    pub(crate) fn with_token(request: &HttpRequest, api: &web::Data<Api>, token: String) -> Self {
        let address = client_address(request, api);
        Self { token: Some(token), address, api: api.clone(), request: request.clone() }
    }
}

/// Where a request comes from.
pub(crate) fn client_address(request: &HttpRequest, api: &Api) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    Some(client_address::of(peer, request.headers(), &api.settings.trusted_proxies))
}

/// A caller who is known and has the scope that was asked for.
pub(crate) enum Caller {
    /// With an API key.
    Key(Arc<KnownKey>),
    /// With a portal session.
    Session(Arc<KnownSession>),
}

impl Credentials {
    /// Checks the key (401), then that it has `scope` (403).
    /// Then that the query has no parameters but those that the route knows
    /// (422).
    pub(crate) async fn require(self, scope: Scope) -> Result<Caller, Problem> {
        let caller = self.identify().await?;
        caller.require(scope)?;
        refuse_unknown_parameters(&self.request)?;
        Ok(caller)
    }

    /// The caller, whatever it may do.
    pub(crate) async fn authenticate(self) -> Result<Caller, Problem> {
        let caller = self.identify().await?;
        refuse_unknown_parameters(&self.request)?;
        Ok(caller)
    }

    /// Who it is, if they may ask now.
    pub(crate) async fn identify(&self) -> Result<Caller, Problem> {
        let Some(token) = &self.token else {
            return Err(refuse("send your API key in the header Authorization: Bearer phk_…"));
        };
        let caller = if token.starts_with(TokenKind::ApiKey.prefix()) {
            Caller::Key(self.key(token).await?)
        } else if token.starts_with(TokenKind::Portal.prefix()) {
            Caller::Session(self.session(token).await?)
        } else if let Some(sealed) = token.strip_prefix(TokenKind::Access.prefix()) {
            Caller::Key(self.granted(sealed).await?)
        } else {
            return Err(refuse("an API key begins with phk_, the token of a portal session with pht_"));
        };
        // What it is answered is its own.
        self.request.extensions_mut().insert(Holder::of(&caller));
        let route = self.request.match_pattern().unwrap_or_default();
        let (standing, counted) = self.api.limits.count(&caller, self.request.method(), &route);
        self.request.extensions_mut().insert(standing);
        counted?;
        Ok(caller)
    }

    async fn key(&self, token: &str) -> Result<Arc<KnownKey>, Problem> {
        check_form(TokenKind::ApiKey, token)?;
        let (hash, now) = (hash_token(token), self.api.now());
        let known = self.api.known(|configuration| configuration.key(&hash, now)).await?;
        let key = known.ok_or_else(|| refuse("this API key is not known, or was revoked"))?;
        self.check_use(&key.key, now)?;
        Ok(key)
    }

    /// Checks that a key may be used now and from here, and notes that it is.
    fn check_use(&self, key: &ApiKey, now: Timestamp) -> Result<(), Problem> {
        if !key.is_current(now) {
            return Err(refuse("this API key has expired"));
        }
        let allowed = self.address.filter(|address| key.allows_network(*address));
        let from = allowed.ok_or_else(|| refuse("this API key may not be used from this address"))?;
        self.api.key_uses.note(key.id, now, from);
        Ok(())
    }

    /// The key that a short-lived token stands for, with what of it was granted.
    async fn granted(&self, sealed: &str) -> Result<Arc<KnownKey>, Problem> {
        let unknown = || refuse("this access token is not known, or has ended; ask for another one");
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| unknown())?;
        let (grant, now) = (self.api.store.open_grant(&sealed).ok_or_else(unknown)?, self.api.now());
        if now >= grant.until {
            return Err(unknown());
        }
        let known = self.api.known(|configuration| configuration.key_by_id(grant.key)).await?;
        let known = known.ok_or_else(|| refuse("the API key of this access token was revoked"))?;
        if !known.tokens.any_is(now, |token| grant.is_of(token)) {
            return Err(refuse("the secret that this access token was exchanged for was replaced"));
        }
        self.check_use(&known.key, now)?;
        // A grant ends no later than its key, whose end never changes.
        let key = ApiKey {
            scopes: grant.scopes().and(known.key.scopes),
            expires_at: Some(grant.until),
            ..known.key.clone()
        };
        Ok(Arc::new(KnownKey { key, tokens: known.tokens }))
    }

    async fn session(&self, token: &str) -> Result<Arc<KnownSession>, Problem> {
        check_form(TokenKind::Portal, token)?;
        let (hash, now) = (hash_token(token), self.api.now());
        let known = self.api.known(|configuration| {
            // One that began while its tenant was deleted sees nothing.
            let known = configuration.session_by_token(&hash, now)?;
            configuration.tenant_by_id(known.session.tenant).map(|_| known)
        });
        let known = known.await?;
        known.ok_or_else(|| refuse("this portal session is not known, or has ended; open the portal again"))
    }
}

impl Api {
    /// What a token or an id that a caller sent stands for. It may have been made
    /// this very moment, by another process. Looking for it is shared by all who
    /// ask, so that guessing costs the database nothing.
    async fn known<T>(&self, find: impl Fn(&Configuration) -> Option<T>) -> Result<Option<T>, Problem> {
        self.store.ensure_fresh(FRESH).await?;
        if let Some(found) = find(self.store.configuration()) {
            return Ok(Some(found));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        self.store.ensure_fresh(LOOK_AGAIN).await?;
        Ok(find(self.store.configuration()))
    }

    /// A portal session that has not ended or run out, and is one that the caller may
    /// know of: one that is not takes the same time as one that is not there.
    pub(crate) async fn session(
        &self,
        id: PortalSessionId,
        is_known: impl Fn(&KnownSession) -> bool,
    ) -> Result<Option<Arc<KnownSession>>, Problem> {
        let now = self.now();
        self.known(|configuration| configuration.session(id, now).filter(|known| is_known(known))).await
    }
}

/// What is mistyped or cut off is told so at once.
fn check_form(kind: TokenKind, token: &str) -> Result<(), Problem> {
    match is_whole(kind, token) {
        true => Ok(()),
        false => Err(refuse("the token is not whole: it was cut off or mistyped; copy it again")),
    }
}

fn refuse(detail: &str) -> Problem {
    Problem::new(Code::Unauthenticated, detail)
}

/// Checks that the query of a request has no parameters but those of its route.
pub(crate) fn refuse_unknown_parameters(request: &HttpRequest) -> Result<(), Problem> {
    if request.query_string().is_empty() {
        return Ok(());
    }
    let known = openapi::parameters(request.method(), &request.match_pattern().unwrap_or_default());
    let mut faults = Faults::default();
    for (name, _) in form_urlencoded::parse(request.query_string().as_bytes()) {
        if !known.iter().any(|known| *known == name) {
            let detail = match known {
                [] => "is not a parameter: there are none here".to_owned(),
                known => format!("is not a parameter here; there are {}", known.join(", ")),
            };
            faults.add(name, "unknown_parameter", detail);
        }
    }
    faults.finish()
}

impl Caller {
    /// Checks for a further scope.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.may(scope) { Ok(()) } else { Err(Problem::missing_scope(scope)) }
    }

    /// Whether the caller has a scope.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        match self {
            Self::Key(known) => known.key.scopes.allow(scope),
            Self::Session(known) => known.session.scopes.allow(scope),
        }
    }

    /// Whose things the caller may see.
    pub(crate) fn view(&self) -> View {
        match self {
            Self::Key(known) => View { project: known.key.project, tenant: known.key.tenant },
            Self::Session(known) => {
                View { project: known.session.project, tenant: Some(known.session.tenant) }
            }
        }
    }

    /// On whose behalf it uses idempotency keys.
    pub(crate) fn principal(&self) -> Principal {
        match self {
            Self::Key(known) => known.key.tenant.map_or(Principal::Project, Principal::Tenant),
            Self::Session(known) => Principal::Session(known.session.id),
        }
    }

    /// Who it is to the audit log.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Key(known) => Actor::Key(known.key.id),
            Self::Session(known) => Actor::Session(known.session.id),
        }
    }

    /// The id of the key or session.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Key(known) => known.key.id.to_string(),
            Self::Session(known) => known.session.id.to_string(),
        }
    }

    /// Checks that the caller may make, change or end a key: it is no more
    /// than the caller's own.
    pub(crate) fn check_within(&self, key: &ApiKey) -> Result<(), Problem> {
        key.check_within(self.key()?).map_err(|exceeds| {
            let detail =
                format!("an API key can manage only keys with no more access than its own: {exceeds}");
            Problem::new(Code::Forbidden, detail)
        })
    }

    /// The caller's key, for what a portal session cannot do.
    pub(crate) fn key(&self) -> Result<&ApiKey, Problem> {
        match self {
            Self::Key(known) => Ok(&known.key),
            Self::Session(_) => {
                Err(Problem::new(Code::Forbidden, "a portal session makes no API keys and no other sessions"))
            }
        }
    }
}
