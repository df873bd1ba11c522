//! A catalogue of a hundred event types with three versions each, and data that
//! fits the type that is published.

use std::time::{Duration, Instant};

use anyhow::ensure;
use api_types::{ApplyPlan, ApplyRequest, EventTypeRequest, VersionRequest};
use reqwest::Method;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use client::Client;

/// How many event types there are.
const TYPES: usize = 100;

/// The data of an invoice, so many bytes long.
pub(crate) fn invoice(bytes: usize) -> String {
    let with_note = |note: &str| {
        json!({
            "id": "inv_0001", "currency": "EUR", "total": 12990, "tax": 2074, "status": "paid",
            "issued_at": "2026-11-21T12:00:00Z",
            "customer": { "id": "cus_0001", "email": "buyer@example.com", "country": "DE" },
            "lines": [
                { "sku": "A-1", "quantity": 2, "unit_price": 4995 },
                { "sku": "B-7", "quantity": 1, "unit_price": 3000 },
            ],
            "note": note,
        })
        .to_string()
    };
    let rest = with_note("").len();
    with_note(&"x".repeat(bytes.saturating_sub(rest)))
}

/// The schema of a version: the second one asks for more, the third one names
/// the prices of lines otherwise.
fn schema(version: u32) -> Value {
    let price = if version == 3 { "unit_price" } else { "price" };
    let mut line = json!({ "type": "object", "required": ["sku", "quantity", price], "properties": {
        "sku": { "type": "string", "pattern": "^[A-Z]-[0-9]+$" }, "quantity": { "type": "integer", "minimum": 1 } } });
    line["properties"][price] = json!({ "type": "integer", "minimum": 0 });
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["id", "currency", "total", "status", "customer", "lines"],
        "properties": {
            "id": { "type": "string", "minLength": 1, "maxLength": 64 },
            "currency": { "enum": ["EUR", "USD", "GBP", "CHF"] },
            "total": { "type": "integer", "minimum": 0 },
            "tax": { "type": ["integer", "null"], "minimum": 0 },
            "status": { "enum": ["open", "paid", "void"] },
            "issued_at": { "type": "string", "format": "date-time" },
            "customer": { "$ref": "#/$defs/customer" },
            "lines": { "type": "array", "minItems": 1, "maxItems": 100, "items": { "$ref": "#/$defs/line" } },
            "note": { "type": "string" },
        },
        "$defs": { "line": line, "customer": { "type": "object", "required": ["id"], "properties": {
            "id": { "type": "string" },
            "email": { "type": "string", "format": "email", "x-sensitive": true },
            "country": { "type": "string", "pattern": "^[A-Z]{2}$" },
        } } },
    });
    if version > 1 {
        schema["required"].as_array_mut().expect("a list").push(json!("issued_at"));
    }
    schema
}

fn version(number: u32) -> anyhow::Result<VersionRequest> {
    let downgrade = json!({ "steps": [{ "rename": "/lines/*/unit_price", "to": "price" }] });
    Ok(VersionRequest {
        number: Some(number),
        schema: Some(to_raw_value(&schema(number))?),
        downgrade: (number == 3).then_some(downgrade),
        ..VersionRequest::default()
    })
}

/// Applies the catalogue, and gives how long that took.
pub(crate) async fn apply(client: &Client) -> anyhow::Result<Duration> {
    let mut types = Vec::with_capacity(TYPES);
    for number in 0..TYPES {
        let name = if number == 0 { "bench.event".to_owned() } else { format!("bench.other_{number}") };
        let versions = (1..=3).map(version).collect::<anyhow::Result<_>>()?;
        types.push(EventTypeRequest { name: Some(name), versions, ..EventTypeRequest::default() });
    }
    let began = Instant::now();
    let request = ApplyRequest { types, dry_run: false };
    let plan: ApplyPlan = client.send_json(Method::POST, "/v1/catalogue/apply", &request).await?;
    ensure!(
        plan.applied && plan.steps.len() == TYPES * 4,
        "the catalogue was not applied: {:?}",
        plan.errors
    );
    Ok(began.elapsed())
}
