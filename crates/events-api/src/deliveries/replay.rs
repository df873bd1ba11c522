//! `POST /v1/deliveries/{delivery}/replay`

use actix_web::{HttpResponse, web};
use api_types::ReplayRequest;
use delivery_log::deliveries::Replayed;
use model::access::Scope;
use model::audit::Action;
use model::delivery::Delivery;

use super::{Begun, begin, missing, parse_id, settle};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, OfDelivery, Repeatable};
use crate::problem::{Code, Problem};

/// Sends the same delivery again: the same event id and bytes, to the
/// endpoint's present URL with its present secret.
#[utoipa::path(post, path = "/v1/deliveries/{delivery}/replay", tag = "Deliveries", operation_id = "deliveries.replay",
    security(("api_key" = ["deliveries:replay"])),
    params(OfDelivery, Repeatable, Expected),
    request_body = Option<ReplayRequest>,
    responses((status = 202, description = "The delivery, due now.", body = api_types::Delivery),
        (status = 409, description = "It was delivered (send `force`), is under way, or its endpoint is not enabled.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesReplay).await?;
    let id = parse_id(&path)?;
    match begin(&api, &caller, id, Action::DeliveryReplayed, &mut incoming).await? {
        Begun::Repeated(answer) => Ok(answer),
        Begun::New(text, once, entry) => {
            let wanted: ReplayRequest = text.parse_if_any()?;
            settle(api.store.replay(caller.view(), id, wanted.force, once, *entry).await?, check)
        }
    }
}

fn check(replayed: Replayed) -> Result<Box<Delivery>, Problem> {
    let conflict = |detail: &str| Err(Problem::new(Code::Conflict, detail));
    match replayed {
        Replayed::Due(delivery) => Ok(delivery),
        Replayed::AlreadyDelivered => {
            conflict("it was delivered; send {\"force\":true} to send it again all the same")
        }
        Replayed::Test => conflict("it is a test; POST …/{endpoint}/test sends another one"),
        Replayed::EndpointNotEnabled => {
            conflict("its endpoint is paused, disabled or deleted; enable the endpoint first")
        }
        Replayed::NotFound => Err(missing()),
    }
}
