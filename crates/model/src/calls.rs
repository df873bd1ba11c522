//! How an endpoint wants to be called: everything but where and with which
//! secrets.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::filter::Filter;

/// A text that names none of a small set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct NotOneOf(&'static str);

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $all:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// The name, as in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = NotOneOf;

            fn from_str(text: &str) -> Result<Self, NotOneOf> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(NotOneOf($all)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

choice!(
    /// In which order events go out.
    Ordering, "\"none\" or \"per_key\"" {
        /// In no order: as fast as can be.
        #[default]
        None = "none",
        /// Those of one ordering key one after the other, by their sequence.
        PerKey = "per_key",
    }
);

choice!(
    /// The format of the envelope.
    Format, "\"standard\" or \"cloudevents\"" {
        /// Posthorn's own.
        #[default]
        Standard = "standard",
        /// CloudEvents 1.0, JSON, structured mode.
        CloudEvents = "cloudevents",
    }
);

choice!(
    /// The names of the headers that carry id, time and signature.
    SignatureHeaders, "\"standard\" or \"svix\"" {
        /// `webhook-id` and so on, as Standard Webhooks says.
        #[default]
        Standard = "standard",
        /// `svix-id` and so on, for receivers that were written for Svix.
        Svix = "svix",
    }
);

choice!(
    /// How bodies are signed.
    SignatureScheme, "\"hmac\" or \"ed25519\"" {
        /// `v1,`: HMAC-SHA256 with a shared secret.
        #[default]
        Hmac = "hmac",
        /// `v1a,`: Ed25519, checked with a public key.
        Ed25519 = "ed25519",
    }
);

choice!(
    /// How a client shows who it is to a token endpoint; names of OpenID Connect
    /// Core 1.0, section 9.
    TokenAuth, "\"client_secret_basic\" or \"client_secret_post\"" {
        /// In the header `authorization`.
        #[default]
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
