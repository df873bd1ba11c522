//! Endpoints: where a tenant wants to be called, and how.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::calls::CallOptions;
use crate::catalogue::{EventTypeEntry, wants};
use crate::clock::Timestamp;
use crate::event_type::{EventType, Subscription};
use crate::ids::{EndpointId, ProjectId, TenantId};
use crate::payload::PayloadMode;
use crate::secret::SigningSecret;

/// Most subscriptions an endpoint may have.
pub const MAX_SUBSCRIPTIONS: usize = 100;
/// How long an attempt may take unless the endpoint says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// The timeouts that an endpoint may choose, in seconds.
pub const TIMEOUT_SECS: std::ops::RangeInclusive<u64> = 1..=30;
/// How long a new secret signs beside the old one, unless said otherwise.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest overlap of two secrets.
pub const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

crate::words!(
    /// Whether an endpoint is called.
    EndpointStatus, by default Enabled {
        /// It is called.
        Enabled = "enabled",
        /// It gets new deliveries, and all are held.
        Paused = "paused",
        /// It gets no new deliveries, and what waits is held.
        Disabled = "disabled",
    }
);

/// A signing secret and until when it signs.
#[derive(Debug, Clone)]
pub struct ActiveSecret {
    /// The secret.
    pub secret: SigningSecret,
    /// `None` for the one that stays.
    pub expires_at: Option<Timestamp>,
}

/// A custom header. Its value is write-only.
#[derive(Debug, Clone)]
pub struct CustomHeader {
    /// In lower case.
    pub name: String,
    /// The value.
    pub value: SecretString,
}

/// What calls to an endpoint need beside the signature.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The secret of its OAuth client.
    pub oauth_secret: Option<SecretString>,
    /// The certificate with which calls say who they are, and its key: PEM.
    pub client_certificate: Option<ClientCertificate>,
}

/// A client certificate (mutual TLS) and its key, as PEM.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate, and those that sign it.
    pub chain: String,
    /// The key.
    pub key: SecretString,
}

/// A URL that a tenant registered.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The project.
    pub project: ProjectId,
    /// The tenant.
    pub tenant: TenantId,
    /// Where it is called.
    pub url: Url,
    /// For people.
    pub description: String,
    /// Which events it wants.
    pub subscriptions: Vec<Subscription>,
    /// How much of them it gets.
    pub payload: PayloadMode,
    /// Sent with every call.
    pub headers: Vec<CustomHeader>,
    /// How long an attempt may take, if it says so itself.
    pub timeout: Option<Duration>,
    /// How it wants to be called.
    pub calls: CallOptions,
    /// What calls need beside the signature: to be kept as secrets are.
    pub credentials: Credentials,
    /// Whether it is called.
    pub status: EndpointStatus,
    /// Why it is disabled, when Posthorn did it.
    pub disabled_reason: Option<String>,
    /// Since when it may have missed events, because it was disabled and nobody
    /// has replayed them.
    pub missed_since: Option<Timestamp>,
    /// The caller's own notes: the text of a JSON object.
    pub metadata: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

crate::words!(
    /// Why an endpoint did not get an event.
    NoMatch {
        /// None of its subscriptions selects the type.
        EventType = "event_type",
        /// It is pinned to another version of the type.
        SchemaVersion = "schema_version",
        /// It is pinned to a version that was retired.
        VersionRetired = "version_retired",
        /// It is pinned to an older version, and this event's data could not be
        /// given in it.
        DowngradeFailed = "downgrade_failed",
        /// It is disabled.
        Disabled = "disabled",
        /// Its filter says no.
        Filter = "filter",
    }
);

impl Endpoint {
    /// In which version this endpoint gets an event, before its filter.
    /// `entry` is what the catalogue says of the type.
    pub fn wants(
        &self,
        entry: Option<&EventTypeEntry>,
        event_type: &EventType,
        published: u32,
    ) -> Result<u32, NoMatch> {
        if self.status == EndpointStatus::Disabled {
            return Err(NoMatch::Disabled);
        }
        wants(&self.subscriptions, entry, event_type, published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn endpoint(subscriptions: &[&str]) -> Endpoint {
        Endpoint {
            id: EndpointId(Uuid::nil()),
            project: ProjectId(Uuid::nil()),
            tenant: TenantId(Uuid::nil()),
            url: "https://example.com/".parse().expect("a URL"),
            description: String::new(),
            subscriptions: subscriptions.iter().map(|text| text.parse().expect("a subscription")).collect(),
            payload: PayloadMode::Full,
            headers: Vec::new(),
            timeout: None,
            calls: CallOptions::default(),
            credentials: Credentials::default(),
            status: EndpointStatus::Enabled,
            disabled_reason: None,
            missed_since: None,
            metadata: "{}".to_owned(),
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn a_pinned_endpoint_gets_its_version_alone_and_an_exact_name_beats_a_pattern() {
        let paid = EventType::parse("invoice.paid").expect("a type");
        let sent = EventType::parse("invoice.sent").expect("a type");
        let endpoint = endpoint(&["invoice.*@2", "invoice.paid@1"]);
        assert_eq!(endpoint.wants(None, &paid, 1), Ok(1));
        assert_eq!(endpoint.wants(None, &paid, 2), Err(NoMatch::SchemaVersion));
        assert_eq!(endpoint.wants(None, &sent, 2), Ok(2));
        assert_eq!(endpoint.wants(None, &sent, 1), Err(NoMatch::SchemaVersion));
        assert_eq!(
            endpoint.wants(None, &EventType::parse("order.paid").expect("a type"), 1),
            Err(NoMatch::EventType)
        );
    }
}
