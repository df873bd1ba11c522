//! Events that wait because their data does not fit its schema.

use serde::{Deserialize, Serialize};

crate::words!(
    /// What has become of an event in quarantine.
    QuarantineState {
        /// It waits.
        Held = "held" = 0,
        /// It was published after all.
        Released = "released" = 1,
        /// It was given up.
        Dropped = "dropped" = 2,
    }
);

/// All of an event in quarantine but its data, as it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedEvent {
    /// What happened.
    pub event_type: String,
    /// The version of its schema that it did not fit.
    pub schema_version: u32,
    /// Whether the publisher named the version.
    pub version_named: bool,
    /// The object that it happened to.
    pub subject: String,
    /// The object's revision.
    pub revision: Option<u64>,
    /// When it happened, in microseconds since 1970.
    pub occurred_at: Option<i64>,
    /// Its ordering key, if it is not the subject.
    pub ordering_key: Option<String>,
    /// For filters and lists.
    pub labels: Vec<(String, String)>,
}
