//! `POST /v1/deliveries/{delivery}/cancel`

use actix_web::{HttpResponse, web};
use delivery_log::deliveries::Canceled;
use model::access::Scope;
use model::audit::Action;
use model::delivery::Delivery;

use super::{Begun, begin, missing, parse_id, settle};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, OfDelivery};
use crate::problem::{Code, Problem};

/// Withdraws a delivery that waits. A call that is under way is not cut.
#[utoipa::path(post, path = "/v1/deliveries/{delivery}/cancel", tag = "Deliveries", operation_id = "deliveries.cancel",
    security(("api_key" = ["deliveries:replay"])),
    params(OfDelivery, Expected),
    responses((status = 202, description = "The delivery, withdrawn.", body = api_types::Delivery),
        (status = 409, description = "It is no longer waiting.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesReplay).await?;
    let id = parse_id(&path)?;
    match begin(&api, &caller, id, Action::DeliveryCanceled, &mut incoming).await? {
        Begun::Repeated(answer) => Ok(answer),
        Begun::New(_, once, entry) => settle(api.store.cancel(caller.view(), id, once, *entry).await?, check),
    }
}

fn check(canceled: Canceled) -> Result<Box<Delivery>, Problem> {
    match canceled {
        Canceled::Done(delivery) => Ok(delivery),
        Canceled::AlreadyEnded => {
            Err(Problem::new(Code::Conflict, "it has been delivered, has failed, or was canceled before"))
        }
        Canceled::NotFound => Err(missing()),
    }
}
