//! `GET /v1/tenants/{tenant}/endpoints/{endpoint}/health`

use std::time::Duration;

use actix_web::{HttpResponse, web};
use api_types::words::Breaker;
use delivery_log::endpoints::{COUNTED_BACKLOG, EndpointReport, RecentAttempt};
use model::access::Scope;
use model::attempt::ErrorClass;
use model::breaker::State;
use model::clock::Timestamp;
use model::delivery::{HeldBy, Hold};
use model::ids::EndpointId;

use super::find;
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{InTenant, OfEndpoint};
use crate::outgoing;
use crate::problem::Problem;

/// Shows how an endpoint does: breaker, successes, latency, backlog.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/health", tag = "Endpoints", operation_id = "endpoints.getHealth",
    security(("api_key" = ["endpoints:read"])),
    params(InTenant, OfEndpoint),
    responses((status = 200, description = "How it does.", body = api_types::EndpointHealth)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsRead).await?;
    let tenant = api.tenant(&caller, &path.0).await?;
    let endpoint = find(&api, &caller, &tenant, &path.1).await?.endpoint;
    Ok(outgoing::plain(&report(&api, endpoint.id).await?))
}

/// How an endpoint does now.
pub(super) async fn report(api: &Api, id: EndpointId) -> Result<api_types::EndpointHealth, Problem> {
    let report = api.store.report_on_endpoint(id).await?;
    let is_called = api.store.configuration().is_called(id).unwrap_or(false);
    Ok(present(&report, is_called, api.now()))
}

fn present(report: &EndpointReport, is_called: bool, now: Timestamp) -> api_types::EndpointHealth {
    let EndpointReport { health, recent, waiting } = report;
    let hold = match is_called {
        true => health.hold(now),
        false => Some(Hold { by: HeldBy::Paused, until: None }),
    };
    let mut took: Vec<Duration> = recent.iter().map(|attempt| attempt.took).collect();
    took.sort_unstable();
    let at = |share: f64| {
        let place = (took.len() as f64 * share) as usize;
        took.get(place.min(took.len().saturating_sub(1))).map(|took| took.as_secs_f64() * 1_000.0)
    };
    let succeeded = recent.iter().filter(|attempt| attempt.error_class == ErrorClass::None).count();
    api_types::EndpointHealth {
        breaker: match health.breaker.state() {
            State::Closed => Breaker::Closed,
            State::Open { until } if until > now => Breaker::Open,
            State::Open { .. } | State::HalfOpen { .. } => Breaker::HalfOpen,
        }
        .to_string(),
        held_by: hold.map(|hold| hold.by.as_str().to_owned()),
        held_until: hold.and_then(|hold| hold.until),
        failing_since: health.failing.map(|failing| failing.since),
        failures: health.failing.map_or(0, |failing| failing.count),
        attempts: recent.len(),
        success_rate: (!recent.is_empty()).then(|| succeeded as f64 / recent.len() as f64),
        latency_p50_ms: at(0.5),
        latency_p95_ms: at(0.95),
        backlog: (*waiting).min(COUNTED_BACKLOG),
        backlog_is_more: *waiting > COUNTED_BACKLOG,
        last_error: recent.iter().find(|attempt| attempt.error_class != ErrorClass::None).map(last_error),
    }
}

fn last_error(attempt: &RecentAttempt) -> api_types::LastError {
    api_types::LastError {
        error_class: attempt.error_class.to_string(),
        http_status: attempt.http_status,
        detail: attempt.error_detail.clone(),
        at: attempt.started_at,
    }
}
