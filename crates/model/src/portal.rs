//! Portal sessions: what a product opens for its customer, who then sees their
//! own endpoints and deliveries, and nobody else's.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::access::{Scope, Scopes};
use crate::clock::Timestamp;
use crate::ids::{KeyId, PortalSessionId, ProjectId, TenantId};
use crate::names::{InvalidText, check_text};

/// For how long a session may be good, in seconds.
pub const LIVES: RangeInclusive<u64> = 60..=24 * 60 * 60;
/// For how long a session is good that does not say, in seconds.
pub const DEFAULT_LIFE: u64 = 8 * 60 * 60;
/// How long the code of a session's link may be exchanged.
pub const CODE_LIFE: Duration = Duration::from_secs(60);
/// How many sessions a tenant may have at once.
pub const MAX_SESSIONS: u32 = 1_000;
/// How many origins may embed a session.
pub const MAX_ORIGINS: usize = 20;
/// How many sessions of a tenant may be kept, those that were ended early among them.
pub const MAX_KEPT: u32 = 5_000;
/// How long after its time a session is kept. One that was ended early is kept until
/// then, so that a process which was away meanwhile learns of it.
pub const KEPT: Duration = Duration::from_secs(60 * 60);
/// By how much the clocks of processes may differ before a session is forgotten in
/// memory that another would still know.
pub const CLOCKS_APART: Duration = Duration::from_secs(24 * 60 * 60);

/// What a session may be able to do at most: nothing that makes other keys and
/// sessions, or belongs to the project.
const GRANTABLE: [Scope; 11] = [
    Scope::EventsRead,
    Scope::PayloadsRead,
    Scope::EventTypesRead,
    Scope::TenantsRead,
    Scope::EndpointsWrite,
    Scope::EndpointsRead,
    Scope::SecretsRead,
    Scope::DeliveriesRead,
    Scope::DeliveriesReplay,
    Scope::ContactsWrite,
    Scope::EndpointsOperate,
];
/// What a session can do that does not say: what a customer needs to set up an
/// endpoint, to see why a call failed, and to have it sent again.
const USUAL: [Scope; 10] = [
    Scope::EventsRead,
    Scope::PayloadsRead,
    Scope::EventTypesRead,
    Scope::EndpointsWrite,
    Scope::EndpointsRead,
    Scope::SecretsRead,
    Scope::DeliveriesRead,
    Scope::DeliveriesReplay,
    Scope::ContactsWrite,
    Scope::EndpointsOperate,
];

/// What a session may be able to do at most.
pub fn grantable() -> Scopes {
    GRANTABLE.into_iter().collect()
}

/// What a session can do that does not say.
pub fn usual() -> Scopes {
    USUAL.into_iter().collect()
}

crate::words!(
    /// Whether pages are light or dark.
    ColorScheme {
        /// As the customer's device has it.
        Auto = "auto",
        /// Dark text on light ground.
        Light = "light",
        /// Light text on dark ground.
        Dark = "dark",
    }
);

/// How the portal looks, so that it fits the product that it is opened from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Theme {
    /// The colour of buttons and links: `#rrggbb`.
    pub accent: Option<String>,
    /// Light or dark.
    pub scheme: Option<ColorScheme>,
    /// The name of the product.
    pub name: Option<String>,
}

/// The longest name of a product, in bytes.
const MAX_NAME: usize = 64;

impl Theme {
    /// Checks a colour.
    pub fn check_accent(text: &str) -> Result<(), InvalidText> {
        let digits = text.strip_prefix('#').unwrap_or_default();
        match digits.len() == 6 && digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            true => Ok(()),
            false => Err(InvalidText::Form("#rrggbb, such as #0a7c5c")),
        }
    }

    /// Checks the name of a product.
    pub fn check_name(text: &str) -> Result<(), InvalidText> {
        check_text(text, MAX_NAME)
    }
}

/// Checks a language tag as browsers have them (RFC 5646): `de`, `pt-BR`.
pub fn check_locale(text: &str) -> Result<(), InvalidText> {
    let mut parts = text.split('-');
    let language = parts
        .next()
        .is_some_and(|part| (2..=3).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphabetic()));
    let others =
        parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric()));
    match text.len() <= 35 && language && others {
        true => Ok(()),
        false => Err(InvalidText::Form("a language tag such as en or pt-BR (RFC 5646)")),
    }
}

/// The longest path of a page, in bytes.
const MAX_PAGE: usize = 512;

/// Checks the path of a page within the portal: `/deliveries/dlv_…`. It can lead
/// nowhere else.
pub fn check_page(text: &str) -> Result<(), InvalidText> {
    if text.len() > MAX_PAGE {
        return Err(InvalidText::TooLong { max: MAX_PAGE });
    }
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"/_-.~".contains(&c);
    // Whoever decodes it finds nothing but what stands there.
    let path_is_plain = path.starts_with('/')
        && path.bytes().all(plain)
        && !path.contains("//")
        && !path.split('/').any(|part| part == "." || part == "..");
    let mut parts = query.split('%');
    let is_text = |part: &str| part.bytes().all(|c| plain(c) || b"=&:,+@".contains(&c));
    let is_escape = |part: &str| {
        part.split_at_checked(2)
            .is_some_and(|(digits, rest)| digits.bytes().all(|c| c.is_ascii_hexdigit()) && is_text(rest))
    };
    let query_is_plain = parts.next().is_none_or(is_text) && parts.all(is_escape);
    match path_is_plain && query_is_plain {
        true => Ok(()),
        false => Err(InvalidText::Form("a path within the portal, such as /deliveries")),
    }
}

