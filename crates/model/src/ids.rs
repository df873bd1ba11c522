//! Ids: a prefix and a UUIDv7 in 26 lower-case Crockford base-32 characters.
//!
//! This is the [TypeID] form. The prefix says what kind of thing an id names,
//! so that a delivery id pasted where an event id belongs is refused instead
//! of not being found. UUIDv7 makes ids sort by the time they were made.
//!
//! [TypeID]: https://github.com/jetify-com/typeid/tree/main/spec

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::entropy::Entropy;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ENCODED_LEN: usize = 26;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The prefix is missing or belongs to another kind of thing.
    #[error("expected an id that starts with \"{expected}_\"")]
    Prefix {
        /// The prefix that was wanted, without the underscore.
        expected: &'static str,
    },
    /// What follows the prefix is not 26 lower-case base-32 characters.
    #[error("expected 26 lower-case base-32 characters after the prefix")]
    Encoding,
}

/// Writes the 26 characters.
fn encode(uuid: Uuid, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut value = uuid.as_u128();
    let mut text = [0; ENCODED_LEN];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
    f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

fn decode(text: &str) -> Result<Uuid, InvalidId> {
    let bytes = text.as_bytes();
    // 26 characters carry 130 bits: the first may only use its lowest three.
    if bytes.len() != ENCODED_LEN || bytes[0] > b'7' {
        return Err(InvalidId::Encoding);
    }
    let mut value: u128 = 0;
    for byte in bytes {
        let digit = ALPHABET.iter().position(|c| c == byte).ok_or(InvalidId::Encoding)?;
        value = (value << 5) | digit as u128;
    }
    Ok(Uuid::from_u128(value))
}

/// A kind of id.
pub trait Id {
    /// The next id of `source` at the time `now`.
    fn next(source: &IdSource, now: Timestamp, entropy: &dyn Entropy) -> Self;
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What an id of this kind starts with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// The 16 bytes that a store keeps.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl Id for $name {
            fn next(source: &IdSource, now: Timestamp, entropy: &dyn Entropy) -> Self {
                Self(source.next(now, entropy))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                encode(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let rest = text
                    .strip_prefix(concat!($prefix, "_"))
                    .ok_or(InvalidId::Prefix { expected: $prefix })?;
                decode(rest).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A project. Never shown: a key belongs to one project, so nobody has to name it.
    ProjectId, "prj"
);
id!(
    /// A tenant as the store knows it. Never shown: callers choose their own
    /// names, and a name used again after deletion is a new tenant.
    TenantId, "tnt"
);
id!(
    /// An endpoint.
    EndpointId, "ep"
);
id!(
    /// An event.
    EventId, "evt"
);
id!(
    /// A delivery: one event on its way to one endpoint.
    DeliveryId, "dlv"
);
id!(
    /// One HTTP request made for a delivery.
    AttemptId, "att"
);
id!(
    /// A replay: a job that sends many past deliveries again.
    ReplayId, "rpl"
);
id!(
    /// An event that waits because its data does not fit its schema.
    QuarantineId, "qua"
);
id!(
    /// An API key.
    KeyId, "key"
);
id!(
    /// An erasure: the removal of what was kept of a tenant or a subject.
    ErasureId, "era"
);
id!(
    /// An entry of the audit log.
    AuditId, "aud"
);
id!(
    /// A portal session: a customer's, in the portal or in a product's own page.
    PortalSessionId, "ses"
);
id!(
    /// A running process of Posthorn, as the owner of lanes.
    ProcessId, "prc"
);

/// Below all ids that are made at this time or later, and above those before it.
pub fn first_at(time: Timestamp) -> Uuid {
    Uuid::from_u128((time.as_millis().max(0) as u128) << 80)
}

/// Makes UUIDv7s that grow with every call, also within a millisecond and
/// when the clock is set back.
///
/// Ids that grow in the order in which a single writer commits rows make the
/// id a cursor that never skips a row.
#[derive(Debug, Default)]
pub struct IdSource {
    last: Mutex<u128>,
}

impl IdSource {
    /// A source that knows of no earlier id.
    pub fn new() -> Self {
        Self::default()
    }

    fn next(&self, now: Timestamp, entropy: &dyn Entropy) -> Uuid {
        let mut random = [0; 10];
        entropy.fill(&mut random);
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        let fresh = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let next = if fresh.as_u128() > *last { fresh } else { successor(*last, &random) };
        *last = next.as_u128();
        next
    }
}

/// A UUIDv7 a random step above `last`, in the same millisecond for as long
/// as that has room, else in the next one.
fn successor(last: u128, random: &[u8; 10]) -> Uuid {
    const RANDOM_BITS: u32 = 74;
    let step = u128::from(u32::from_be_bytes([random[0], random[1], random[2], random[3]])) + 1;
    let millis = last >> 80;
    // The 74 free bits, with the version and variant bits cut out.
    let free = (((last >> 64) & 0xfff) << 62) | (last & ((1 << 62) - 1));
    let (millis, free) = match free + step {
        sum if sum >> RANDOM_BITS == 0 => (millis, sum),
        sum => (millis + 1, sum & ((1 << RANDOM_BITS) - 1)),
    };
    let value = (millis << 80) | (7 << 76) | ((free >> 62) << 64) | (0b10 << 62) | (free & ((1 << 62) - 1));
    Uuid::from_u128(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn the_text_of_an_id_follows_the_typeid_specification() {
        // From the specification's list of valid ids.
        let uuid = Uuid::parse_str("01890a5d-ac96-774b-bcce-b302099a8057").expect("a UUID");
        assert_eq!(EventId(uuid).to_string(), "evt_01h455vb4pex5vsknk084sn02q");
        assert_eq!("evt_01h455vb4pex5vsknk084sn02q".parse(), Ok(EventId(uuid)));
    }

    #[test]
    fn an_id_of_another_kind_or_a_broken_one_is_refused() {
        let id = "dlv_01h455vb4pex5vsknk084sn02q";
        assert_eq!(id.parse::<EventId>(), Err(InvalidId::Prefix { expected: "evt" }));
        for broken in [
            "evt_",
            "evt_01H455VB4PEX5VSKNK084SN02Q",
            "evt_81h455vb4pex5vsknk084sn02q",
            "evt_01h455vb4pex5vsknk084sn02",
            "evt_01h455vb4pex5vsknk084sn02i",
        ] {
            assert_eq!(broken.parse::<EventId>(), Err(InvalidId::Encoding), "{broken}");
        }
    }

    #[test]
    fn ids_grow_within_a_millisecond_and_when_the_clock_goes_back() {
        let (source, entropy) = (IdSource::new(), SeededEntropy::new(1));
        let mut last = EventId(Uuid::nil());
        for millis in [1_000_000, 1_000_000, 1_000_000, 999_000, 1_000_001] {
            let next = EventId::next(&source, Timestamp::from_millis(millis), &entropy);
            assert!(next > last, "{next} does not come after {last}");
            assert_eq!(next.0.get_version_num(), 7);
            last = next;
        }
    }

    #[test]
    fn a_full_millisecond_runs_over_into_the_next_one() {
        let last = (5_u128 << 80) | (7 << 76) | (0xfff << 64) | (0b10 << 62) | ((1 << 62) - 1);
        let next = successor(last, &[0; 10]);
        assert!(next.as_u128() > last);
        assert_eq!(next.as_u128() >> 80, 6);
    }

    proptest! {
        #[test]
        fn every_uuid_survives_the_way_through_text(value: u128) {
            let id = DeliveryId(Uuid::from_u128(value));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
