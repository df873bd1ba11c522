//! `posthorn verify`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use model::signature::{self, VerifyingSecret};

use super::print;

/// A saved request.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The endpoint's secret: whsec_…
    #[arg(long, env = "POSTHORN_SIGNING_SECRET", hide_env_values = true)]
    pub(crate) secret: String,
    /// The header webhook-id
    #[arg(long)]
    pub(crate) id: String,
    /// The header webhook-timestamp
    #[arg(long)]
    pub(crate) timestamp: String,
    /// The header webhook-signature
    #[arg(long)]
    pub(crate) signature: String,
    /// A file with the exact bytes of the body; - is standard input
    #[arg(long)]
    pub(crate) body: PathBuf,
}

/// Checks the signature of a saved request. Its age is not checked: it was
/// saved.
pub(super) fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let secret = VerifyingSecret::parse(&args.secret).map_err(anyhow::Error::msg).context("--secret")?;
    let body = read(&args.body)?;
    signature::verify(&secret, &args.id, &args.timestamp, &args.signature, &body, None)
        .context("the request was not signed with this secret or key, or was changed on its way")?;
    print("the signature is good")
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body).context("cannot read the body")?;
        return Ok(body);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
