//! `posthorn publish`

use std::io::Read as _;

use anyhow::Context as _;
use api_types::{PublishAnswer, PublishRequest};
use clap::Args;
use reqwest::Method;
use serde_json::value::RawValue;

use super::print;
use crate::server_args::ServerArgs;

/// An event to publish.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The customer that it is for
    #[arg(long)]
    pub(crate) tenant: String,
    /// What happened, such as order.paid
    #[arg(long = "type")]
    pub(crate) event_type: String,
    /// The id of the object that it happened to
    #[arg(long)]
    pub(crate) subject: String,
    /// A JSON object; - reads it from standard input
    #[arg(long, default_value = "{}")]
    pub(crate) data: String,
    /// Makes a repeated publish the same publish
    #[arg(long)]
    pub(crate) idempotency_key: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Publishes one event to a running server.
pub(super) async fn run(args: &PublishArgs) -> anyhow::Result<()> {
    let client = args.server.client()?;
    let mut data = args.data.clone();
    if data == "-" {
        data.clear();
        std::io::stdin().read_to_string(&mut data).context("cannot read the data")?;
    }
    let event = PublishRequest {
        tenant: args.tenant.clone(),
        event_type: args.event_type.clone(),
        subject: args.subject.clone(),
        // The bytes go out as they came: numbers keep their digits.
        data: RawValue::from_string(data.trim().to_owned()).context("--data is not JSON")?,
        schema_version: None,
        revision: None,
        occurred_at: None,
        ordering_key: None,
        labels: Default::default(),
        idempotency_key: args.idempotency_key.clone(),
    };
    let answer: PublishAnswer = client.send_json(Method::POST, "/v1/events", &event).await?;
    if args.json {
        return print(&serde_json::to_string(&answer)?);
    }
    for warning in &answer.warnings {
        eprintln!("warning: {}: {}", warning.pointer, warning.detail);
    }
    print(&match answer.sequence {
        Some(sequence) => format!("{} {} (number {sequence} of {})", answer.status, answer.id, args.tenant),
        None => format!("{} {}", answer.status, answer.id),
    })
}
