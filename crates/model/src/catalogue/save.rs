//! Changes of the catalogue, checked before they are made.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{EventTypeEntry, MAX_BUDGET, MAX_VERSIONS, MAX_WORDS, Relation, Version, VersionStatus};
use crate::clock::Timestamp;
use crate::downgrade::Downgrade;
use crate::event_type::EventType;
use crate::ids::ProjectId;
use crate::json;
use crate::schema::{Break, Fault, MAX_TEXT, Reasoner, Schema};

/// An event type as it is to be. What is not given stays.
#[derive(Debug, Clone, Default)]
pub struct WantedType {
    /// For people.
    pub description: Option<String>,
    /// How many bytes of data its events should have at most.
    pub size_budget: Option<Option<u32>>,
    /// Versions that are new or change, with their numbers ascending.
    pub versions: Vec<WantedSchema>,
}

/// A version as it is to be. What is not given stays.
#[derive(Debug, Clone, Default)]
pub struct WantedSchema {
    /// Its number; the next one if not given.
    pub number: Option<u32>,
    /// The text of its schema.
    pub schema: Option<String>,
    /// The text of an example.
    pub example: Option<Option<String>>,
    /// What changed.
    pub changelog: Option<String>,
    /// How it stands.
    pub status: Option<VersionStatus>,
    /// When it goes.
    pub sunset_at: Option<Option<Timestamp>>,
    /// How its data becomes data of the one before.
    pub downgrade: Option<Option<Value>>,
}

/// A type as it is after a change, and what there is to say of it.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The type.
    pub entry: EventTypeEntry,
    /// Whether there was none of its name before.
    pub is_new: bool,
    /// The numbers of the versions that are new.
    pub created: Vec<u32>,
    /// The numbers of the versions that changed.
    pub changed: Vec<u32>,
    /// Whether the type itself is new or changed.
    pub type_changed: bool,
    /// What could not be told, or could be better.
    pub warnings: Vec<Fault>,
    /// What breaks between a version and the one before, where there is no
    /// downgrade, by the number of the version.
    pub breaks: BTreeMap<u32, Vec<Break>>,
}

/// Checks a change of a type, or a new type. Faults point into the versions by
/// their places: `/versions/0/schema/properties/total`.
pub fn save(
    (project, name): (ProjectId, &EventType),
    before: Option<&EventTypeEntry>,
    wanted: &WantedType,
    now: Timestamp,
    reasoner: &dyn Reasoner,
) -> Result<Saved, Vec<Fault>> {
    let mut entry = before.cloned().unwrap_or_else(|| EventTypeEntry {
        project,
        name: name.clone(),
        description: String::new(),
        size_budget: None,
        versions: Vec::new(),
        created_at: now,
        updated_at: now,
    });
    let mut faults = Vec::new();
    if let Some(description) = &wanted.description {
        faults.extend(check_words("/description", description));
        entry.description.clone_from(description);
    }
    if let Some(budget) = wanted.size_budget {
        if budget.is_some_and(|budget| budget > MAX_BUDGET) {
            faults.push(fault("/size_budget_bytes", format!("must be at most {MAX_BUDGET}")));
        }
        entry.size_budget = budget;
    }
    let type_changed = before.is_none_or(|before| {
        before.description != entry.description || before.size_budget != entry.size_budget
    });
    if type_changed {
        entry.updated_at = now;
    }
    let mut saved = Saved {
        entry,
        is_new: before.is_none(),
        created: Vec::new(),
        changed: Vec::new(),
        type_changed,
        warnings: Vec::new(),
        breaks: BTreeMap::new(),
    };
    for (place, version) in wanted.versions.iter().enumerate() {
        if let Err(found) = saved.version(version, now, reasoner) {
            let at = |one: Fault| Fault { pointer: format!("/versions/{place}{}", one.pointer), ..one };
            faults.extend(found.into_iter().map(at));
            break;
        }
    }
    // When all are there: one may go only if there is a newer one.
    for (place, wanted) in wanted.versions.iter().enumerate() {
        if !faults.is_empty() {
            break;
        }
        if let Err(found) = saved.stand(place, wanted, now) {
            let at = |one: Fault| Fault { pointer: format!("/versions/{place}{}", one.pointer), ..one };
            faults.extend(found.into_iter().map(at));
        }
    }
    if faults.is_empty() { Ok(saved) } else { Err(faults) }
}

