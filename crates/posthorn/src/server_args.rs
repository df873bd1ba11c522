//! Which running server a command talks to.

use anyhow::bail;
use clap::Args;
use client::Client;

use crate::settings::secret_file;

/// Where a running server is.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where the server is reached
    #[arg(long, env = "POSTHORN_URL", default_value = "http://127.0.0.1:8400")]
    pub(crate) url: String,
    /// The key to use; or a file that holds it, in POSTHORN_API_KEY_FILE
    #[arg(long, env = "POSTHORN_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
}

impl ServerArgs {
    /// A client of that server.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let key = match &self.api_key {
            Some(key) => Some(key.clone()),
            None => secret_file("POSTHORN_API_KEY")?,
        };
        let Some(key) = key else {
            bail!("no API key: set POSTHORN_API_KEY, or POSTHORN_API_KEY_FILE to a file that holds it")
        };
        Client::new(&self.url, &key)
    }
}
