//! How an endpoint wants to be called: everything but where and with which
//! secrets.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::filter::Filter;

crate::words!(
    /// In which order events go out.
    Ordering, by default None {
        /// In no order: as fast as can be.
        None = "none",
        /// Those of one ordering key one after the other, by their sequence.
        PerKey = "per_key",
    }
);

crate::words!(
    /// The format of the envelope.
    Format, by default Standard {
        /// Posthorn's own.
        Standard = "standard",
        /// CloudEvents 1.0, JSON, structured mode.
        CloudEvents = "cloudevents",
    }
);

crate::words!(
    /// The names of the headers that carry id, time and signature.
    SignatureHeaders, by default Standard {
        /// `webhook-id` and so on, as Standard Webhooks says.
        Standard = "standard",
        /// `svix-id` and so on, for receivers that were written for Svix.
        Svix = "svix",
    }
);

crate::words!(
    /// How bodies are signed.
    SignatureScheme, by default Hmac {
        /// `v1,`: HMAC-SHA256 with a shared secret.
        Hmac = "hmac",
        /// `v1a,`: Ed25519, checked with a public key.
        Ed25519 = "ed25519",
    }
);

crate::words!(
    /// How a client shows who it is to a token endpoint; names of OpenID Connect
    /// Core 1.0, section 9.
    TokenAuth, by default ClientSecretBasic {
        /// In the header `authorization`.
        ClientSecretBasic = "client_secret_basic",
        /// In the form.
        ClientSecretPost = "client_secret_post",
    }
);

/// Where tokens for calls come from: OAuth 2 client credentials (RFC 6749,
/// section 4.4). The client's secret is kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OauthClient {
    /// The token endpoint.
    pub token_url: url::Url,
    /// Who we are to it.
    pub client_id: String,
    /// What is asked for; may be empty.
    #[serde(default)]
    pub scope: String,
    /// How we show who we are.
    #[serde(default)]
    pub auth_method: TokenAuth,
}

/// How an endpoint wants to be called. The store keeps it as JSON; what is not
/// there has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallOptions {
    /// The time-out is the retry policy's. Only the store looks at it: the
    /// number beside it is for processes that know no policies.
    pub timeout_by_policy: bool,
    /// The name of its retry policy.
    pub retry_policy: String,
    /// Calls a second, at most.
    pub rate_limit: Option<NonZeroU32>,
    /// In which order events go out.
    pub ordering: Ordering,
    /// Which of the events it subscribed to it gets.
    pub filter: Option<Filter>,
    /// The format of the envelope.
    pub format: Format,
    /// The names of the signature's headers.
    pub signature_headers: SignatureHeaders,
    /// How bodies are signed.
    pub signature: SignatureScheme,
    /// Where tokens come from, if calls need one.
    pub oauth: Option<OauthClient>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            timeout_by_policy: false,
            retry_policy: "standard".to_owned(),
            rate_limit: None,
            ordering: Ordering::default(),
            filter: None,
            format: Format::default(),
            signature_headers: SignatureHeaders::default(),
            signature: SignatureScheme::default(),
            oauth: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_survive_the_store_and_what_is_missing_has_its_default() {
        let empty: CallOptions = serde_json::from_str("{}").expect("reads");
        assert_eq!(empty, CallOptions::default());
        let options = CallOptions {
            rate_limit: NonZeroU32::new(10),
            ordering: Ordering::PerKey,
            filter: Some(Filter::parse(&json!({"at": "/type", "exists": true})).expect("a filter")),
            signature: SignatureScheme::Ed25519,
            ..CallOptions::default()
        };
        let text = serde_json::to_string(&options).expect("has a JSON form");
        assert_eq!(serde_json::from_str::<CallOptions>(&text).expect("reads back"), options);
    }
}
