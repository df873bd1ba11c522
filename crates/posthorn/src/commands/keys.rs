//! `posthorn keys`: straight on the database, to begin with.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use delivery_log::access::{KeyCreated, MAX_KEYS, MAX_KEYS_OF_TENANT, SessionsOfKey};
use delivery_log::idempotency::Performed;
use delivery_log::{Edited, SharedStore, View};
use model::access::{ApiKey, Scopes, Token, TokenKind};
use model::audit::{Action, Actor, Entry};
use model::ids::{KeyId, ProjectId, TenantId};
use model::names::{ProjectName, TenantHandle};

use super::print;
use crate::cli::StoreArgs;
use crate::settings::Settings;
use crate::{store, system};

/// Which keys, and what to do with them.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key, and the project if there is none; prints the key alone
    Create(CreateKeyArgs),
    /// List the keys of all projects
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key at once
    Revoke {
        /// Its id: key_…
        key: KeyId,
        /// End the portal sessions that it opened, too
        #[arg(long)]
        end_sessions: bool,
    },
}

/// A key to be made.
#[derive(Debug, Args)]
pub(crate) struct CreateKeyArgs {
    /// The project that it opens
    #[arg(long, value_parser = |text: &str| ProjectName::parse(text))]
    pub(crate) project: ProjectName,
    /// What it may do, separated by commas; * is everything
    #[arg(long)]
    pub(crate) scopes: Scopes,
    /// For people
    #[arg(long, default_value = "made on the command line")]
    pub(crate) name: String,
    /// The only tenant that it may see
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

/// Makes, lists or revokes keys. A running server sees it within a second.
pub(super) async fn run(settings: &Settings, command: KeysCommand) -> anyhow::Result<()> {
    let store = store::open_beside(settings, &system::env()).await?;
    match command {
        KeysCommand::Create(args) => print(create(&store, &args).await?.reveal())?,
        KeysCommand::List { json } => list(&store, json).await?,
        KeysCommand::Revoke { key, end_sessions } => revoke(&store, key, end_sessions).await?,
    }
    store.close().await;
    Ok(())
}

/// Makes a key, and the project if there is none.
pub(super) async fn create(store: &SharedStore, args: &CreateKeyArgs) -> anyhow::Result<Token> {
    anyhow::ensure!(!args.scopes.is_empty(), "name at least one scope; * is everything");
    let env = system::env();
    let project = store.ensure_project(&args.project, entry(Action::ProjectCreated, &args.project)).await?;
    let tenant = match &args.tenant {
        Some(handle) => Some(tenant(store, project.id, handle).await?),
        None => None,
    };
    let (now, entropy) = (env.now(), env.entropy.as_ref());
    let key = ApiKey {
        id: env.new_id(),
        project: project.id,
        name: args.name.clone(),
        scopes: args.scopes,
        tenant,
        expires_at: None,
        allowed_networks: Vec::new(),
        rate_limit: None,
        created_by: None,
        last_use: None,
        created_at: now,
        updated_at: now,
    };
    let token = Token::generate(TokenKind::ApiKey, entropy);
    let entry = entry(Action::KeyCreated, key.id).after(&shown(&args.project, &key));
    let created = store.create_key(&key, token.hash(), None, entry).await?;
    anyhow::ensure!(
        matches!(created, Performed::First(KeyCreated::Done)),
        "there are as many keys as there may be: {MAX_KEYS} of a project, {MAX_KEYS_OF_TENANT} of a tenant; revoke some"
    );
    Ok(token)
}

async fn tenant(store: &SharedStore, project: ProjectId, handle: &str) -> anyhow::Result<TenantId> {
    let handle = TenantHandle::parse(handle).with_context(|| format!("--tenant {handle}"))?;
    let found = store.find_tenant(View { project, tenant: None }, &handle).await?;
    let tenant =
        found.with_context(|| format!("the project has no tenant {handle}; create it over the API first"))?;
    Ok(tenant.id)
}

/// What the audit log is to say of something that an operator does here.
fn entry(action: Action, target: impl std::fmt::Display) -> Entry {
    Entry::by(Actor::CommandLine, action, target)
}

/// A key as it is listed.
fn shown(project: &ProjectName, key: &ApiKey) -> serde_json::Value {
    serde_json::json!({
        "id": key.id, "project": project.as_str(), "name": key.name,
        "scopes": key.scopes.names(), "created_at": key.created_at, "expires_at": key.expires_at,
    })
}

async fn list(store: &SharedStore, json: bool) -> anyhow::Result<()> {
    let keys = store.list_all_keys().await?;
    if json {
        let rows: Vec<_> = keys.iter().map(|(project, key)| shown(project, key)).collect();
        return print(&serde_json::to_string_pretty(&rows)?);
    }
    print(&format!("{:<30}  {:<20}  {:<24}  {:<30}  {}", "ID", "PROJECT", "CREATED", "NAME", "SCOPES"))?;
    for (project, key) in keys {
        let created = key.created_at.to_string();
        print(&format!(
            "{:<30}  {project:<20}  {created:<24}  {:<30}  {}",
            key.id.to_string(),
            key.name,
            key.scopes
        ))?;
    }
    Ok(())
}

async fn revoke(store: &SharedStore, key: KeyId, end_sessions: bool) -> anyhow::Result<()> {
    let sessions = if end_sessions { SessionsOfKey::End } else { SessionsOfKey::GoOn };
    let revoked = store.revoke_any_key(key, sessions, entry(Action::KeyRevoked, key)).await? == Edited::Done;
    anyhow::ensure!(revoked, "there is no key {key}, or it was revoked before");
    print(&format!("revoked {key}"))
}
