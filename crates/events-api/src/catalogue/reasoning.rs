//! Questions about schemas, answered by a process of its own.
//!
//! What the library reasons about a schema can take any time and any memory,
//! and a thread cannot be stopped: so another process does it, with a limit of
//! both, and is killed when it takes too long. Checking a change of the
//! catalogue, which asks such questions, is work for one thread at a time,
//! and never for those that answer requests.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::web;
use model::schema::{Answer, Question, Reasoner};
use tokio::sync::Semaphore;

use crate::api::Api;
use crate::problem::{Code, Problem};

/// How long one question may take.
const ONE: Duration = Duration::from_secs(2);
/// How long all questions of one request may take.
const ALL: Duration = Duration::from_secs(10);
/// How long those of them may take that need no answer: whether the library
/// agrees that one schema covers another. They leave time for those that do.
const SECOND_OPINIONS: Duration = Duration::from_secs(4);
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(20);
/// The allocator takes memory in small pieces, so that its limit is one.
const ALLOCATOR: [(&str, &str); 2] =
    [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("MIMALLOC_ARENA_RESERVE", "16384")];
/// How often it is looked whether there is an answer.
const LOOK: Duration = Duration::from_millis(2);

/// Whose turn it is to check a change of the catalogue.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Checks something about schemas, apart from the threads that answer requests.
pub(crate) async fn apart<T: Send + 'static>(
    api: &web::Data<Api>,
    work: impl FnOnce(&Api, &dyn Reasoner) -> T + Send + 'static,
) -> Result<T, Problem> {
    let busy = || Problem::new(Code::Unavailable, "too many catalogue changes are being checked; try again");
    let api = api.clone();
    let turn = tokio::time::timeout(TURN, Arc::clone(&api.catalogue_turn.0).acquire_owned()).await;
    let turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
    let thread_api = api.clone();
    let done = web::block(move || {
        // A caller that goes away does not end the work, and so not the turn.
        let _turn = turn;
        let program = &thread_api.settings.program;
        let apart = Apart { program, until: Instant::now() + ALL, opinions: Mutex::new(SECOND_OPINIONS) };
        work(&thread_api, &apart)
    });
    done.await.map_err(|_| busy())
}

/// Asks a process of its own, as long as there is time.
struct Apart<'a> {
    program: &'a Path,
    until: Instant,
    /// How much time is left for second opinions.
    opinions: Mutex<Duration>,
}

impl Reasoner for Apart<'_> {
    fn answer(&self, question: Question) -> Answer {
        let asked = Instant::now();
        let mut opinions = self.opinions.lock().unwrap_or_else(PoisonError::into_inner);
        let is_opinion = matches!(question, Question::Covers { .. });
        let most = if is_opinion { ONE.min(*opinions) } else { ONE };
        let answer = ask(self.program, &question, self.until.min(asked + most));
        if is_opinion {
            *opinions = opinions.saturating_sub(asked.elapsed());
        }
        answer.unwrap_or_else(|error| {
            tracing::debug!(%error, "a question about a schema was not answered");
            Answer::Undecided
        })
    }
}

fn ask(program: &Path, question: &Question, until: Instant) -> std::io::Result<Answer> {
    if Instant::now() >= until {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    let mut command = Command::new(program);
    // It needs none of what the server was told, secrets least of all.
    command.arg("reason").env_clear().envs(ALLOCATOR);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut asked = Asked(command.spawn()?);
    if let Some(mut input) = asked.0.stdin.take() {
        // It reads all of it before it does anything else.
        input.write_all(&serde_json::to_vec(question)?)?;
    }
    while asked.0.try_wait()?.is_none() {
        if Instant::now() >= until {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(LOOK);
    }
    // An answer is smaller than a pipe holds.
    let output = asked.0.stdout.take().map(std::io::read_to_string).transpose()?.unwrap_or_default();
    Ok(serde_json::from_str(&output)?)
}

/// A process that is gone when nobody waits for it.
struct Asked(Child);

impl Drop for Asked {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
