//! Portal sessions: a product opens one for its customer with one call.

pub(crate) mod create;
pub(crate) mod end;
pub(crate) mod end_all;
pub(crate) mod exchange;
pub(crate) mod get;
pub(crate) mod list;

use std::sync::Arc;

use api_types::PortalTheme;
use delivery_log::configuration::KnownSession;
use delivery_log::tenants::Tenant;
use model::access::Scopes;
use model::ids::PortalSessionId;
use model::portal::{PortalSession, Theme};

use crate::api::Api;
use crate::problem::Problem;

fn present(tenant: &Tenant, session: &PortalSession) -> api_types::PortalSession {
    api_types::PortalSession {
        id: session.id.to_string(),
        tenant: tenant.handle.to_string(),
        opened_by: session.opened_by.to_string(),
        scopes: names(session.scopes),
        origins: session.origins.iter().map(ToString::to_string).collect(),
        theme: theme(&session.theme),
        locale: session.locale.clone(),
        page: session.page.clone(),
        created_at: session.created_at,
        expires_at: session.expires_at,
    }
}

fn names(scopes: Scopes) -> Vec<String> {
    scopes.names().into_iter().map(str::to_owned).collect()
}

fn theme(theme: &Theme) -> PortalTheme {
    PortalTheme {
        accent: theme.accent.clone(),
        scheme: theme.scheme.map(|scheme| scheme.to_string()),
        name: theme.name.clone(),
    }
}

fn missing() -> Problem {
    Problem::not_found("portal session")
}

/// The session of a tenant that goes by the id in a path, if it has not ended.
async fn find(api: &Api, tenant: &Tenant, id: &str) -> Result<Arc<KnownSession>, Problem> {
    let id: PortalSessionId = id.parse().map_err(|_| missing())?;
    api.session(id, |known| known.session.tenant == tenant.id).await?.ok_or_else(missing)
}