/// An origin (RFC 6454) that may embed the portal: `https://app.acme.example`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(String);

/// A text that is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an origin such as https://app.acme.example: https (http on this machine), a host, perhaps a port, \
     and nothing after it"
)]
pub struct NoOrigin;

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let url: Url = text.parse().map_err(|_| NoOrigin)?;
        let is_local = match url.host() {
            // After the parser has decoded it. A policy of a page names it, so it is
            // nothing but a name.
            Some(Host::Domain(name)) => {
                let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
                if !name.bytes().all(plain) {
                    return Err(NoOrigin);
                }
                name == "localhost" || name.ends_with(".localhost")
            }
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(NoOrigin),
        };
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local);
        let origin = url.origin().ascii_serialization();
        // The text itself, perhaps with other capitals, its own port or a last slash.
        let plain = url.username().is_empty() && url.password().is_none() && url.path() == "/";
        let ends = url.query().is_none() && url.fragment().is_none() && !text.ends_with(['?', '#']);
        let text_is_plain = text.len() <= 255 && !text.contains(['\\', ' ', '\t', '\n', '\r']);
        match is_safe && plain && ends && text_is_plain {
            true => Ok(Self(origin)),
            false => Err(NoOrigin),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A portal session.
#[derive(Debug, Clone, PartialEq)]
pub struct PortalSession {
    /// Its id, which is in its link and no secret.
    pub id: PortalSessionId,
    /// The project.
    pub project: ProjectId,
    /// The only tenant that it sees.
    pub tenant: TenantId,
    /// The key that opened it.
    pub opened_by: KeyId,
    /// What it can do.
    pub scopes: Scopes,
    /// Who may embed the portal under it; nobody if there are none.
    pub origins: Vec<Origin>,
    /// How it looks.
    pub theme: Theme,
    /// The language, if not the browser's.
    pub locale: Option<String>,
    /// The page to begin with.
    pub page: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl PortalSession {
    /// Whether it has not run out.
    pub fn is_current(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for (text, origin) in [
            ("https://app.acme.example", "https://app.acme.example"),
            ("https://APP.acme.example/", "https://app.acme.example"),
            ("https://app.acme.example:443", "https://app.acme.example"),
            ("https://app.acme.example:8443", "https://app.acme.example:8443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
        ] {
            assert_eq!(text.parse::<Origin>().map(|origin| origin.to_string()), Ok(origin.to_owned()));
        }
        for text in [
            "",
            "*",
            "null",
            "app.acme.example",
            "https://",
            "https://*.acme.example",
            "https://%2a.acme.example",
            "https://%2A",
            "https://\u{ff0a}.acme.example",
            "https://x.example;sandbox",
            "https://x.example,https://evil.example",
            "https://x'y.example",
            "https://x\"y.example",
            "https://app.acme.example/path",
            "https://app.acme.example/?",
            "https://app.acme.example#x",
            "https://user@app.acme.example",
            "https://app.acme.example https://evil.example",
            "http://app.acme.example",
            "http://localhost.evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(NoOrigin), "{text}");
        }
    }

    #[test]
    fn a_page_is_within_the_portal() {
        for page in ["/", "/deliveries", "/deliveries/dlv_01j?status=failed&x=a%20b"] {
            assert_eq!(check_page(page), Ok(()), "{page}");
        }
        for page in [
            "",
            "deliveries",
            "//evil.example",
            "/\\evil.example",
            "/a/../../console",
            "/a/%2E./console",
            "/%2fevil.example",
            "/a//b",
            "/a/./b",
            "/x?a=%zz",
            "/x?a=%2",
            "/x?a=b?c",
            "/#code=1",
            "/a b",
            "/é",
        ] {
            assert!(check_page(page).is_err(), "{page}");
        }
        assert!(check_page(&format!("/{}", "a".repeat(MAX_PAGE))).is_err());
    }

    #[test]
    fn a_locale_and_a_colour_have_the_form_that_browsers_know() {
        for locale in ["en", "de", "pt-BR", "zh-Hant-TW", "es-419"] {
            assert_eq!(check_locale(locale), Ok(()), "{locale}");
        }
        for locale in ["", "e", "english", "en_US", "en-", "en-\u{e9}", "de-averylongpart"] {
            assert!(check_locale(locale).is_err(), "{locale}");
        }
        assert_eq!(Theme::check_accent("#0A7c5c"), Ok(()));
        for accent in ["", "0a7c5c", "#0a7c5", "#0a7c5cff", "#0a7c5g", "red", "#0a7c5c;"] {
            assert!(Theme::check_accent(accent).is_err(), "{accent}");
        }
    }

    #[test]
    fn no_session_can_make_keys_or_sessions_or_change_the_project() {
        assert!(usual().within(grantable()));
        for scope in [
            Scope::EventsWrite,
            Scope::KeysWrite,
            Scope::PortalWrite,
            Scope::ProjectWrite,
            Scope::EventTypesWrite,
            Scope::TenantsWrite,
        ] {
            assert!(!grantable().allow(scope), "{}", scope.as_str());
        }
        assert!(!Scopes::everything().within(grantable()));
    }
}
