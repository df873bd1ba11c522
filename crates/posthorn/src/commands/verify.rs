//! `posthorn verify`

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use model::signature::{self, VerifyingSecret};

use super::print;
use crate::cli::VerifyArgs;

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
