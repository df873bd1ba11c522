//! Downgrades: what they make of data, and what is promised of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

use model::downgrade::Downgrade;
use model::schema::{Schema, Unhurried};
use serde_json::{Value, json};

fn downgrade(steps: Value) -> Downgrade {
    Downgrade::parse(&json!({ "steps": steps })).unwrap()
}

fn schema(schema: Value) -> Schema {
    Schema::parse(&schema.to_string(), &Unhurried).unwrap()
}

#[test]
fn steps_change_what_they_name_and_nothing_else() {
    let steps = json!([
        { "rename": "/total_cents", "to": "total" },
        { "move": "/customer/mail", "to": "/contact/mail" },
        { "drop": "/note" },
        { "default": "/currency", "value": "EUR" },
        { "map": "/status", "values": { "settled": "paid" }, "otherwise": "open" },
        { "rename": "/lines/*/unit_price", "to": "price" },
        { "default": "/lines/*/vat", "value": { "rate": 0.19 } },
        { "map": "/flag", "values": { "true": "yes" } },
    ]);
    let data = r#"{ "id":"ä\u0041", "total_cents": 1.10, "customer":{"mail":"a@b.de","n":1e2},
        "note":[1], "status":"settled", "flag":true,
        "lines":[{"unit_price":1.0},{"unit_price":2,"vat":null},7] }"#;
    assert_eq!(
        downgrade(steps).apply(data).unwrap(),
        concat!(
            r#"{"id":"ä\u0041","customer":{"n":1e2},"status":"paid","flag":"yes","#,
            r#""lines":[{"price":1.0,"vat":{"rate":0.19}},{"vat":null,"price":2},7],"#,
            r#""total":1.10,"contact":{"mail":"a@b.de"},"currency":"EUR"}"#
        )
    );
}

#[test]
fn steps_about_what_is_not_there_do_nothing() {
    let steps = json!([
        { "rename": "/a/b", "to": "c" }, { "move": "/x", "to": "/y/z" }, { "drop": "/list/*/q" },
        { "map": "/s", "values": { "a": "b" } }, { "default": "/deep/er", "value": 1 },
    ]);
    let same = r#"{"s":"other","list":3}"#;
    assert_eq!(downgrade(steps).apply(same).unwrap(), same);
}

#[test]
fn a_downgrade_that_cannot_be_used_says_where_and_why() {
    for (source, pointer) in [
        (json!([]), ""),
        (json!({ "step": [] }), "/step"),
        (json!({ "steps": {} }), "/steps"),
        (json!({ "at_sunset": "later" }), "/at_sunset"),
        (json!({ "steps": [{}] }), "/steps/0"),
        (json!({ "steps": [{ "drop": "/a", "map": "/b" }] }), "/steps/0"),
        (json!({ "steps": [{ "drop": "a" }] }), "/steps/0/drop"),
        (json!({ "steps": [{ "drop": "/a/*" }] }), "/steps/0/drop"),
        (json!({ "steps": [{ "drop": "/a", "to": "b" }] }), "/steps/0/to"),
        (json!({ "steps": [{ "rename": "/a", "to": "/b" }] }), "/steps/0/to"),
        (json!({ "steps": [{ "move": "/a/*/b", "to": "/c" }] }), "/steps/0/to"),
        (json!({ "steps": [{ "default": "/a" }] }), "/steps/0/value"),
        (json!({ "steps": [{ "map": "/a", "values": {} }] }), "/steps/0/values"),
        (json!({ "steps": vec![json!({ "drop": "/a" }); 101] }), "/steps"),
    ] {
        let faults = Downgrade::parse(&source).unwrap_err();
        assert!(faults.iter().any(|fault| fault.pointer == pointer), "{source}: {faults:?}");
    }
}

fn money(total: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": { "total": total, "note": { "type": "string" } }, "required": required })
}

#[test]
fn a_downgrade_is_checked_against_both_schemas_and_the_examples() {
    let older = schema(money(json!({ "type": "integer" }), &["total"]));
    let newer = schema(json!({ "type": "object", "required": ["amount"], "properties": {
        "amount": { "type": "integer" }, "state": { "enum": ["settled", "open"] } } }));
    let good = downgrade(json!([{ "rename": "/amount", "to": "total" }]));
    assert_eq!(good.check(&older, &newer, &[json!({ "amount": 5 })], &Unhurried), Default::default());

    let told = |steps: Value, examples: &[Value]| -> Vec<String> {
        let checked = downgrade(steps).check(&older, &newer, examples, &Unhurried);
        checked.faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect()
    };
    assert_eq!(
        told(json!([]), &[]),
        [" after the downgrade, /properties/total: was always there, and now may be missing"]
    );
    assert_eq!(
        told(json!([{ "rename": "/amount", "to": "total" }, { "drop": "/gone" }]), &[]),
        ["/steps/1 is about a place that the newer schema does not describe"]
    );
    assert_eq!(
        told(json!([{ "default": "/total", "value": "none" }]), &[]),
        [" after the downgrade, /properties/total: may now be \"none\", which was not allowed"]
    );
    let of_examples = told(json!([{ "rename": "/amount", "to": "total" }]), &[json!({ "amount": "five" })]);
    assert_eq!(of_examples.len(), 1);
    assert!(of_examples[0].starts_with(" of example 0, /total:"), "{of_examples:?}");
}