/// What people write for people.
fn check_words(pointer: &str, words: &str) -> Option<Fault> {
    if words.len() > MAX_WORDS {
        return Some(fault(pointer, format!("is longer than {MAX_WORDS} bytes")));
    }
    words.contains('\0').then(|| fault(pointer, "has a character that cannot be stored: U+0000"))
}

fn fault(pointer: impl Into<String>, detail: impl Into<String>) -> Fault {
    Fault { pointer: pointer.into(), detail: detail.into() }
}

fn below(pointer: &'static str) -> impl Fn(Fault) -> Fault {
    move |one| Fault { pointer: format!("{pointer}{}", one.pointer), ..one }
}

impl Saved {
    fn version(
        &mut self,
        wanted: &WantedSchema,
        now: Timestamp,
        reasoner: &dyn Reasoner,
    ) -> Result<(), Vec<Fault>> {
        let next = self.entry.versions.len() as u32 + 1;
        let number = wanted.number.unwrap_or(next);
        if number == 0 || number > next {
            let detail = format!("the next version is {next}; numbers have no gaps");
            return Err(vec![fault("/number", detail)]);
        }
        if number > MAX_VERSIONS {
            return Err(vec![fault(
                "/number",
                format!("an event type can have at most {MAX_VERSIONS} versions"),
            )]);
        }
        let before = self.entry.version(number).cloned();
        let mut version = match &before {
            Some(before) => before.clone(),
            None => first_form(number, wanted, now, reasoner)?,
        };
        self.set_schema(&mut version, before.as_ref(), wanted, reasoner)?;
        self.set_words(&mut version, wanted)?;
        set_example(&mut version, wanted)?;
        if let Some(downgrade) = &wanted.downgrade {
            let parsed = downgrade.as_ref().map(Downgrade::parse).transpose();
            version.downgrade = parsed.map_err(|faults| with(faults, "/downgrade"))?.map(Arc::new);
        }
        self.relate(&mut version, reasoner)?;
        if before.as_ref().is_some_and(|before| is_same(before, &version)) {
            return Ok(());
        }
        version.updated_at = now;
        match before {
            Some(_) => {
                self.changed.push(number);
                self.entry.versions[number as usize - 1] = version;
                self.relate_next(number, reasoner)?;
            }
            None => {
                self.created.push(number);
                self.entry.versions.push(version);
            }
        }
        self.entry.updated_at = now;
        Ok(())
    }

    /// Sets how a version of the request stands.
    fn stand(&mut self, place: usize, wanted: &WantedSchema, now: Timestamp) -> Result<(), Vec<Fault>> {
        // Without a number, those that were made stand in their order.
        let without = || self.created.get(place).copied();
        let number = wanted.number.or_else(without);
        let Some(before) = number.and_then(|number| self.entry.version(number)).cloned() else {
            return Ok(());
        };
        let mut version = before.clone();
        self.set_status(&mut version, wanted, now)?;
        if is_same(&before, &version) {
            return Ok(());
        }
        (version.updated_at, self.entry.updated_at) = (now, now);
        let number = version.number;
        if !self.created.contains(&number) && !self.changed.contains(&number) {
            self.changed.push(number);
        }
        self.entry.versions[number as usize - 1] = version;
        Ok(())
    }

