//! Who may do what: scopes and API keys.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::ids::{KeyId, ProjectId, TenantId};

crate::words!(
    /// One thing that a key may do.
    Scope {
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
        /// Erase what is kept of a tenant or a subject.
        EraseWrite = "erase:write",
        /// Read which keys there are. `keys:write` contains it.
        KeysRead = "keys:read",
        /// Change the mail addresses to which a tenant's warnings go.
        /// `tenants:write` contains it.
        ContactsWrite = "contacts:write",
        /// Pause, resume, reset and test endpoints. `endpoints:write` contains it.
        EndpointsOperate = "endpoints:operate",
    }
);

/// Scopes of which the first contains the second.
const CONTAINED: [(Scope, Scope); 3] = [
    (Scope::KeysWrite, Scope::KeysRead),
    (Scope::TenantsWrite, Scope::ContactsWrite),
    (Scope::EndpointsWrite, Scope::EndpointsOperate),
];

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

    /// Whether `scope` is among these, or contained in one of them.
    pub fn allow(self, scope: Scope) -> bool {
        self.with_contained().0 & (1 << scope as u8) != 0
    }

    /// Whether these are no more than `others`.
    pub fn within(self, others: Self) -> bool {
        self.0 & !others.with_contained().0 == 0
    }

    /// What both allow.
    pub fn and(self, others: Self) -> Self {
        Self(self.0 & others.with_contained().0)
    }

    fn with_contained(self) -> Self {
        CONTAINED.into_iter().fold(self, |set, (outer, inner)| {
            let contained = (self.0 >> outer as u8 & 1) << inner as u8;
            Self(set.0 | contained)
        })
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
        let named = |scope: &&Scope| self.0 & (1 << **scope as u8) != 0;
        Scope::ALL.iter().filter(named).map(|scope| scope.as_str()).collect()
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

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::default(), |set, scope| Self(set.0 | 1 << scope as u8))
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

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An API key.
    ApiKey,
    /// A portal session.
    Portal,
    /// What a page exchanges for the token of its portal session, once.
    PortalCode,
    /// A grant: what an API key was exchanged for, for a while.
    Access,
}

impl TokenKind {
    /// What a token of this kind begins with, so that people and scanners know it.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "phk_",
            Self::Portal => "pht_",
            Self::PortalCode => "phc_",
            Self::Access => "pha_",
        }
    }
}

/// A secret text that opens something, shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(zeroize::Zeroizing<String>);

impl Token {
    /// A new token.
    pub fn generate(kind: TokenKind, entropy: &dyn Entropy) -> Self {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut_slice());
        let token = zeroize::Zeroizing::new(format!("{}{}", kind.prefix(), hex(bytes.as_slice())));
        Self(zeroize::Zeroizing::new(format!("{}{}", *token, checksum(&token))))
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

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What the last characters of a token are: the beginning of the SHA-256 of those
/// before, in hexadecimal digits.
fn checksum(text: &str) -> String {
    hex(&hash_token(text)[..CHECKSUM / 2])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many characters of a token are its checksum.
const CHECKSUM: usize = 8;
/// How many random digits a token has.
const DIGITS: usize = 64;

/// Whether a text has the form of a token, with its checksum: whoever finds one can
/// tell it from other texts without asking anybody. Those that were made before
/// there were checksums have none.
pub fn is_whole(kind: TokenKind, text: &str) -> bool {
    let Some(rest) = text.strip_prefix(kind.prefix()) else { return false };
    let plain = rest.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    let checked =
        || text.split_at_checked(text.len() - CHECKSUM).is_some_and(|(own, sum)| checksum(own) == sum);
    plain && (rest.len() == DIGITS || (rest.len() == DIGITS + CHECKSUM && checked()))
}

/// The hash by which a store knows the token.
pub fn hash_token(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// The last use of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// From which address.
    pub from: IpAddr,
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
    /// How many requests a second it may make, publishing included; none for what is
    /// usual.
    pub rate_limit: Option<NonZeroU32>,
    /// The key that made it; none if that was the command line.
    pub created_by: Option<KeyId>,
    /// When and from where it was used last, as far as that is written.
    pub last_use: Option<LastUse>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a short-lived token stands for: an API key with no more than these scopes,
/// until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The key. The token is good only as long as the key is.
    pub key: KeyId,
    /// The beginning of the hash of the key's token that it was exchanged for.
    token: [u8; 8],
    /// What of the key's scopes it has.
    scopes: u32,
    /// When it ends.
    pub until: Timestamp,
}

fn beginning(token: &TokenHash) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&token[..8]);
    bytes
}

impl Grant {
    /// Of these scopes of a key, exchanged for its token of this hash.
    pub fn new(key: KeyId, token: &TokenHash, scopes: Scopes, until: Timestamp) -> Self {
        Self { key, token: beginning(token), scopes: scopes.0, until }
    }

    /// Whether it was exchanged for the token of this hash: one that was replaced and is
    /// no longer good takes its grants with it.
    pub fn is_of(&self, token: &TokenHash) -> bool {
        self.token == beginning(token)
    }

    /// What of the key's scopes it has.
    pub fn scopes(&self) -> Scopes {
        Scopes(self.scopes)
    }
}

/// What one key could do that the key which makes or changes it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeds {
    /// Something that the maker may not do.
    #[error("it has scopes that yours lacks")]
    Scopes,
    /// The things of other tenants.
    #[error("it is not bound to the tenant that yours is bound to")]
    Tenant,
    /// It is good for longer.
    #[error("it ends later than yours")]
    End,
    /// It may be used from elsewhere.
    #[error("it may be used from networks that yours may not be used from")]
    Networks,
    /// It may ask more often.
    #[error("it may make more requests a second than yours")]
    Rate,
}

