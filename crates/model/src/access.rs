//! Who may do what: scopes and API keys.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::ids::{KeyId, ProjectId, TenantId};

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One thing that a key may do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Scope { $($(#[$doc])* $name,)* }

        impl Scope {
            /// Every scope, in the order of the contract.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name, as in `events:write`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

scopes! {
    /// Publish.
    EventsWrite = "events:write",
    /// Read events and what became of them.
    EventsRead = "events:read",
    /// Read the data of events and the bytes of deliveries.
    PayloadsRead = "payloads:read",
    /// Change the catalogue.
    EventTypesWrite = "event_types:write",
    /// Read the catalogue.
    EventTypesRead = "event_types:read",
    /// Change tenants.
    TenantsWrite = "tenants:write",
    /// Read tenants.
    TenantsRead = "tenants:read",
    /// Change endpoints.
    EndpointsWrite = "endpoints:write",
    /// Read endpoints.
    EndpointsRead = "endpoints:read",
    /// Read signing secrets.
    SecretsRead = "secrets:read",
    /// Read deliveries and attempts.
    DeliveriesRead = "deliveries:read",
    /// Send past deliveries again, or cancel waiting ones.
    DeliveriesReplay = "deliveries:replay",
    /// Open portal sessions.
    PortalWrite = "portal:write",
    /// Make and revoke keys.
    KeysWrite = "keys:write",
    /// Read the audit log.
    AuditRead = "audit:read",
    /// Change the project's settings.
    ProjectWrite = "project:write",
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope; known are * and {known}", known = known())]
pub struct UnknownScope(String);

fn known() -> String {
    Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

/// What a key may do. `*` is everything, now and later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u32);

impl Scopes {
    const EVERYTHING: u32 = u32::MAX;

    /// `*`.
    pub const fn everything() -> Self {
        Self(Self::EVERYTHING)
    }

    /// Whether `scope` is among these.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Whether these are no more than `others`.
    pub fn within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// Whether nothing is allowed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names; `*` alone for everything.
    pub fn names(self) -> Vec<&'static str> {
        if self.0 == Self::EVERYTHING {
            return vec!["*"];
        }
        Scope::ALL.iter().filter(|scope| self.allow(**scope)).map(|scope| scope.as_str()).collect()
    }

    /// Reads names.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownScope> {
        names.into_iter().try_fold(Self::default(), |set, name| {
            if name == "*" {
                return Ok(Self::everything());
            }
            let scope = Scope::ALL.iter().find(|scope| scope.as_str() == name);
            scope.map(|scope| Self(set.0 | 1 << *scope as u8)).ok_or_else(|| UnknownScope(name.to_owned()))
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    /// Names separated by spaces or commas.
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::from_names(text.split([' ', ',']).filter(|name| !name.is_empty()))
    }
}

/// The SHA-256 of a token: all that a store keeps of it. A token is 256 random
/// bits, so nothing slower is needed to keep it from being guessed.
pub type TokenHash = [u8; 32];

/// The secret text of an API key, shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken(zeroize::Zeroizing<String>);

impl ApiToken {
    /// What every API key begins with.
    pub const PREFIX: &'static str = "phk_";

    /// A new token.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut_slice());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(zeroize::Zeroizing::new(format!("{}{hex}", Self::PREFIX)))
    }

    /// The text, for the one who may see it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The hash of this token.
    pub fn hash(&self) -> TokenHash {
        hash_token(&self.0)
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(…)")
    }
}

/// The hash by which a store knows the token.
pub fn hash_token(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// An API key.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// The project that it belongs to.
    pub project: ProjectId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The only tenant that it may see.
    pub tenant: Option<TenantId>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Where it may be used from; empty for anywhere.
    pub allowed_networks: Vec<IpNet>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl ApiKey {
    /// Whether the key has not ended.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it may be used from `address`.
    pub fn allows_network(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed_networks.is_empty() || self.allowed_networks.iter().any(|net| net.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn scopes_are_read_by_name_and_everything_includes_all() {
        let some: Scopes = "events:write, tenants:read".parse().expect("scopes");
        assert!(some.allow(Scope::EventsWrite) && !some.allow(Scope::EventsRead));
        assert_eq!(some.names(), ["events:write", "tenants:read"]);
        assert!(some.within(Scopes::everything()) && !Scopes::everything().within(some));
        assert_eq!("*".parse::<Scopes>().map(Scopes::names), Ok(vec!["*"]));
        assert!("events:fly".parse::<Scopes>().is_err());
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_never_shows_in_logs() {
        let token = ApiToken::generate(&SeededEntropy::new(1));
        assert_eq!(token.reveal().len(), 68);
        assert_eq!(hash_token(token.reveal()), token.hash());
        assert_eq!(format!("{token:?}"), "ApiToken(…)");
    }
}