    fn set_schema(
        &self,
        version: &mut Version,
        before: Option<&Version>,
        wanted: &WantedSchema,
        reasoner: &dyn Reasoner,
    ) -> Result<(), Vec<Fault>> {
        let Some(text) = &wanted.schema else { return Ok(()) };
        let Some(before) = before else { return Ok(()) };
        if before.schema.text() == text {
            return Ok(());
        }
        if before.status == VersionStatus::Retired {
            return Err(vec![fault("/schema", "cannot change: the version is retired")]);
        }
        let schema = parse_schema(text, reasoner)?;
        let breaks = before.schema.breaks(&schema, reasoner);
        if !breaks.is_empty() {
            let next = self.entry.versions.len() + 1;
            let told = |one: crate::schema::Break| {
                let detail = format!("{}; make it version {next}", one.detail);
                fault(format!("/schema{}", one.pointer), detail)
            };
            return Err(breaks.into_iter().map(told).collect());
        }
        version.schema = Arc::new(schema);
        Ok(())
    }

    fn set_words(&self, version: &mut Version, wanted: &WantedSchema) -> Result<(), Vec<Fault>> {
        if let Some(changelog) = &wanted.changelog {
            if let Some(fault) = check_words("/changelog", changelog) {
                return Err(vec![fault]);
            }
            version.changelog.clone_from(changelog);
        }
        Ok(())
    }

    /// What a version is to the one before it.
    fn relate(&mut self, version: &mut Version, reasoner: &dyn Reasoner) -> Result<(), Vec<Fault>> {
        let older = version.number.checked_sub(1).and_then(|number| self.entry.version(number));
        let Some(older) = older else {
            version.relation = Relation::First;
            return match version.downgrade {
                None => Ok(()),
                Some(_) => Err(vec![fault("/downgrade", "there is no version before this one")]),
            };
        };
        version.relation = match &version.downgrade {
            None => {
                let breaks = older.schema.breaks(&version.schema, reasoner);
                let relation = if breaks.is_empty() { Relation::Compatible } else { Relation::Breaking };
                self.breaks.insert(version.number, breaks);
                relation
            }
            Some(downgrade) => {
                let examples: Vec<Value> =
                    version.example.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
                let checked = downgrade.check(&older.schema, &version.schema, &examples, reasoner);
                if !checked.faults.is_empty() {
                    return Err(with(checked.faults, "/downgrade"));
                }
                let doubts = checked.doubts.into_iter().map(|doubt| {
                    fault("/downgrade", format!("{doubt}; each event is validated when it is published"))
                });
                self.warnings.extend(doubts);
                Relation::Downgrade
            }
        };
        Ok(())
    }

    /// A version that follows a changed one must be to it what it was.
    fn relate_next(&mut self, number: u32, reasoner: &dyn Reasoner) -> Result<(), Vec<Fault>> {
        let Some(mut next) = self.entry.version(number + 1).cloned() else { return Ok(()) };
        let was = next.relation;
        self.relate(&mut next, reasoner)?;
        if next.relation != was && was != Relation::Breaking {
            let detail = format!("version {} could no longer be converted to this one", next.number);
            return Err(vec![fault("/schema", detail)]);
        }
        let place = next.number as usize - 1;
        self.entry.versions[place] = next;
        Ok(())
    }

