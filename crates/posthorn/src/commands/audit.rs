//! `posthorn audit`: straight on the database, for whoever has to trust the log.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use delivery_log::SharedStore;
use delivery_log::access::Project;
use model::names::ProjectName;

use super::print;
use crate::cli::StoreArgs;
use crate::settings::Settings;
use crate::{store, system};

/// What to do with audit logs.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

/// What to do with audit logs.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that no entry was changed and none is missing; ends with 1 if not
    Verify {
        /// The only project; all if not given
        #[arg(long, value_parser = |text: &str| ProjectName::parse(text))]
        project: Option<ProjectName>,
    },
}

/// Checks the logs, beside a server if there is one.
pub(super) async fn run(settings: &Settings, command: AuditCommand) -> anyhow::Result<ExitCode> {
    let AuditCommand::Verify { project } = command;
    let store = store::open_beside(settings, &system::env()).await?;
    let mut is_whole = true;
    for project in projects(&store, project.as_ref()).await? {
        is_whole &= verify(&store, &project).await?;
    }
    store.close().await;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn projects(store: &SharedStore, only: Option<&ProjectName>) -> anyhow::Result<Vec<Project>> {
    store.refresh().await?;
    let all = store.configuration().all_projects();
    let mut wanted: Vec<Project> = all.iter().map(|project| Project::clone(project)).collect();
    wanted.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    if let Some(name) = only {
        wanted.retain(|project| project.name == *name);
        wanted.first().with_context(|| format!("there is no project {name}"))?;
    }
    Ok(wanted)
}

/// Says whether the log of a project is whole.
async fn verify(store: &SharedStore, project: &Project) -> anyhow::Result<bool> {
    let verified = store.verify_audit(project.id).await?;
    let entries = verified.entries;
    let erased = match verified.erased {
        0 => String::new(),
        erased => format!(", {erased} of them erased"),
    };
    match verified.broken {
        None => {
            let (number, link) = verified.last;
            let link: String = link.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            print(&format!(
                "{}: whole, {entries} entries{erased}; the last is {number}, {link}",
                project.name
            ))?;
        }
        Some(broken) => print(&format!("{}: {broken}; {entries} entries before it are right", project.name))?,
    }
    Ok(verified.broken.is_none())
}
