//! A mail server written by others: aiosmtpd.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Takes every mail and prints it on a line.
const SCRIPT: &str = "import asyncio
from aiosmtpd.smtp import SMTP
class Print:
    async def handle_DATA(self, server, session, envelope):
        print(envelope.rcpt_tos, envelope.content.decode().replace('\\r\\n', '|'), flush=True)
        return '250 OK'
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Print()), '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
";

/// A running mail server. It ends when it is dropped.
#[derive(Debug)]
pub struct MailServer {
    _process: Child,
    printed: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl MailServer {
    /// Starts it on a free port of this machine.
    pub async fn start() -> Self {
        let python = std::env::var("POSTHORN_TEST_PYTHON")
            .expect("POSTHORN_TEST_PYTHON names a Python with the package aiosmtpd; scripts/test sets it");
        let mut process = Command::new(python)
            .args(["-c", SCRIPT])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut printed = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = printed.next_line().await.unwrap().unwrap();
        Self { _process: process, printed, url: format!("smtp://127.0.0.1:{port}") }
    }

    /// For `POSTHORN_SMTP_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next mail that comes: its recipients, then its lines, with bars between.
    pub async fn next_mail(&mut self) -> String {
        tokio::time::timeout(crate::PATIENCE, self.printed.next_line()).await.unwrap().unwrap().unwrap()
    }
}
