//! Settings: flags, then the environment, then a file, then defaults.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use config::{Config, Environment, File, FileFormat};
use delivery_log::durability::Durability;
use events_api::RequestRates;
use ipnet::IpNet;
use model::address::TargetPolicy;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::Error as _;

use crate::cli::{ListenArgs, StoreArgs};

/// Every setting with its default and its meaning.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");
/// The settings file of the working directory.
const FILE: &str = "posthorn.toml";
/// Settings that can be read from a file of their own.
const SECRETS: [&str; 4] = ["database_url", "master_key", "egress_proxy", "smtp_url"];

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        one_of("log_format", &text, [("text", Self::Text), ("json", Self::Json)])
    }
}

/// The value that a word stands for.
fn one_of<T>(setting: &str, text: &str, words: [(&str, T); 2]) -> Result<T, String> {
    let known = words.each_ref().map(|(word, _)| *word).join(" or ");
    let found = words.into_iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| value).ok_or_else(|| format!("{setting} is {text:?}, but must be {known}"))
}

/// Where data is kept.
#[derive(Debug)]
pub(crate) enum Database {
    /// In a file of this machine, which one process serves.
    Sqlite(PathBuf),
    /// On a server that any number of processes share. The address may hold a
    /// password.
    Postgres(SecretString),
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => match hosts(url.expose_secret()) {
                "" => write!(f, "on this machine"),
                hosts => write!(f, "on {hosts}"),
            },
        }
    }
}

/// The hosts in an address, without the password before them.
fn hosts(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// What stands in `defaults.toml`, where each is explained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    database_url: SecretString,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    public_url: String,
    pub(crate) master_key: SecretString,
    pub(crate) master_key_command: String,
    #[serde(deserialize_with = "durability")]
    pub(crate) durability: Durability,
    #[serde(deserialize_with = "networks")]
    allow_targets: Vec<IpNet>,
    allow_http: bool,
    pub(crate) name_servers: Vec<SocketAddr>,
    pub(crate) egress_proxy: SecretString,
    #[serde(deserialize_with = "networks")]
    pub(crate) egress_addresses: Vec<IpNet>,
    pub(crate) smtp_url: SecretString,
    pub(crate) mail_from: String,
    #[serde(deserialize_with = "networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) max_endpoints_per_tenant: usize,
    key_reads_per_second: u32,
    key_changes_per_second: u32,
    tenant_reads_per_second: u32,
    tenant_changes_per_second: u32,
    pub(crate) max_data_bytes: usize,
    pub(crate) slots: usize,
    api_threads: usize,
    pub(crate) shutdown_grace_seconds: u64,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

/// Networks in CIDR notation, or single addresses.
fn networks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let network = |text: &String| {
        let text = text.trim();
        let found = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        found.map_err(|_| {
            D::Error::custom(format_args!("{text:?} is neither an address nor a network such as 10.0.0.0/8"))
        })
    };
    texts.iter().map(network).collect()
}

/// On how many machines an event is before it is acknowledged.
fn durability<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Durability, D::Error> {
    let words = [("one-machine", Durability::OneMachine), ("two-machines", Durability::TwoMachines)];
    one_of("durability", &String::deserialize(from)?, words).map_err(D::Error::custom)
}

/// The settings that a command begins with, beyond those of the user.
pub(crate) type Overrides<'a> = &'a [(&'a str, &'a str)];

impl Settings {
    /// Reads all sources. `overrides` come before everything but flags.
    pub(crate) fn load(
        args: &StoreArgs,
        listen: &ListenArgs,
        overrides: Overrides<'_>,
    ) -> anyhow::Result<Self> {
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        builder = match &args.config {
            Some(path) => builder.add_source(File::from(path.as_path()).format(FileFormat::Toml)),
            None => builder.add_source(File::new(FILE, FileFormat::Toml).required(false)),
        };
        builder = builder.add_source(
            Environment::default()
                .try_parsing(true)
                .list_separator(",")
                .with_list_parse_key("allow_targets")
                .with_list_parse_key("egress_addresses")
                .with_list_parse_key("name_servers")
                .with_list_parse_key("trusted_proxies")
                .source(Some(environment()?)),
        );
        for (name, value) in overrides {
            builder = builder.set_override(*name, *value)?;
        }
        let flags = [
            ("database_url", &args.database_url),
            ("listen", &listen.listen),
            ("admin_listen", &listen.admin_listen),
        ];
        for (name, value) in flags {
            builder = builder.set_override_option(name, value.clone())?;
        }
        builder.build()?.try_deserialize().context("a setting is not valid")
    }

