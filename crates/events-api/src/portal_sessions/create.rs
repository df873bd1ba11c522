//! `POST /v1/tenants/{tenant}/portal-sessions`

use std::time::Duration;

use actix_web::{HttpResponse, web};
use api_types::{OpenedPortalSession, PortalSessionRequest, PortalTheme};
use delivery_log::portal::{SessionOpened, SessionTokens};
use delivery_log::tenants::Tenant;
use model::access::{Scope, Scopes, Token, TokenKind};
use model::audit::Action;
use model::portal::{
    CODE_LIFE, ColorScheme, DEFAULT_LIFE, LIVES, MAX_KEPT, MAX_ORIGINS, MAX_SESSIONS, Origin, PortalSession,
    Theme, check_locale, check_page, grantable, usual,
};

use super::present;
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::Prepared;
use crate::openapi::parameters::{Expected, InTenant, Repeatable};
use crate::outgoing;
use crate::problem::{Code, Faults, Problem};

/// Opens the portal for a customer: a link to follow or embed, and a token for pages
/// of your own. It sees this tenant alone, and can do no more than the key that opens it.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/portal-sessions", tag = "Portal sessions",
    operation_id = "portalSessions.create",
    security(("api_key" = ["portal:write"])),
    params(InTenant, Repeatable, Expected),
    request_body = PortalSessionRequest,
    responses((status = 201, description = "The session, with its link and token.", body = OpenedPortalSession),
        (status = 409, description = "The tenant has as many portal sessions as it may have, or it or the key ended meanwhile.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::PortalWrite).await?;
    incoming.expect_no_if_match()?;
    let tenant = api.tenant(&caller, &path).await?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let session = build(&api, &caller, &tenant, text.parse_if_any()?)?;
    let token = Token::generate(TokenKind::Portal, api.env.entropy.as_ref());
    let code = Token::generate(TokenKind::PortalCode, api.env.entropy.as_ref());
    let answer = OpenedPortalSession {
        id: session.id.to_string(),
        url: format!("{}/portal/{}#code={}", api.public_url(), session.id, code.reveal()),
        token: token.reveal().to_owned(),
        expires_at: session.expires_at,
    };
    let location = format!("/v1/tenants/{}/portal-sessions/{}", tenant.handle, session.id);
    let about = (&incoming, &caller, Some(tenant.id));
    let prepared = Prepared::new(&api, about, &text, 201, Some(location), &answer)?;
    let prepared = prepared.with_etag(session.created_at);
    let tokens = SessionTokens {
        token: token.hash(),
        code: Some(code.hash()),
        code_until: session.created_at.plus(CODE_LIFE),
        page_token: None,
    };
    let entry = api.entry_in(&caller, tenant.id, Action::SessionOpened, session.id);
    let entry = entry.after(&present(&tenant, &session));
    let opened = api.store.open_portal_session(&session, tokens, prepared.once(), entry).await?;
    let answer = prepared.settle(opened, |opened| match opened {
        SessionOpened::Done => Ok(()),
        SessionOpened::Gone => {
            let detail = "the key that opens the session was revoked, or the tenant deleted, meanwhile";
            Err(Problem::new(Code::Conflict, detail))
        }
        SessionOpened::TooMany => {
            let detail = format!(
                "the tenant has {MAX_SESSIONS} open portal sessions, or {MAX_KEPT} in all that are not over: end \
                 some (POST /v1/tenants/{}/portal-sessions/end-all ends all), or let them end",
                tenant.handle
            );
            Err(Problem::new(Code::Conflict, detail))
        }
    });
    answer.map(outgoing::shown_once)
}

/// A session that cannot be invalid.
fn build(
    api: &Api,
    caller: &Caller,
    tenant: &Tenant,
    wanted: PortalSessionRequest,
) -> Result<PortalSession, Problem> {
    let opener = caller.key()?;
    let mut faults = Faults::default();
    let life = wanted.expires_in.unwrap_or(DEFAULT_LIFE);
    if !LIVES.contains(&life) {
        let detail = format!("must be {} to {} seconds", LIVES.start(), LIVES.end());
        faults.add("/expires_in", "out_of_range", detail);
    }
    let scopes = scopes(&mut faults, wanted.scopes.as_deref(), opener.scopes);
    let origins = origins(&mut faults, &wanted.origins);
    let theme = theme(&mut faults, wanted.theme);
    if let Some(locale) = &wanted.locale {
        faults.check("/locale", check_locale(locale));
    }
    if let Some(page) = &wanted.page {
        faults.check("/page", check_page(page));
    }
    faults.finish()?;
    if scopes.is_empty() {
        let detail =
            format!("this key has none of the scopes that a portal session can have: {}", grantable());
        return Err(Problem::new(Code::Forbidden, detail));
    }
    if !scopes.within(opener.scopes) {
        let detail =
            "a portal session can do no more than the API key that opens it: it has scopes that yours lacks";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let now = api.now();
    let end = now.plus(Duration::from_secs(life));
    Ok(PortalSession {
        id: api.env.new_id(),
        project: opener.project,
        tenant: tenant.id,
        opened_by: opener.id,
        scopes,
        origins,
        theme,
        locale: wanted.locale,
        page: wanted.page,
        created_at: now,
        expires_at: opener.expires_at.map_or(end, |own| own.min(end)),
    })
}

fn scopes(faults: &mut Faults, wanted: Option<&[String]>, opener: Scopes) -> Scopes {
    let Some(names) = wanted else { return usual().and(opener) };
    let scopes = faults.check("/scopes", Scopes::from_names(names.iter().map(String::as_str)));
    let scopes = scopes.unwrap_or(usual());
    if scopes.is_empty() {
        faults.add("/scopes", "invalid_value", "must name at least one scope");
    }
    if !scopes.within(grantable()) {
        let detail = format!("names a scope that no portal session can have; there are {}", grantable());
        faults.add("/scopes", "not_allowed", detail);
    }
    scopes
}

fn origins(faults: &mut Faults, wanted: &[String]) -> Vec<Origin> {
    if wanted.len() > MAX_ORIGINS {
        faults.add("/origins", "too_many", format_args!("has more than {MAX_ORIGINS} entries"));
        return Vec::new();
    }
    let parsed = wanted.iter().enumerate();
    parsed.filter_map(|(place, text)| faults.check(&format!("/origins/{place}"), text.parse())).collect()
}

fn theme(faults: &mut Faults, wanted: PortalTheme) -> Theme {
    if let Some(accent) = &wanted.accent {
        faults.check("/theme/accent", Theme::check_accent(accent));
    }
    if let Some(name) = &wanted.name {
        faults.check("/theme/name", Theme::check_name(name));
    }
    let scheme = wanted.scheme.as_deref();
    let scheme = scheme.and_then(|text| faults.check("/theme/scheme", text.parse::<ColorScheme>()));
    Theme { accent: wanted.accent, scheme, name: wanted.name }
}