impl ApiKey {
    /// No more than its maker: the one rule for whoever makes a key, gives it a
    /// new secret, changes or ends it. Who holds `maker` could otherwise do more
    /// through `self`, or take from its owner what is not theirs.
    pub fn check_within(&self, maker: &Self) -> Result<(), Exceeds> {
        if !self.scopes.within(maker.scopes) {
            return Err(Exceeds::Scopes);
        }
        if maker.tenant.is_some() && self.tenant != maker.tenant {
            return Err(Exceeds::Tenant);
        }
        if maker.expires_at.is_some_and(|end| self.expires_at.is_none_or(|own| own > end)) {
            return Err(Exceeds::End);
        }
        let inside = |net: &IpNet| maker.allowed_networks.iter().any(|outer| outer.contains(net));
        let anywhere = self.allowed_networks.is_empty();
        if !maker.allowed_networks.is_empty() && (anywhere || !self.allowed_networks.iter().all(inside)) {
            return Err(Exceeds::Networks);
        }
        if maker.rate_limit.is_some_and(|most| self.rate_limit.is_none_or(|own| own > most)) {
            return Err(Exceeds::Rate);
        }
        Ok(())
    }

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
    fn a_scope_allows_what_it_contains_and_is_still_the_only_one_named() {
        for (outer, inner) in CONTAINED {
            let set: Scopes = [outer].into_iter().collect();
            let contained: Scopes = [inner].into_iter().collect();
            assert!(set.allow(inner) && !contained.allow(outer), "{}", outer.as_str());
            assert!(contained.within(set) && !set.within(contained));
            assert_eq!(contained.and(set), contained);
            assert_eq!(set.names(), [outer.as_str()]);
        }
    }

    #[test]
    fn a_key_is_no_more_than_its_maker_in_any_respect() {
        let net = |text: &str| text.parse::<IpNet>().expect("a network");
        let maker = ApiKey {
            id: KeyId(uuid::Uuid::from_u128(1)),
            project: ProjectId(uuid::Uuid::from_u128(2)),
            name: "maker".to_owned(),
            scopes: "keys:write events:write".parse().expect("scopes"),
            tenant: Some(TenantId(uuid::Uuid::from_u128(3))),
            expires_at: Some(Timestamp::from_secs(1_000)),
            allowed_networks: vec![net("10.0.0.0/8"), net("2001:db8::/32")],
            rate_limit: NonZeroU32::new(10),
            created_by: None,
            last_use: None,
            created_at: Timestamp::from_secs(0),
            updated_at: Timestamp::from_secs(0),
        };
        assert_eq!(maker.check_within(&maker), Ok(()));
        let narrower = ApiKey {
            scopes: "events:write".parse().expect("scopes"),
            expires_at: Some(Timestamp::from_secs(999)),
            allowed_networks: vec![net("10.1.0.0/16")],
            ..maker.clone()
        };
        assert_eq!(narrower.check_within(&maker), Ok(()));
        assert!(maker.check_within(&narrower).is_err());
        let other = ApiKey { scopes: Scopes::everything(), ..maker.clone() };
        assert_eq!(other.check_within(&maker), Err(Exceeds::Scopes));
        for tenant in [None, Some(TenantId(uuid::Uuid::from_u128(4)))] {
            let other = ApiKey { tenant, ..maker.clone() };
            assert_eq!(other.check_within(&maker), Err(Exceeds::Tenant));
        }
        for expires_at in [None, Some(Timestamp::from_secs(1_001))] {
            let other = ApiKey { expires_at, ..maker.clone() };
            assert_eq!(other.check_within(&maker), Err(Exceeds::End));
        }
        for networks in [vec![], vec![net("0.0.0.0/0")], vec![net("10.0.0.0/8"), net("11.0.0.1/32")]] {
            let other = ApiKey { allowed_networks: networks, ..maker.clone() };
            assert_eq!(other.check_within(&maker), Err(Exceeds::Networks));
        }
        for rate_limit in [None, NonZeroU32::new(11)] {
            let other = ApiKey { rate_limit, ..maker.clone() };
            assert_eq!(other.check_within(&maker), Err(Exceeds::Rate));
        }
        let unbound = ApiKey {
            tenant: None,
            expires_at: None,
            allowed_networks: Vec::new(),
            rate_limit: None,
            ..maker.clone()
        };
        assert_eq!(maker.check_within(&unbound), Ok(()));
    }

    #[test]
    fn a_token_is_told_from_other_texts_by_its_form_and_checksum() {
        for kind in [TokenKind::ApiKey, TokenKind::Portal, TokenKind::PortalCode] {
            let token = Token::generate(kind, &SeededEntropy::new(1));
            assert!(is_whole(kind, token.reveal()));
            let (most, last) = token.reveal().split_at(token.reveal().len() - 1);
            let other = if last == "0" { "1" } else { "0" };
            for broken in [most.to_owned(), format!("{most}{other}"), token.reveal().replacen("ph", "qh", 1)]
            {
                assert!(!is_whole(kind, &broken), "{broken}");
            }
        }
        // As they were before.
        assert!(is_whole(TokenKind::ApiKey, &format!("phk_{}", "0".repeat(64))));
        for broken in
            ["", "phk_", "phk_00", &format!("phk_{}", "z".repeat(64)), &format!("phk_{}é", "0".repeat(62))]
        {
            assert!(!is_whole(TokenKind::ApiKey, broken), "{broken}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_never_shows_in_logs() {
        let token = Token::generate(TokenKind::ApiKey, &SeededEntropy::new(1));
        assert_eq!(token.reveal().len(), 4 + DIGITS + CHECKSUM);
        assert_eq!(hash_token(token.reveal()), token.hash());
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
