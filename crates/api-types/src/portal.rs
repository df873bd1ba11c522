//! Portal sessions.

use std::fmt;

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words;

/// A portal session to be opened.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortalSessionRequest {
    /// For how many seconds it is good; no longer than the key that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 86_400, default = 28_800)]
    pub expires_in: Option<u64>,
    /// What it can do: no more than the key that opens it, and nothing that makes
    /// keys or belongs to the project. If not given, what customers usually need, as
    /// far as the key can do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<words::Scope>>)]
    pub scopes: Option<Vec<String>>,
    /// The origins of pages that may embed the portal: `https://app.acme.example`.
    /// None may if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 20)]
    pub origins: Vec<String>,
    /// How the portal looks.
    #[serde(default)]
    pub theme: PortalTheme,
    /// Its language, as a tag (RFC 5646): `pt-BR`. The browser's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The page to begin with, as a path within the portal: `/deliveries`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// How the portal looks, so that it fits the product that opens it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortalTheme {
    /// The colour of buttons and links: `#rrggbb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accent: Option<String>,
    /// Light or dark; as the device has it if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::ColorScheme>)]
    pub scheme: Option<String>,
    /// The name of the product, at most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A portal session that was opened. Its link and token are shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct OpenedPortalSession {
    /// Its id: `ses_…`.
    pub id: String,
    /// The link to open for the customer, or to embed, within 60 seconds. What
    /// follows the `#` opens the session once, and is sent to no server.
    pub url: String,
    /// `pht_…`, for pages of your own: the session's key for
    /// `Authorization: Bearer`.
    pub token: String,
    /// When the session ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A portal session, without what opens it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PortalSession {
    /// Its id: `ses_…`.
    pub id: String,
    /// The only tenant that it sees.
    pub tenant: String,
    /// The API key that opened it.
    pub opened_by: String,
    /// What it can do.
    #[schema(value_type = Vec<words::Scope>)]
    pub scopes: Vec<String>,
    /// The origins of pages that may embed it.
    pub origins: Vec<String>,
    /// How it looks.
    pub theme: PortalTheme,
    /// Its language, if not the browser's.
    pub locale: Option<String>,
    /// The page that it began with.
    pub page: Option<String>,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// How many portal sessions have ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EndedPortalSessions {
    /// So many.
    pub ended: u64,
}

/// The code of a portal session's link.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortalCode {
    /// What follows `#code=`.
    pub code: String,
}

/// What a page needs for its portal session.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ExchangedPortalCode {
    /// `pht_…`, for the header `Authorization: Bearer`.
    pub token: String,
    /// When the session ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The only tenant that it sees.
    pub tenant: String,
    /// What it can do.
    #[schema(value_type = Vec<words::Scope>)]
    pub scopes: Vec<String>,
    /// The origins that a page may talk to when it is embedded.
    pub origins: Vec<String>,
    /// How it looks.
    pub branding: PortalTheme,
    /// Its language, if not the browser's.
    pub locale: Option<String>,
    /// The page to begin with.
    pub page: Option<String>,
}

impl fmt::Debug for OpenedPortalSession {
    /// Without what opens the session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedPortalSession").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for PortalCode {
    /// Without what opens the session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortalCode").finish_non_exhaustive()
    }
}

impl fmt::Debug for ExchangedPortalCode {
    /// Without what opens the session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangedPortalCode").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}
