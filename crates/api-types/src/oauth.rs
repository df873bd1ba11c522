//! Short-lived tokens, as RFC 6749 has them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request for a token, as a form. The client can be named in the header
/// `Authorization: Basic` instead.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes a form, which is read field by field")]
pub struct OauthTokenRequest {
    /// `client_credentials`.
    #[schema(example = "client_credentials")]
    grant_type: String,
    /// Names of scopes, separated by spaces; all of the key's if not given.
    #[schema(nullable = false)]
    scope: Option<String>,
    /// The id of an API key: `key_…`.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The API key: `phk_…`.
    #[schema(nullable = false)]
    client_secret: Option<String>,
}

/// A token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OauthToken {
    /// `pha_…`.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// For how many seconds it is good.
    pub expires_in: u64,
    /// The scopes that it has.
    pub scope: String,
}

/// Why there is no token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OauthError {
    /// A code of RFC 6749, section 5.2, or `temporarily_unavailable`.
    pub error: String,
    /// What to correct.
    pub error_description: String,
}
