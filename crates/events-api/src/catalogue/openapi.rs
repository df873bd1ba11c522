//! `GET /v1/catalogue/openapi.json`

use actix_web::{HttpResponse, web};
use model::access::Scope;
use model::catalogue::{EventTypeEntry, Version, VersionStatus};
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// Describes every webhook of the catalogue as OpenAPI 3.1, so that receivers
/// can generate their types from it.
#[utoipa::path(get, path = "/v1/catalogue/openapi.json", tag = "Event types", operation_id = "catalogue.openapi",
    security(("api_key" = ["event_types:read"])),
    responses((status = 200, description = "An OpenAPI 3.1 document with a webhook for each version.", body = serde_json::Value,
        example = json!({"openapi": "3.1.0", "info": {"title": "Webhooks", "version": "1"},
            "webhooks": {}}))))]
pub(crate) async fn handle(api: web::Data<Api>, credentials: Credentials) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesRead).await?;
    api.store.refresh().await?;
    let mut webhooks = Map::new();
    let mut schemas = Map::new();
    for entry in api.store.configuration().event_types(caller.view().project) {
        for version in entry.versions.iter().filter(|version| version.status != VersionStatus::Retired) {
            let name = format!("{}.v{}", entry.name, version.number);
            schemas.insert(name.clone(), version.schema.standing_at(&format!("#/components/schemas/{name}")));
            webhooks.insert(format!("{}@{}", entry.name, version.number), webhook(&entry, version, &name));
        }
    }
    Ok(outgoing::plain(&json!({
        "openapi": "3.1.0",
        "info": { "title": "Webhooks", "version": "1", "description": "Every event that an endpoint can get, \
            as its full payload. Each call is signed as Standard Webhooks say." },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "webhooks": webhooks,
        "components": { "schemas": schemas },
    })))
}

fn webhook(entry: &EventTypeEntry, version: &Version, data: &str) -> Value {
    let mut properties = json!({
        "type": { "const": entry.name.as_str() },
        "timestamp": { "type": "string", "format": "date-time", "description": "when it happened" },
        "id": { "type": "string", "description": "the same at every retry and replay" },
        "schema_version": { "const": version.number },
        "subject": { "type": "string", "description": "the id of the object that it happened to" },
        "revision": { "type": "integer" },
        "sequence": { "type": "integer", "description": "grows by one for each event of the tenant" },
        "test": { "type": "boolean" },
        "data": { "$ref": format!("#/components/schemas/{data}") },
    });
    if let Some(example) = version.example.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok())
    {
        properties["data"]["examples"] = json!([example]);
    }
    let description = match version.changelog.is_empty() {
        true => entry.description.clone(),
        false => format!("{}\n\n{}", entry.description, version.changelog),
    };
    json!({ "post": {
        "operationId": format!("{}_v{}", entry.name.as_str().replace('.', "_"), version.number),
        "summary": format!("{}, version {}", entry.name, version.number),
        "description": description,
        "deprecated": version.status == VersionStatus::Deprecated,
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["type", "timestamp", "id", "schema_version", "subject", "sequence", "data"],
            "properties": properties,
        } } } },
        "responses": { "2XX": { "description": "It arrived. Anything else is tried again." } },
    } })
}
