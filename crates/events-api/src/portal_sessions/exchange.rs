//! `POST /v1/portal-sessions/{session}/exchange`

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use api_types::{ExchangedPortalCode, PortalCode};
use delivery_log::Edited;
use delivery_log::configuration::KnownSession;
use model::access::{Token, TokenKind, hash_token};
use model::audit::Action;

use super::{names, theme};
use crate::api::Api;
use crate::auth::Caller;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, OfSession};
use crate::outgoing;
use crate::problem::{Code, Problem};

/// The longest body, in bytes.
const LIMIT: usize = 1_024;

/// Gives the page of a portal session its token for the code in its link. A code can
/// be exchanged once, within 60 seconds.
#[utoipa::path(post, path = "/v1/portal-sessions/{session}/exchange", tag = "Portal sessions",
    operation_id = "portalSessions.exchange",
    security(()),
    params(OfSession, Expected),
    request_body = PortalCode,
    responses((status = 200, description = "The token, and how the page looks.", body = ExchangedPortalCode)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    incoming.refuse_parameters()?;
    incoming.expect_no_if_match()?;
    let wanted: PortalCode = incoming.text_of_anybody(&api, LIMIT).await?.parse()?;
    let code = hash_token(&wanted.code);
    // Whoever guesses is refused from memory, and is not told what was wrong.
    let is_good =
        |known: &KnownSession| known.tokens.code == Some(code) && api.now() < known.tokens.code_until;
    let known = match path.parse() {
        Ok(id) => api.session(id, is_good).await?,
        Err(_) => None,
    };
    let known = known.ok_or_else(refused)?;
    let session = &known.session;
    let tenant = api.store.configuration().tenant_by_id(session.tenant).ok_or_else(refused)?;
    let token = Token::generate(TokenKind::Portal, api.env.entropy.as_ref());
    // Whoever has the code is who opens the session.
    let caller = Caller::Session(Arc::clone(&known));
    let entry = api.entry(&caller, Action::SessionExchanged, session.id);
    let exchanged =
        api.store.exchange_portal_code(session.project, session.id, code, token.hash(), entry).await?;
    if exchanged == Edited::Outdated {
        return Err(refused());
    }
    Ok(outgoing::shown_once(outgoing::plain(&ExchangedPortalCode {
        token: token.reveal().to_owned(),
        expires_at: session.expires_at,
        tenant: tenant.handle.to_string(),
        scopes: names(session.scopes),
        origins: session.origins.iter().map(ToString::to_string).collect(),
        branding: theme(&session.theme),
        locale: session.locale.clone(),
        page: session.page.clone(),
    })))
}

fn refused() -> Problem {
    let detail = "this code does not open a portal session: it was used, is older than 60 seconds, or the session \
                  has ended; open the portal again";
    Problem::new(Code::Unauthenticated, detail)
}