    /// Where the data is kept.
    pub(crate) fn database(&self) -> anyhow::Result<Database> {
        let url = self.database_url.expose_secret();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Database::Postgres(self.database_url.clone()));
        }
        match url.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() && !path.contains('?') => Ok(Database::Sqlite(path.into())),
            Some(_) => bail!("database_url must name a file, such as sqlite://posthorn-data/posthorn.db"),
            None => bail!("database_url must begin with sqlite:// or postgres://"),
        }
    }

    /// Where the outside reaches the API, which listens on `address`.
    pub(crate) fn public_url(&self, address: SocketAddr) -> String {
        match self.public_url.as_str() {
            "" => format!("http://{address}"),
            url => url.trim_end_matches('/').to_owned(),
        }
    }

    /// Which addresses may be called.
    pub(crate) fn targets(&self) -> TargetPolicy {
        TargetPolicy {
            allow: self.allow_targets.clone(),
            allow_http: self.allow_http,
            ..TargetPolicy::default()
        }
    }

    /// Lets endpoints use one address more.
    pub(crate) fn allow_target(&mut self, address: IpAddr) {
        self.allow_targets.push(address.into());
    }

    /// How often callers may ask.
    pub(crate) fn request_rates(&self) -> RequestRates {
        RequestRates {
            key_reads: self.key_reads_per_second,
            key_changes: self.key_changes_per_second,
            tenant_reads: self.tenant_reads_per_second,
            tenant_changes: self.tenant_changes_per_second,
        }
    }

    /// How many threads answer requests.
    pub(crate) fn api_threads(&self) -> usize {
        match self.api_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// The settings in the environment. Others that begin with POSTHORN_ belong
/// to commands, and are left to them.
fn environment() -> anyhow::Result<HashMap<String, String>> {
    let known: toml_names::Names = toml_names::of(DEFAULTS);
    let mut found = HashMap::new();
    for name in known {
        let variable = format!("POSTHORN_{}", name.to_uppercase());
        let value = std::env::var(&variable).ok();
        // Set to nothing is as good as not set.
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            found.insert(name, value);
        } else if SECRETS.contains(&name.as_str())
            && let Some(value) = secret_file(&variable)?
        {
            found.insert(name, value);
        }
    }
    Ok(found)
}

/// What stands in the file that the variable and `_FILE` names.
pub(crate) fn secret_file(variable: &str) -> anyhow::Result<Option<String>> {
    let variable = format!("{variable}_FILE");
    let Ok(path) = std::env::var(&variable) else { return Ok(None) };
    let text = std::fs::read_to_string(Path::new(&path));
    let text = text.with_context(|| format!("cannot read {path}, which {variable} names"))?;
    Ok(Some(text.trim().to_owned()))
}

mod toml_names {
    //! The names at the top of a TOML text, one a line.

    pub(super) type Names = Vec<String>;

    pub(super) fn of(text: &str) -> Names {
        let names = text.lines().filter(|line| !line.starts_with('#'));
        names.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_may_be_a_single_address() {
        let read = |text: &str| networks(serde_json::Value::from(text.split(',').collect::<Vec<_>>()));
        let found = read("127.0.0.1,::1,10.0.0.0/8").expect("networks");
        assert_eq!(
            found.iter().map(IpNet::to_string).collect::<Vec<_>>(),
            ["127.0.0.1/32", "::1/128", "10.0.0.0/8"]
        );
        let refused = read("localhost").map_err(|error| error.to_string());
        assert_eq!(
            refused.err().as_deref(),
            Some("\"localhost\" is neither an address nor a network such as 10.0.0.0/8")
        );
    }

    #[test]
    fn a_database_is_told_by_its_hosts_alone() {
        for (url, told) in [
            ("postgres://me:se@cret@a:5433,b/db?sslmode=require", "on a:5433,b"),
            ("postgres:///db?host=/run/postgresql", "on this machine"),
            ("postgres://db.internal", "on db.internal"),
        ] {
            assert_eq!(Database::Postgres(url.into()).to_string(), told);
        }
    }

    #[test]
    fn the_defaults_are_valid_settings() {
        let settings: Settings = Config::builder()
            .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
            .build()
            .expect("reads")
            .try_deserialize()
            .expect("fits");
        let database = settings.database().expect("a database");
        assert_eq!(database.to_string(), "posthorn-data/posthorn.db");
        assert_eq!(settings.public_url(settings.listen), "http://127.0.0.1:8400");
    }
}
