//! `posthorn reason`: answers one question about schemas, and ends.
//!
//! The server starts it, because what the question takes is not known before:
//! within these limits it is answered or not.

use std::io::Read as _;

use anyhow::Context as _;
use model::schema::{Question, Reasoner as _, Unhurried};

use super::print;

/// How much processor time it may take, in seconds, should nobody end it.
const SECONDS: u64 = 3;
/// How much memory it may take.
const BYTES: u64 = 256 * 1024 * 1024;
/// The longest question: two schemas.
const QUESTION: u64 = 1024 * 1024;
/// Schemas are nested, and so is the work.
const STACK: usize = 64 * 1024 * 1024;

/// Reads a question from standard input, and prints its answer.
pub(crate) fn run() -> anyhow::Result<()> {
    rlimit::setrlimit(rlimit::Resource::CPU, SECONDS, SECONDS).context("cannot limit the time")?;
    rlimit::setrlimit(rlimit::Resource::DATA, BYTES, BYTES).context("cannot limit the memory")?;
    rlimit::setrlimit(rlimit::Resource::CORE, 0, 0).context("cannot go without core files")?;
    let mut text = String::new();
    std::io::stdin().take(QUESTION).read_to_string(&mut text)?;
    let question: Question = serde_json::from_str(&text).context("the question is not valid")?;
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || Unhurried.answer(question))?;
    let answer = thread.join().map_err(|_| anyhow::anyhow!("the question cannot be answered"))?;
    print(&serde_json::to_string(&answer)?)
}
