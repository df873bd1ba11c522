//! What the end-to-end tests share.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

pub(crate) mod load;

use std::time::Duration;

use model::clock::Timestamp;
use model::signature::{self, VerifyingSecret};
use testkit::{Program, Received, Start};

/// How the program is started.
pub(crate) fn settings() -> Start {
    Start::new(env!("CARGO_BIN_EXE_posthorn"))
}

/// A running server.
pub(crate) async fn start() -> Program {
    Program::start(settings()).await
}

/// Checks the signature of a request with our own rules; the interoperability
/// test does so with the libraries of others.
#[track_caller]
pub(crate) fn verify(secret: &str, request: &Received) {
    let secret = VerifyingSecret::parse(secret).unwrap();
    let (id, timestamp) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    let signatures = request.header("webhook-signature");
    signature::verify(&secret, id, timestamp, signatures, &request.body, None).unwrap();
}

/// The body of the request that came to this path.
pub(crate) fn received_body(requests: &[Received], path: &str) -> String {
    let request = requests.iter().find(|request| request.path == path).unwrap();
    String::from_utf8(request.body.clone()).unwrap()
}

/// A time of the day so far from now, by the clock that the program has.
#[allow(clippy::disallowed_methods, reason = "a time is written for the clock of the program under test")]
pub(crate) fn from_now(span: Duration) -> Timestamp {
    let micros = jiff::Timestamp::now().as_microsecond();
    Timestamp::from_micros(micros).plus(span)
}
