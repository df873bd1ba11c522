//! The catalogue: event types, the versions of their schemas, and which
//! version an endpoint gets.

mod pins;
mod save;

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::downgrade::{AtSunset, Downgrade};
use crate::event_type::EventType;
use crate::ids::ProjectId;
use crate::schema::{Fault, Schema};

pub use pins::{PinnedBy, wants};
pub use save::{Saved, WantedSchema, WantedType, save};

/// How many event types a project may have.
pub const MAX_TYPES: usize = 1_000;
/// How many versions an event type may have.
pub const MAX_VERSIONS: u32 = 100;
/// The greatest size budget, in bytes.
pub const MAX_BUDGET: u32 = 64 * 1024 * 1024;
/// The longest description or changelog, in bytes.
pub const MAX_WORDS: usize = 4_000;
/// How many days before a version goes its dependents are told.
pub const NOTICES: [i64; 4] = [90, 30, 7, 1];

crate::words!(
    /// How a version stands.
    VersionStatus {
        /// It is in use.
        Active = "active" = 0,
        /// It goes at its sunset.
        Deprecated = "deprecated" = 1,
        /// It is gone: nothing is published or delivered in it any more.
        Retired = "retired" = 2,
    }
);

crate::words!(
    /// What a version is to the one before it.
    Relation {
        /// There is none before it.
        First = "first" = 0,
        /// Its data is data of the one before, too.
        Compatible = "compatible" = 1,
        /// Its data becomes data of the one before by its downgrade.
        Downgrade = "downgrade" = 2,
        /// Its data says nothing to those who want the one before.
        Breaking = "breaking" = 3,
    }
);

/// A version of an event type's schema.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its number, from 1 without gaps.
    pub number: u32,
    /// What its data looks like.
    pub schema: Arc<Schema>,
    /// Data as it may be: the text of a JSON object.
    pub example: Option<String>,
    /// What changed, for people.
    pub changelog: String,
    /// How it stands.
    pub status: VersionStatus,
    /// Since when it is deprecated.
    pub deprecated_at: Option<Timestamp>,
    /// When it goes.
    pub sunset_at: Option<Timestamp>,
    /// The version that those who were pinned to it get since it went.
    pub successor: Option<u32>,
    /// How its data becomes data of the one before.
    pub downgrade: Option<Arc<Downgrade>>,
    /// What it is to the one before.
    pub relation: Relation,
    /// How many of the notices before its sunset were sent.
    pub told: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Version {
    /// A version that says nothing but its schema, made now; with nothing before it,
    /// until it is related to that.
    pub fn new(number: u32, schema: Arc<Schema>, now: Timestamp) -> Self {
        Self {
            number,
            schema,
            example: None,
            changelog: String::new(),
            status: VersionStatus::Active,
            deprecated_at: None,
            sunset_at: None,
            successor: None,
            downgrade: None,
            relation: Relation::First,
            told: 0,
            created_at: now,
            updated_at: now,
        }
    }

    /// Its data in the version before, if there is a way.
    fn step_down(&self, data: &str) -> Option<Result<String, serde_json::Error>> {
        match self.relation {
            Relation::Compatible => Some(Ok(data.to_owned())),
            Relation::Downgrade => self.downgrade.as_ref().map(|downgrade| downgrade.apply(data)),
            Relation::First | Relation::Breaking => None,
        }
    }

    /// Whether endpoints that are pinned to the version before get this one
    /// when that goes.
    fn takes_over(&self) -> bool {
        match self.relation {
            Relation::Compatible => true,
            Relation::Downgrade => {
                self.downgrade.as_ref().is_some_and(|downgrade| downgrade.at_sunset() == AtSunset::MoveUp)
            }
            Relation::First | Relation::Breaking => false,
        }
    }

    /// How many of the notices before its sunset are due at `now`.
    pub fn notices_due(&self, now: Timestamp) -> u32 {
        let Some(sunset) = self.sunset_at.filter(|_| self.status == VersionStatus::Deprecated) else {
            return 0;
        };
        let days = |days: i64| std::time::Duration::from_secs(days as u64 * 24 * 60 * 60);
        NOTICES.iter().filter(|notice| sunset.minus(days(**notice)) <= now).count() as u32
    }
}

/// An event type with its versions.
#[derive(Debug, Clone)]
pub struct EventTypeEntry {
    /// The project.
    pub project: ProjectId,
    /// Its name.
    pub name: EventType,
    /// For people.
    pub description: String,
    /// How many bytes of data its events should have at most.
    pub size_budget: Option<u32>,
    /// Its versions, from 1 on.
    pub versions: Vec<Version>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it or one of its versions last changed.
    pub updated_at: Timestamp,
}

impl EventTypeEntry {
    /// A version by its number.
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// The newest active version; the newest that is not retired if none is active.
    pub fn newest(&self) -> Option<&Version> {
        let with = |status| self.versions.iter().rev().find(move |version| version.status == status);
        with(VersionStatus::Active).or_else(|| with(VersionStatus::Deprecated))
    }

    /// Data of one version as data of an older one, unchecked: for showing it
    /// with parts masked.
    pub fn lowered(&self, data: &str, from: u32, to: u32) -> Result<String, Vec<Fault>> {
        let none = || Fault {
            pointer: String::new(),
            detail: format!("cannot be converted from version {from} to {to}"),
        };
        let mut text = data.to_owned();
        for number in (to + 1..=from).rev() {
            let version = self.version(number).ok_or_else(|| vec![none()])?;
            let step = version.step_down(&text).ok_or_else(|| vec![none()])?;
            text = step.map_err(|error| vec![Fault { pointer: String::new(), detail: error.to_string() }])?;
        }
        Ok(text)
    }

    /// Data of one version as data of an older one, checked against its schema.
    pub fn downgraded(&self, data: &str, from: u32, to: u32) -> Result<String, Vec<Fault>> {
        let text = self.lowered(data, from, to)?;
        let missing = || Fault { pointer: String::new(), detail: format!("has no version {to}") };
        let target = self.version(to).ok_or_else(|| vec![missing()])?;
        let not_json = || vec![Fault { pointer: String::new(), detail: "is not JSON".to_owned() }];
        let value = crate::json::to_value(text.as_bytes()).ok_or_else(not_json)?;
        target.schema.validate(&value, text.len())?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    pub(super) fn at(day: i64) -> Timestamp {
        Timestamp::from_secs(day * DAY)
    }

    pub(super) fn version(number: u32, day: i64, relation: Relation) -> Version {
        let schema = Arc::new(Schema::from_stored("{}").expect("a schema"));
        Version {
            downgrade: (relation == Relation::Downgrade).then(|| {
                Arc::new(Downgrade::parse(&json!({ "steps": [{ "drop": "/new" }] })).expect("a downgrade"))
            }),
            relation,
            ..Version::new(number, schema, at(day))
        }
    }

    #[test]
    fn notices_are_due_ninety_thirty_seven_and_one_days_before_a_sunset() {
        let mut version = version(1, 1, Relation::First);
        version.sunset_at = Some(at(100));
        assert_eq!(version.notices_due(at(99)), 0, "only a deprecated version goes");
        version.status = VersionStatus::Deprecated;
        let due = [9, 10, 69, 70, 93, 99, 100].map(|day| version.notices_due(at(day)));
        assert_eq!(due, [0, 1, 1, 2, 3, 4, 4]);
    }
}
