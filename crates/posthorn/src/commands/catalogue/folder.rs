//! A catalogue as files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use api_types::{EventTypeRequest, VersionRequest};
use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The greatest size of a file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// What is known of a type beside its schemas.
const DETAILS: &str = "event-type.json";

/// The file `event-type.json`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Details {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size_budget_bytes: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    versions: BTreeMap<u32, VersionDetails>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changelog: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sunset_at: Option<Timestamp>,
}

/// The types of a folder, and where each of them stands.
pub(super) struct Folder {
    types: Vec<EventTypeRequest>,
    places: Vec<PathBuf>,
}

impl Folder {
    /// Reads a folder.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder)
            .with_context(|| format!("cannot read the folder {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<anyhow::Result<_>>()?;
        entries.sort();
        let mut read = Self { types: Vec::new(), places: Vec::new() };
        for path in entries {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                read.types.push(read_type(&path, &name)?);
            } else if let Some(name) = name.strip_suffix(".json") {
                let version =
                    VersionRequest { number: Some(1), schema: Some(json(&path)?), ..Default::default() };
                let name = Some(name.to_owned());
                read.types.push(EventTypeRequest { name, versions: vec![version], ..Default::default() });
            } else {
                continue;
            }
            read.places.push(path);
        }
        if read.types.is_empty() {
            bail!("{} holds no event types: NAME/1.json, or NAME.json", folder.display());
        }
        Ok(read)
    }

    pub(super) fn types(&self) -> &[EventTypeRequest] {
        &self.types
    }

    /// The file that a pointer into the request is about, and the place in it.
    pub(super) fn place_of(&self, pointer: &str) -> String {
        let mut parts = pointer.splitn(4, '/').skip(1);
        let place = (parts.next() == Some("types")).then(|| parts.next()?.parse::<usize>().ok()).flatten();
        let (Some(place), rest) = (place, parts.next().unwrap_or_default()) else {
            return pointer.to_owned();
        };
        let (Some(path), Some(event_type)) = (self.places.get(place), self.types.get(place)) else {
            return pointer.to_owned();
        };
        let version = rest.strip_prefix("versions/").and_then(|rest| {
            let (place, rest) = rest.split_once('/').unwrap_or((rest, ""));
            Some((event_type.versions.get(place.parse::<usize>().ok()?)?.number?, rest))
        });
        match version {
            None => format!("{} /{rest}", path.display()),
            Some((_, rest)) if path.is_file() => format!("{} /{rest}", path.display()),
            Some((number, rest)) => {
                let (file, rest) = match rest.split_once('/').unwrap_or((rest, "")) {
                    ("schema", rest) => (format!("{number}.json"), rest.to_owned()),
                    ("example", rest) => (format!("{number}.example.json"), rest.to_owned()),
                    ("downgrade", rest) => (format!("{number}.downgrade.json"), rest.to_owned()),
                    _ => (DETAILS.to_owned(), format!("versions/{number}/{rest}")),
                };
                format!("{} /{rest}", path.join(file).display())
            }
        }
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if size > MAX_FILE {
        bail!("{} is larger than {MAX_FILE} bytes", path.display());
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn json(path: &Path) -> anyhow::Result<Box<RawValue>> {
    RawValue::from_string(text(path)?.trim().to_owned())
        .with_context(|| format!("{} is not JSON", path.display()))
}

fn json_if_there(path: &Path) -> anyhow::Result<Option<Box<RawValue>>> {
    if path.exists() { json(path).map(Some) } else { Ok(None) }
}

fn read_type(folder: &Path, name: &str) -> anyhow::Result<EventTypeRequest> {
    let details = folder.join(DETAILS);
    let details: Details = match details.exists() {
        true => serde_json::from_str(&text(&details)?)
            .with_context(|| format!("{} is not as it should be", details.display()))?,
        false => Details::default(),
    };
    let mut versions = Vec::new();
    for number in 1.. {
        let schema = json_if_there(&folder.join(format!("{number}.json")))?;
        let given = details.versions.get(&number);
        if schema.is_none() && given.is_none() {
            break;
        }
        let downgrade = json_if_there(&folder.join(format!("{number}.downgrade.json")))?;
        versions.push(VersionRequest {
            number: Some(number),
            schema,
            example: json_if_there(&folder.join(format!("{number}.example.json")))?,
            changelog: given.and_then(|given| given.changelog.clone()),
            status: given.and_then(|given| given.status.clone()),
            sunset_at: given.and_then(|given| given.sunset_at).map(Some),
            downgrade: downgrade.map(|raw| serde_json::from_str(raw.get())).transpose()?,
        });
    }
    check_for_gaps(folder, versions.len())?;
    Ok(EventTypeRequest {
        name: Some(name.to_owned()),
        description: details.description,
        size_budget_bytes: details.size_budget_bytes.map(Some),
        versions,
    })
}

/// A version that is not read because one before it is missing.
fn check_for_gaps(folder: &Path, count: usize) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<usize>().ok());
        if let Some(number) = number.filter(|number| *number > count || *number == 0) {
            bail!("{}: there is no version {} before version {number}", path.display(), count + 1);
        }
    }
    Ok(())
}