#[test]
fn values_are_promised_when_they_are_mapped() {
    let older = schema(json!({ "properties": { "status": { "enum": ["paid", "open"] } } }));
    let newer = |status: Value| schema(json!({ "properties": { "status": status } }));
    let all = downgrade(json!([{ "map": "/status", "values": { "settled": "paid" }, "otherwise": "open" }]));
    let some = downgrade(json!([{ "map": "/status", "values": { "settled": "paid" } }]));
    assert_eq!(all.check(&older, &newer(json!({ "type": "string" })), &[], &Unhurried), Default::default());
    assert_eq!(
        some.check(&older, &newer(json!({ "enum": ["settled", "open"] })), &[], &Unhurried),
        Default::default()
    );
    assert_eq!(
        some.check(&older, &newer(json!({ "enum": ["settled", "lost"] })), &[], &Unhurried).faults.len(),
        1
    );
}

#[test]
fn what_may_be_null_promises_nothing_of_its_members() {
    let older = schema(json!({ "required": ["mail"], "properties": { "mail": { "type": "string" } } }));
    let newer = |kind: Value| {
        schema(
            json!({ "required": ["customer"], "properties": { "customer": { "type": kind, "required": ["mail"],
            "properties": { "mail": { "type": "string" } } } } }),
        )
    };
    let steps = downgrade(json!([{ "move": "/customer/mail", "to": "/mail" }]));
    assert_eq!(steps.check(&older, &newer(json!("object")), &[], &Unhurried), Default::default());
    assert_eq!(steps.check(&older, &newer(json!(["object", "null"])), &[], &Unhurried).faults.len(), 1);
}

#[test]
fn numbers_are_mapped_however_they_are_written() {
    let steps = downgrade(json!([{ "map": "/n", "values": { "1": "one" } }]));
    for text in [r#"{"n":1}"#, r#"{"n":1.0}"#, r#"{"n":1e0}"#] {
        assert_eq!(steps.apply(text).unwrap(), r#"{"n":"one"}"#);
    }
    assert_eq!(steps.apply(r#"{"n":1.5}"#).unwrap(), r#"{"n":1.5}"#);
}

#[test]
fn what_cannot_be_told_from_the_schemas_is_a_doubt() {
    let older = schema(json!({ "properties": { "a": { "type": "string" } } }));
    let newer = schema(json!({ "anyOf": [{ "properties": { "b": {} } }, { "properties": { "c": {} } }] }));
    let checked = downgrade(json!([{ "rename": "/b", "to": "a" }])).check(&older, &newer, &[], &Unhurried);
    assert_eq!((checked.faults.len(), checked.doubts.len()), (0, 1));
}

#[test]
fn a_step_changes_one_place_and_not_all_that_share_its_definition() {
    let of = |user: Value, sender: Value| {
        schema(json!({ "type": "object", "required": ["sender", "owner"], "additionalProperties": false,
            "properties": { "sender": sender, "owner": { "$ref": "#/$defs/user" } }, "$defs": { "user": user } }))
    };
    let user =
        |fields: Value| json!({ "type": "object", "properties": fields, "additionalProperties": false });
    let (plain, named) =
        (json!({ "id": { "type": "string" } }), json!({ "id": { "type": "string" }, "name": {} }));
    let newer = of(user(named.clone()), json!({ "$ref": "#/$defs/user" }));
    let older = of(user(named), user(plain.clone()));
    let one = downgrade(json!([{ "drop": "/sender/name" }]));
    assert_eq!(one.check(&older, &newer, &[], &Unhurried), Default::default());
    // The other place has the member still.
    let strict = of(user(plain.clone()), user(plain));
    assert_eq!(one.check(&strict, &newer, &[], &Unhurried).faults.len(), 1);
    // Where parts refer to one another as they stand, nothing is promised.
    let odd = schema(json!({ "properties": { "a": {}, "b": { "$ref": "#/properties/a" } } }));
    assert_eq!(downgrade(json!([{ "drop": "/a" }])).check(&odd, &odd, &[], &Unhurried).doubts.len(), 1);
}
