//! Which version of a type an endpoint is pinned to, and which it gets.

use super::{EventTypeEntry, Relation, VersionStatus};
use crate::clock::Timestamp;
use crate::endpoint::NoMatch;
use crate::event_type::{EventType, Subscription, WantedVersion};

/// A subscription that pins its endpoint to a version of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedBy<'a> {
    /// The subscription.
    pub subscription: &'a Subscription,
    /// The version's number, which need not be there any more.
    pub number: u32,
}

/// In which version subscriptions select an event of a type that was published
/// in a version. An exact name beats a pattern; of several versions that are
/// wanted, the newest comes.
pub fn wants(
    subscriptions: &[Subscription],
    entry: Option<&EventTypeEntry>,
    event_type: &EventType,
    published: u32,
) -> Result<u32, NoMatch> {
    let mut best = Err(NoMatch::EventType);
    for subscription in deciding(subscriptions, event_type) {
        let version = match (entry, subscription.version()) {
            (Some(entry), wanted) => entry.delivers(wanted, subscription.since(), published),
            // Of a type that nobody declared, there is nothing but what comes.
            (None, WantedVersion::Pinned(version)) if version != published => Err(NoMatch::SchemaVersion),
            (None, _) => Ok(published),
        };
        best = match (best, version) {
            (Ok(best), Ok(version)) => Ok(version.max(best)),
            (Ok(best), Err(_)) => Ok(best),
            (Err(_), version) => version,
        };
    }
    best
}

/// The subscriptions that decide about a type: those that name it, or else
/// those whose pattern selects it.
fn deciding<'a>(
    subscriptions: &'a [Subscription],
    event_type: &'a EventType,
) -> impl Iterator<Item = &'a Subscription> {
    let selecting = move || subscriptions.iter().filter(move |one| one.selects(event_type));
    let exact = selecting().any(Subscription::is_exact);
    selecting().filter(move |one| one.is_exact() == exact)
}

impl EventTypeEntry {
    /// The pins that an endpoint with these subscriptions has on this type.
    pub fn pins<'a>(&'a self, subscriptions: &'a [Subscription]) -> impl Iterator<Item = PinnedBy<'a>> {
        deciding(subscriptions, &self.name).filter_map(|subscription| {
            let number = self.pin(subscription.version(), subscription.since())?;
            Some(PinnedBy { subscription, number })
        })
    }

    /// The version that a subscription is pinned to. `None` if it follows the
    /// newest. `since` is when it was made.
    fn pin(&self, wanted: WantedVersion, since: Timestamp) -> Option<u32> {
        match wanted {
            WantedVersion::Latest => None,
            WantedVersion::Pinned(number) => Some(number),
            WantedVersion::Unpinned => {
                // What was newest when both were there.
                let since = since.max(self.created_at);
                let known = self.versions.iter().rev().find(|version| version.created_at <= since);
                known.or(self.versions.first()).map(|version| version.number)
            }
        }
    }

    /// The version that stands for another since that was retired.
    fn standing_for(&self, mut number: u32) -> Result<u32, NoMatch> {
        // A successor has a greater number, so this ends.
        while let Some(version) = self.version(number)
            && version.status == VersionStatus::Retired
        {
            number = version.successor.filter(|next| *next > number).ok_or(NoMatch::VersionRetired)?;
        }
        Ok(number)
    }

    /// In which version a subscription gets an event that was published in `published`.
    pub fn delivers(&self, wanted: WantedVersion, since: Timestamp, published: u32) -> Result<u32, NoMatch> {
        let Some(pinned) = self.pin(wanted, since) else { return Ok(published) };
        let wanted = self.standing_for(pinned)?;
        match wanted <= published && self.has_way_down(published, wanted) {
            true => Ok(wanted),
            false => Err(NoMatch::SchemaVersion),
        }
    }

    /// Whether data of one version becomes data of an older one.
    fn has_way_down(&self, from: u32, to: u32) -> bool {
        (to + 1..=from).all(|number| {
            self.version(number)
                .is_some_and(|version| matches!(version.relation, Relation::Compatible | Relation::Downgrade))
        })
    }

