//! `Idempotency-Key` on requests that create or do something.
//!
//! The answer is made before the work, from what the work will be, so that
//! the store can keep it in the same transaction.

use actix_web::HttpResponse;
use delivery_log::idempotency::{FirstAnswer, KeptAnswer, Once, Performed};
use model::clock::Timestamp;
use model::ids::TenantId;
use serde::Serialize;

use crate::api::Api;
use crate::auth::Caller;
use crate::incoming::{Incoming, Text};
use crate::outgoing;
use crate::problem::Problem;

/// The first answer to this request, if it was made before under the same key.
pub(crate) async fn repeated(
    api: &Api,
    (incoming, caller, tenant): (&Incoming, &Caller, Option<TenantId>),
    text: &Text,
) -> Result<Option<HttpResponse>, Problem> {
    let Some(key_use) = incoming.key_use(caller, tenant, text, api.now())? else { return Ok(None) };
    match api.store.first_answer(caller.view().project, &key_use).await? {
        FirstAnswer::None => Ok(None),
        FirstAnswer::Kept(answer) => Ok(Some(outgoing::kept(answer, true, None))),
        FirstAnswer::Event { .. } | FirstAnswer::OtherRequest => Err(Problem::key_reused()),
    }
}

/// An answer, and what a repetition of its request is recognised by.
pub(crate) struct Prepared {
    answer: KeptAnswer,
    once: Option<Once>,
    updated_at: Option<Timestamp>,
}

impl Prepared {
    /// An answer to a request of a caller about a tenant.
    pub(crate) fn new(
        api: &Api,
        (incoming, caller, tenant): (&Incoming, &Caller, Option<TenantId>),
        text: &Text,
        status: u16,
        location: Option<String>,
        body: &impl Serialize,
    ) -> Result<Self, Problem> {
        let answer = KeptAnswer { status, location, body: outgoing::to_json(body) };
        let key_use = incoming.key_use(caller, tenant, text, api.now())?;
        let once = key_use.map(|key_use| Once { key_use, answer: answer.clone(), show: None });
        Ok(Self { answer, once, updated_at: None })
    }

    /// The first answer carries the `ETag` of what was made.
    pub(crate) fn with_etag(mut self, updated_at: Timestamp) -> Self {
        self.updated_at = Some(updated_at);
        self
    }

    /// For the store.
    pub(crate) fn once(&self) -> Option<Once> {
        self.once.clone()
    }

    /// The answer to this request, if `accept` takes what came of the work.
    pub(crate) fn settle<T>(
        self,
        performed: Performed<T>,
        accept: impl FnOnce(T) -> Result<(), Problem>,
    ) -> Result<HttpResponse, Problem> {
        match performed {
            Performed::First(result) => {
                accept(result)?;
                Ok(outgoing::kept(self.answer, false, self.updated_at))
            }
            Performed::Repeated(answer) => Ok(outgoing::kept(answer, true, None)),
            Performed::KeyReused => Err(Problem::key_reused()),
        }
    }
}