    fn set_status(
        &self,
        version: &mut Version,
        wanted: &WantedSchema,
        now: Timestamp,
    ) -> Result<(), Vec<Fault>> {
        if let Some(sunset_at) = wanted.sunset_at {
            if sunset_at != version.sunset_at {
                let goes = wanted.status.unwrap_or(version.status) != VersionStatus::Retired;
                if goes && sunset_at.is_some_and(|sunset| sunset <= now) {
                    return Err(vec![fault(
                        "/sunset_at",
                        "is in the past; those who depend on it must be told first",
                    )]);
                }
                // Those who depend on it are told anew.
                version.told = 0;
            }
            version.sunset_at = sunset_at;
        }
        let status = wanted.status.unwrap_or(version.status);
        let newer = self
            .entry
            .versions
            .iter()
            .any(|other| other.number > version.number && other.status != VersionStatus::Retired);
        let was = version.status;
        match status {
            VersionStatus::Active => {
                if version.sunset_at.is_some() {
                    let detail = "requires the status deprecated; an active version has no sunset";
                    return Err(vec![fault("/sunset_at", detail)]);
                }
                (version.deprecated_at, version.successor, version.told) = (None, None, 0);
            }
            VersionStatus::Deprecated | VersionStatus::Retired if !newer => {
                let detail = "there is no newer version to move to; create one first";
                return Err(vec![fault("/status", detail)]);
            }
            VersionStatus::Deprecated => {
                version.deprecated_at = version.deprecated_at.or(Some(now));
                version.successor = None;
            }
            VersionStatus::Retired if was != VersionStatus::Retired => {
                version.successor = self.entry.successor_of(version.number);
            }
            VersionStatus::Retired => {}
        }
        version.status = status;
        Ok(())
    }
}

fn with(faults: Vec<Fault>, pointer: &'static str) -> Vec<Fault> {
    faults.into_iter().map(below(pointer)).collect()
}

fn parse_schema(text: &str, reasoner: &dyn Reasoner) -> Result<Schema, Vec<Fault>> {
    if text.len() > MAX_TEXT {
        return Err(vec![fault("/schema", format!("is longer than {MAX_TEXT} bytes"))]);
    }
    json::check(text).map_err(|error| vec![fault("/schema", error.to_string())])?;
    Schema::parse(text, reasoner).map_err(|faults| with(faults, "/schema"))
}

fn first_form(
    number: u32,
    wanted: &WantedSchema,
    now: Timestamp,
    reasoner: &dyn Reasoner,
) -> Result<Version, Vec<Fault>> {
    let Some(text) = &wanted.schema else { return Err(vec![fault("/schema", "is required")]) };
    Ok(Version::new(number, Arc::new(parse_schema(text, reasoner)?), now))
}

fn set_example(version: &mut Version, wanted: &WantedSchema) -> Result<(), Vec<Fault>> {
    if let Some(example) = &wanted.example {
        version.example.clone_from(example);
    }
    let Some(text) = &version.example else { return Ok(()) };
    json::check(text).map_err(|error| vec![fault("/example", error.to_string())])?;
    let value: Value =
        serde_json::from_str(text).map_err(|error| vec![fault("/example", error.to_string())])?;
    if !value.is_object() {
        return Err(vec![fault("/example", "must be a JSON object")]);
    }
    version.schema.validate(&value, text.len()).map_err(|faults| with(faults, "/example"))
}

