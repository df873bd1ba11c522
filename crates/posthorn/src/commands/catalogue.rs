//! `posthorn catalogue`: the event types of a project as a folder of files.
//!
//! ```text
//! events/invoice.paid/event-type.json     description, size budget, words and states of versions
//! events/invoice.paid/1.json              the JSON Schema of version 1
//! events/invoice.paid/1.example.json      data as it may be
//! events/invoice.paid/2.downgrade.json    how data of version 2 becomes data of version 1
//! events/user.left.json                   a type with one version alone
//! ```

mod folder;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use api_types::{ApplyPlan, ApplyRequest, ApplyStep, EventTypes, Versions};
use clap::{Args, Subcommand};
use client::Client;
use reqwest::Method;

use super::print;
use crate::server_args::ServerArgs;
use folder::Folder;

/// What to do with the catalogue of event types.
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogueCommand {
    /// Show what a folder would change, and change it
    Apply(ApplyArgs),
    /// Show what a folder would change; status 1 if that would break a customer
    Check(CheckArgs),
    /// Write the catalogue to a folder
    Export(ExportArgs),
}

/// A folder to be applied.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The folder: NAME/1.json, NAME/2.json, …
    pub(crate) folder: PathBuf,
    /// Change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A folder to be checked.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The folder: NAME/1.json, NAME/2.json, …
    pub(crate) folder: PathBuf,
    /// Let a new version break with the one before without a downgrade
    #[arg(long)]
    pub(crate) allow_breaking: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where to write the catalogue.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The folder; files of the same names are replaced
    pub(crate) folder: PathBuf,
}

/// Runs one of the commands.
pub(super) async fn run(command: &CatalogueCommand) -> anyhow::Result<ExitCode> {
    match command {
        CatalogueCommand::Apply(args) => {
            let client = args.server.client()?;
            let folder = Folder::read(&args.folder)?;
            let plan = send(&client, &folder, true).await?;
            if !is_accepted(&plan) || args.dry_run {
                show(&folder, &plan, args.json)?;
                return Ok(if is_accepted(&plan) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            show(&folder, &send(&client, &folder, false).await?, args.json)?;
        }
        CatalogueCommand::Check(args) => {
            let client = args.server.client()?;
            let folder = Folder::read(&args.folder)?;
            let plan = send(&client, &folder, true).await?;
            show(&folder, &plan, args.json)?;
            let breaking = |step: &ApplyStep| step.relation.as_deref() == Some("breaking");
            if !is_accepted(&plan) || (!args.allow_breaking && plan.steps.iter().any(breaking)) {
                return Ok(ExitCode::FAILURE);
            }
        }
        CatalogueCommand::Export(args) => {
            let client = args.server.client()?;
            let count = export(&client, &args.folder).await?;
            print(&format!("{count} event types are in {}", args.folder.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(client: &Client, folder: &Folder, dry_run: bool) -> anyhow::Result<ApplyPlan> {
    let request = ApplyRequest { types: folder.types().to_vec(), dry_run };
    client.send_json(Method::POST, "/v1/catalogue/apply", &request).await
}

fn is_accepted(plan: &ApplyPlan) -> bool {
    plan.errors.is_empty() && plan.cut_off.is_empty()
}

fn show(folder: &Folder, plan: &ApplyPlan, json: bool) -> anyhow::Result<()> {
    if json {
        return print(&serde_json::to_string(plan)?);
    }
    for step in &plan.steps {
        let sign = if step.action == "create" { '+' } else { '~' };
        let what = match (step.version, &step.relation) {
            (None, _) => step.event_type.clone(),
            (Some(version), None) => format!("{}@{version}", step.event_type),
            (Some(version), Some(relation)) => format!("{}@{version}  {relation}", step.event_type),
        };
        print(&format!("{sign} {what}"))?;
        for one in &step.breaks {
            let sure = if one.certain { "" } else { " (perhaps)" };
            print(&format!("    {}: {}{sure}", one.pointer, one.detail))?;
        }
        if let (Some(version), false) = (step.version, step.breaks.is_empty()) {
            let name = &step.event_type;
            print(&format!(
                "    Write {name}/{version}.downgrade.json, which says how data of version {version} becomes data \
                 of version {}:\n    {{\"steps\":[…]}}, see docs/guides/catalogue.md. Endpoints that are pinned to \
                 that would get nothing otherwise.",
                version - 1
            ))?;
        }
    }
    for warning in &plan.warnings {
        print(&format!("? {}", warning.detail))?;
    }
    for error in &plan.errors {
        print(&format!("! {}: {}", folder.place_of(&error.pointer), error.detail))?;
    }
    for one in &plan.cut_off {
        let (endpoint, tenant) = (&one.endpoint, &one.tenant);
        let pinned = format!("{}@{}", one.event_type, one.version);
        print(&format!(
            "! endpoint {endpoint} of tenant {tenant} would be cut off: it is pinned to {pinned}"
        ))?;
    }
    print(&match (is_accepted(plan), plan.applied, plan.steps.len()) {
        (false, ..) => "Nothing was changed.".to_owned(),
        (true, _, 0) => "Nothing to do: the catalogue is so already.".to_owned(),
        (true, true, 1) => "One change was made.".to_owned(),
        (true, true, count) => format!("{count} changes were made."),
        (true, false, 1) => "One change would be made.".to_owned(),
        (true, false, count) => format!("{count} changes would be made."),
    })
}

async fn export(client: &Client, folder: &Path) -> anyhow::Result<usize> {
    let types: EventTypes = client.get("/v1/event-types").await?.context("there is no catalogue")?;
    for event_type in &types.data {
        let path = format!("/v1/event-types/{}/versions", event_type.name);
        let versions: Versions =
            client.get(&path).await?.unwrap_or(Versions { data: Vec::new(), next_cursor: None });
        folder::write(folder, event_type, &versions.data)?;
    }
    Ok(types.data.len())
}