    /// The version that those who are pinned to `number` really get when it is
    /// retired: the next one may be retired, too.
    pub fn followed_by(&self, number: u32) -> Option<u32> {
        let next = match self.version(number)?.status {
            VersionStatus::Retired => self.version(number)?.successor,
            VersionStatus::Active | VersionStatus::Deprecated => self.successor_of(number),
        };
        self.standing_for(next?).ok()
    }

    /// The version that those who are pinned to `number` get when it is retired.
    pub fn successor_of(&self, number: u32) -> Option<u32> {
        let next = self.version(number + 1)?;
        next.takes_over().then_some(next.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Version;
    use crate::catalogue::tests::{at, version};
    use crate::ids::ProjectId;

    fn entry(versions: Vec<Version>) -> EventTypeEntry {
        EventTypeEntry {
            project: ProjectId(uuid::Uuid::nil()),
            name: EventType::parse("invoice.paid").expect("a type"),
            description: String::new(),
            size_budget: None,
            created_at: versions[0].created_at,
            updated_at: versions[0].created_at,
            versions,
        }
    }

    #[test]
    fn a_plain_name_is_pinned_to_what_was_newest_when_endpoint_and_type_were_there() {
        let entry = entry(vec![
            version(1, 10, Relation::First),
            version(2, 20, Relation::Compatible),
            version(3, 30, Relation::Downgrade),
        ]);
        let pin = |day| entry.pin(WantedVersion::Unpinned, at(day));
        assert_eq!([pin(5), pin(10), pin(19), pin(20), pin(99)], [1, 1, 1, 2, 3].map(Some));
        assert_eq!(entry.pin(WantedVersion::Latest, at(5)), None);
        assert_eq!(entry.pin(WantedVersion::Pinned(7), at(5)), Some(7));
    }

    #[test]
    fn an_event_comes_in_the_pinned_version_where_there_is_a_way_down() {
        let entry = entry(vec![
            version(1, 1, Relation::First),
            version(2, 1, Relation::Breaking),
            version(3, 1, Relation::Downgrade),
            version(4, 1, Relation::Compatible),
        ]);
        let delivers = |wanted, published| entry.delivers(wanted, at(1), published);
        assert_eq!(delivers(WantedVersion::Pinned(2), 4), Ok(2));
        assert_eq!(delivers(WantedVersion::Pinned(1), 4), Err(NoMatch::SchemaVersion));
        assert_eq!(delivers(WantedVersion::Pinned(3), 2), Err(NoMatch::SchemaVersion));
        assert_eq!(delivers(WantedVersion::Pinned(9), 4), Err(NoMatch::SchemaVersion));
        assert_eq!(delivers(WantedVersion::Latest, 2), Ok(2));
        assert_eq!(entry.downgraded(r#"{"new":1,"old":1.0}"#, 4, 2), Ok(r#"{"old":1.0}"#.to_owned()));
    }

    #[test]
    fn those_who_were_pinned_to_a_retired_version_move_up_or_are_told_why_not() {
        let mut entry = entry(vec![
            version(1, 1, Relation::First),
            version(2, 1, Relation::Compatible),
            version(3, 1, Relation::Downgrade),
        ]);
        assert_eq!([1, 2, 3].map(|number| entry.successor_of(number)), [Some(2), None, None]);
        for number in [1, 2] {
            let successor = entry.successor_of(number);
            let version = &mut entry.versions[number as usize - 1];
            (version.status, version.successor) = (VersionStatus::Retired, successor);
        }
        let delivers = |wanted| entry.delivers(wanted, at(1), 3);
        assert_eq!(delivers(WantedVersion::Pinned(1)), Err(NoMatch::VersionRetired));
        entry.versions[1].successor = Some(3);
        assert_eq!(entry.delivers(WantedVersion::Pinned(1), at(1), 3), Ok(3));
    }
}