fn is_same(one: &Version, other: &Version) -> bool {
    one.schema == other.schema
        && one.example == other.example
        && one.changelog == other.changelog
        && one.status == other.status
        && one.sunset_at == other.sunset_at
        && one.downgrade.as_ref().map(|downgrade| downgrade.source())
            == other.downgrade.as_ref().map(|downgrade| downgrade.source())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::schema::Unhurried;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn number(kind: &str) -> String {
        json!({ "type": "object", "properties": { "total": { "type": kind } }, "required": ["total"] })
            .to_string()
    }

    fn version(schema: String) -> WantedSchema {
        WantedSchema { schema: Some(schema), ..WantedSchema::default() }
    }

    fn change(before: Option<&EventTypeEntry>, versions: Vec<WantedSchema>) -> Result<Saved, Vec<Fault>> {
        let name = EventType::parse("invoice.paid").expect("a type");
        let wanted = WantedType { versions, ..WantedType::default() };
        save((ProjectId(Uuid::nil()), &name), before, &wanted, NOW, &Unhurried)
    }

    fn pointers(result: Result<Saved, Vec<Fault>>) -> Vec<String> {
        result.expect_err("a fault").into_iter().map(|fault| fault.pointer).collect()
    }

    fn two_versions() -> EventTypeEntry {
        let downgrade = json!({ "steps": [{ "map": "/total", "values": { "none": 0 }, "otherwise": 1 }] });
        let second = WantedSchema { downgrade: Some(Some(downgrade)), ..version(number("string")) };
        change(None, vec![version(number("integer")), second]).expect("two versions").entry
    }

    #[test]
    fn a_version_is_compatible_breaking_or_has_a_downgrade() {
        let relations = |entry: EventTypeEntry| -> Vec<Relation> {
            entry.versions.iter().map(|version| version.relation).collect()
        };
        assert_eq!(relations(two_versions()), [Relation::First, Relation::Downgrade]);
        let saved = change(
            None,
            vec![version(number("number")), version(number("integer")), version(number("null"))],
        );
        let saved = saved.expect("three versions");
        assert_eq!(saved.created, [1, 2, 3]);
        assert_eq!(relations(saved.entry), [Relation::First, Relation::Compatible, Relation::Breaking]);
    }

    #[test]
    fn numbers_have_no_gaps() {
        let third = WantedSchema { number: Some(3), ..version(number("integer")) };
        assert_eq!(pointers(change(None, vec![third.clone()])), ["/versions/0/number"]);
        let first = WantedSchema { number: Some(1), ..version(number("integer")) };
        assert_eq!(pointers(change(None, vec![first, third])), ["/versions/1/number"]);
    }

    #[test]
    fn the_schema_of_a_version_may_only_change_compatibly() {
        let entry = two_versions();
        let again = |schema: String| vec![WantedSchema { number: Some(2), ..version(schema) }];
        assert_eq!(
            pointers(change(Some(&entry), again(number("integer")))),
            ["/versions/0/schema/properties/total"]
        );
        let tighter = json!({ "type": "object", "properties": { "total": { "type": "string", "minLength": 1 } },
            "required": ["total"] });
        assert_eq!(change(Some(&entry), again(tighter.to_string())).expect("it is compatible").changed, [2]);
        let same = change(Some(&entry), again(number("string"))).expect("nothing changes");
        assert_eq!((same.changed.len(), same.type_changed), (0, false));
    }

    #[test]
    fn an_example_must_fit_and_a_downgrade_must_keep_what_it_promises() {
        let example =
            WantedSchema { example: Some(Some(r#"{"total":"x"}"#.to_owned())), ..version(number("integer")) };
        assert_eq!(pointers(change(None, vec![example])), ["/versions/0/example/total"]);
        let useless =
            WantedSchema { downgrade: Some(Some(json!({ "steps": [] }))), ..version(number("string")) };
        assert_eq!(
            pointers(change(None, vec![version(number("integer")), useless.clone()])),
            ["/versions/1/downgrade"]
        );
        assert_eq!(pointers(change(None, vec![useless])), ["/versions/0/downgrade"]);
    }

    #[test]
    fn the_only_version_and_the_newest_one_cannot_go() {
        let retire = |number| {
            let status = Some(VersionStatus::Retired);
            vec![WantedSchema { number: Some(number), status, ..WantedSchema::default() }]
        };
        let one = change(None, vec![version(number("integer"))]).expect("one version").entry;
        assert_eq!(pointers(change(Some(&one), retire(1))), ["/versions/0/status"]);
        let two = two_versions();
        assert_eq!(pointers(change(Some(&two), retire(2))), ["/versions/0/status"]);
        let gone = change(Some(&two), retire(1)).expect("there is a newer one").entry;
        assert_eq!((gone.versions[0].status, gone.versions[0].successor), (VersionStatus::Retired, None));
        let again =
            vec![WantedSchema { number: Some(1), ..version(number("integer").replace("total", "sum")) }];
        assert_eq!(pointers(change(Some(&gone), again)), ["/versions/0/schema"]);
        let sunset =
            vec![WantedSchema { number: Some(1), sunset_at: Some(Some(NOW)), ..WantedSchema::default() }];
        assert_eq!(pointers(change(Some(&two), sunset)), ["/versions/0/sunset_at"]);
    }
}
