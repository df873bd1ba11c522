//! Erasures, and their receipts.

pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod list;

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use delivery_log::erasures::ErasureStep;
use model::erasure::{Erasure, ErasureState};
use model::ids::ErasureId;
use tokio::time::Instant;

use crate::api::Api;
use crate::outgoing;
use crate::problem::{Code, Problem};

/// So many events are removed in one transaction, so that others wait little.
const STEP: u32 = 200;
/// For so long an answer waits for the end of an erasure.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait for calls that are under way, before it is looked again.
const REST: Duration = Duration::from_millis(100);

fn present(api: &Api, erasure: &Erasure) -> api_types::Erasure {
    let completed = erasure.state == ErasureState::Completed;
    api_types::Erasure {
        id: erasure.id.to_string(),
        tenant: erasure.handle.to_string(),
        subject: erasure.subject.as_ref().map(ToString::to_string),
        reason: erasure.reason.clone(),
        state: erasure.state.to_string(),
        erased: erasure.erased,
        remains: api.store.remains().iter().map(|one| (*one).to_owned()).collect(),
        created_at: erasure.created_at,
        completed_at: completed.then_some(erasure.updated_at),
    }
}

/// Goes on with an erasure until it has ended or patience has. A dispatcher does the
/// rest, also if this process ends.
pub(crate) async fn drive(api: &Api, id: ErasureId) -> Result<HttpResponse, Problem> {
    let until = Instant::now() + PATIENCE;
    loop {
        let gone = || Problem::new(Code::Internal, "the erasure that was begun is not there");
        let stands = match api.store.advance_erasure(id, STEP).await?.ok_or_else(gone)? {
            ErasureStep::Ended(erasure) => return Ok(answer(api, &erasure)),
            ErasureStep::GoesOn(erasure) => erasure,
            ErasureStep::Waits(erasure) => {
                tokio::time::sleep(REST).await;
                erasure
            }
        };
        if Instant::now() >= until {
            return Ok(answer(api, &stands));
        }
    }
}

/// 200 with the receipt, or 202 if it goes on.
fn answer(api: &Api, erasure: &Erasure) -> HttpResponse {
    let mut answer = outgoing::one(&present(api, erasure), erasure.updated_at);
    if erasure.state == ErasureState::Running {
        *answer.status_mut() = StatusCode::ACCEPTED;
    }
    outgoing::located(answer, &format!("/v1/erasures/{}", erasure.id))
}

fn missing() -> Problem {
    Problem::not_found("erasure")
}