/// Writes a type with its versions, in the layout that the folder has for it:
/// a type of one version and nothing else is a single file, unless there is a
/// folder of its name. What says the same as a file that is there is left as it
/// stands, so that applying and exporting changes nothing.
pub(super) fn write(
    folder: &Path,
    event_type: &api_types::EventType,
    versions: &[api_types::Version],
) -> anyhow::Result<()> {
    let of_type = folder.join(&event_type.name);
    let details = details_of(event_type, versions);
    if let [only] = versions
        && only.example.is_none()
        && details == Details::default()
        && !of_type.is_dir()
    {
        make_folder(folder)?;
        return put(&folder.join(format!("{}.json", event_type.name)), only.schema.get());
    }
    make_folder(&of_type)?;
    let single = folder.join(format!("{}.json", event_type.name));
    if single.exists() {
        // Both would be the same type twice.
        fs::remove_file(&single).with_context(|| format!("cannot remove {}", single.display()))?;
    }
    for version in versions {
        let number = version.number;
        put(&of_type.join(format!("{number}.json")), version.schema.get())?;
        if let Some(example) = &version.example {
            put(&of_type.join(format!("{number}.example.json")), example.get())?;
        }
        if let Some(downgrade) = &version.downgrade {
            put_value(&of_type.join(format!("{number}.downgrade.json")), downgrade)?;
        }
    }
    let path = of_type.join(DETAILS);
    if details == Details::default() && !path.exists() {
        return Ok(());
    }
    put_value(&path, &serde_json::to_value(&details)?)
}

/// What goes into `event-type.json`.
fn details_of(event_type: &api_types::EventType, versions: &[api_types::Version]) -> Details {
    let of_version = |version: &api_types::Version| VersionDetails {
        changelog: (!version.changelog.is_empty()).then(|| version.changelog.clone()),
        status: (version.status != "active").then(|| version.status.clone()),
        sunset_at: version.sunset_at,
    };
    let versions = versions.iter().map(|version| (version.number, of_version(version)));
    Details {
        description: (!event_type.description.is_empty()).then(|| event_type.description.clone()),
        size_budget_bytes: event_type.size_budget_bytes,
        versions: versions.filter(|(_, details)| *details != VersionDetails::default()).collect(),
    }
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Writes a text, unless the file has it already, whatever white space is
/// around it there.
fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).is_ok_and(|present| present.trim() == text.trim()) {
        return Ok(());
    }
    fs::write(path, format!("{text}\n")).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a value, unless the file says the same in its own way.
fn put_value(path: &Path, value: &Value) -> anyhow::Result<()> {
    let present = fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    if present.as_ref() == Some(value) {
        return Ok(());
    }
    put(path, &serde_json::to_string_pretty(value)?)
}
