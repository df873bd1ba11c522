//! What the platform publishes about itself.
//!
//! Operational events belong to a tenant that no caller can name, and whose
//! endpoints are never the subject of one: so no loop can come about.

use crate::event_type::EventType;
use crate::names::TenantHandle;

/// What the handle of every tenant of the platform's own begins with.
const RESERVED: &str = "posthorn:";

/// The handle of the tenant to which operational events belong.
pub fn handle() -> TenantHandle {
    TenantHandle::parse("posthorn:operations").expect("a handle")
}

/// Whether a handle is the platform's own.
pub fn is_reserved(handle: &TenantHandle) -> bool {
    handle.as_str().starts_with(RESERVED)
}

/// Something that operators should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// An endpoint was disabled because of its answers.
    EndpointDisabled,
    /// An endpoint has only failed for a while.
    EndpointWarning,
    /// The breaker of an endpoint has opened.
    BreakerOpened,
    /// The breaker of an endpoint is closed again.
    BreakerClosed,
    /// A delivery was given up.
    DeliveryFailed,
    /// A version of an event type goes soon.
    VersionSunset,
    /// A version of an event type is gone.
    VersionRetired,
    /// Two machines are asked for, there was one, and nothing was acknowledged.
    DurabilityDegraded,
    /// There are two again.
    DurabilityRestored,
}

impl Operation {
    /// The type of its event.
    pub fn event_type(self) -> EventType {
        let name = match self {
            Self::EndpointDisabled => "endpoint.disabled",
            Self::EndpointWarning => "endpoint.warning",
            Self::BreakerOpened => "breaker.opened",
            Self::BreakerClosed => "breaker.closed",
            Self::DeliveryFailed => "delivery.failed",
            Self::VersionSunset => "event_type.sunset",
            Self::VersionRetired => "event_type.retired",
            Self::DurabilityDegraded => "durability.degraded",
            Self::DurabilityRestored => "durability.restored",
        };
        EventType::parse(name).expect("a type")
    }
}
