//! `posthorn quickstart`: everything at once, to see it work.

mod audit;
mod setup;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api_types::{PublishAnswer, PublishRequest};
use clap::Args;
use client::Client;
use client::receiver::Receiver;
use reqwest::Method;
use serde_json::value::RawValue;

use self::audit::Audit;
use super::print;
use super::serve::AskedToEnd;
use crate::cli::{ListenArgs, StoreArgs};
use crate::logging;
use crate::settings::{Database, Overrides};
use crate::wiring::{Platform, Role};

/// How to run the quickstart.
#[derive(Debug, Args)]
pub(crate) struct QuickstartArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    /// End when everything is delivered, with status 0 if all was verified
    #[arg(long)]
    pub(crate) exit: bool,
    /// How many events to publish
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) events: u32,
}

/// What the quickstart sets, beyond the user's settings: its receiver is on
/// this machine, without TLS.
const SETTINGS: Overrides<'_> = &[("allow_http", "true"), ("log", "warn")];
/// How long to wait for all deliveries. A retry comes after 4 to 6 seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the quickstart, and says whether all went well.
pub(super) async fn run(quickstart: &QuickstartArgs) -> anyhow::Result<ExitCode> {
    let mut asked_to_end = AskedToEnd::listen()?;
    let settings = setup::settings(quickstart, SETTINGS)?;
    logging::start(&settings)?;
    let Database::Sqlite(path) = settings.database()? else {
        bail!("the quickstart uses an embedded store; run it without POSTHORN_DATABASE_URL");
    };
    let platform = Platform::start(&settings, Role::All).await?;
    let url = format!("http://{}", platform.address().context("the API does not listen")?);
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let key = setup::key(&platform, &folder).await?;
    let client = Client::new(&url, &key)?;
    let audit = Arc::new(Audit::default());
    let receiver = Receiver::start(([127, 0, 0, 1], 0).into(), audit.answer())
        .await
        .context("cannot start the receiver")?;
    let endpoint = setup::endpoint(&client, receiver.address).await?;
    audit.use_secret(&endpoint.secret)?;

    print(&format!("Posthorn runs at {url}, with its data in {}.", folder.display()))?;
    print(&format!(
        "Publishing {} events for the customer {}, whose receiver (http://{}) answers 503 to every fifth at first:\n",
        quickstart.events,
        setup::TENANT,
        receiver.address,
    ))?;
    let (mut finished, mut asked) = (false, false);
    let work = async {
        publish(&client, &audit, quickstart.events).await?;
        Ok::<_, anyhow::Error>(is_complete(&audit).await)
    };
    tokio::select! {
        done = work => finished = done?,
        // What is not delivered yet goes on at the next start.
        _ = asked_to_end.wait() => asked = true,
    }
    let summary = audit.summary();
    print(&format!("\n{summary}"))?;
    if !finished && !asked {
        print(&format!(
            "not everything was delivered within {} seconds; see {url}/v1/deliveries",
            PATIENCE.as_secs()
        ))?;
    }
    if !quickstart.exit && finished {
        print(&guide(&url, &platform, &key, &audit, &folder))?;
        asked_to_end.wait().await;
    }
    platform.shut_down().await;
    drop(receiver);
    Ok(if finished && summary.all_verified() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn publish(client: &Client, audit: &Audit, events: u32) -> anyhow::Result<()> {
    for number in 1..=events {
        let event = PublishRequest {
            tenant: setup::TENANT.to_owned(),
            event_type: "order.paid".to_owned(),
            subject: format!("ord_{number}"),
            data: RawValue::from_string(format!(r#"{{"total":{number}.10,"currency":"EUR"}}"#))?,
            schema_version: None,
            revision: None,
            occurred_at: None,
            ordering_key: None,
            labels: Default::default(),
            idempotency_key: None,
        };
        let answer: PublishAnswer = client.send_json(Method::POST, "/v1/events", &event).await?;
        audit.published(&answer.id);
    }
    Ok(())
}

/// Waits until every event is delivered, and says whether that happened.
async fn is_complete(audit: &Audit) -> bool {
    let all = async {
        while !audit.summary().is_complete() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.is_ok()
}

fn guide(url: &str, platform: &Platform, key: &str, audit: &Audit, folder: &Path) -> String {
    format!(
        "\nRead  {url}/docs for the API, http://{admin}/metrics for metrics.\n\
         \nTry next, in another terminal; what you publish arrives here, too:\n\n\
         # publish an event of your own\n\
         curl -s {url}/v1/events -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n  \
           -d '{{\"tenant\":\"{tenant}\",\"type\":\"order.paid\",\"subject\":\"ord_1\",\"data\":{{\"total\":1.10}}}}'\n\
         # see every attempt of a delivery, and why it was made\n\
         curl -s {url}/v1/deliveries/{delivery}/attempts -H 'Authorization: Bearer {key}'\n\
         # send it again\n\
         curl -s {url}/v1/deliveries/{delivery}/replay -H 'Authorization: Bearer {key}' \\\n  \
           -H 'Content-Type: application/json' -d '{{\"force\":true}}'\n\
         # receive with a receiver of your own, which fails twice\n\
         POSTHORN_URL={url} POSTHORN_API_KEY_FILE={key_file} {program} receive --tenant {tenant} --answer 503,503,204\n\
         \nCtrl-C ends; run again, it goes on with the same data.\n",
        admin = platform.admin_address(),
        delivery = audit.last_delivery(),
        tenant = setup::TENANT,
        key_file = folder.join(setup::KEY_FILE).display(),
        program = std::env::args().next().unwrap_or_else(|| "posthorn".to_owned()),
    )
}
