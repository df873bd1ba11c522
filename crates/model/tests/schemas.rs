//! Schemas, compared and used with values that nobody thought of.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod arbitrary;

use arbitrary::{Choices, changed, schema, value};
use model::schema::{Answer, Question, Reasoner, Schema, Unhurried};
use serde_json::{Value, json};

/// How many pairs of schemas are compared.
const PAIRS: u64 = 4_000;
/// How many values are tried on each.
const VALUES: usize = 12;

/// Knows nothing, at once.
struct Silent;

impl Reasoner for Silent {
    fn answer(&self, _: Question) -> Answer {
        Answer::Unknown
    }
}

fn parsed(schema: &Value) -> Option<Schema> {
    Schema::parse(&schema.to_string(), &Unhurried).ok()
}

#[test]
fn data_of_a_compatible_schema_never_surprises_a_receiver_of_the_one_before() {
    let (mut compatible, mut tried, mut refused) = (0, 0, 0);
    for seed in 0..PAIRS {
        let mut choices = Choices::new(seed);
        let root = |data: &Value| match seed % 4 {
            0 => json!({ "$schema": "http://json-schema.org/draft-07/schema#", "required": ["data"],
                "properties": { "data": { "$ref": "#/definitions/d" } }, "definitions": { "d": data } }),
            1 => json!({ "type": "object", "required": ["data"], "$defs": { "d": data },
                "properties": { "data": { "$ref": "#/$defs/d", "description": "referred to" } } }),
            _ => json!({ "type": "object", "required": ["data"], "properties": { "data": data } }),
        };
        let older = schema(&mut choices, 3);
        let inner = changed(&mut choices, &older);
        let (older, newer) = (root(&older), root(&inner));
        let (Some(old), Some(new)) = (parsed(&older), parsed(&newer)) else { continue };
        let breaks = old.breaks(&new, &Unhurried);
        for _ in 0..VALUES {
            let data = json!({ "data": value(&mut choices, &inner, 4) });
            let bytes = data.to_string().len();
            if !data.is_object() || new.validate(&data, bytes).is_err() {
                continue;
            }
            tried += 1;
            let surprises = old.validate(&data, bytes).is_err();
            assert!(
                !surprises || !breaks.is_empty(),
                "seed {seed}: {data}\nfits {newer}\nand not {older},\nwhich were said to be compatible"
            );
            refused += usize::from(surprises);
        }
        compatible += usize::from(breaks.is_empty());
    }
    // Otherwise nothing was shown.
    assert!(compatible > 300 && tried > 10_000 && refused > 500, "{compatible} {tried} {refused}");
}

#[test]
fn a_schema_is_compatible_with_itself() {
    for seed in 0..1_000 {
        let schema = schema(&mut Choices::new(seed), 3);
        let schema = json!({ "type": "object", "properties": { "data": schema } });
        if let Some(parsed) = parsed(&schema) {
            assert_eq!(parsed.breaks(&parsed, &Unhurried), [], "{schema}");
        }
    }
}

/// The breaks between two schemas of `total`, as they are told.
fn told(older: Value, newer: Value) -> Vec<String> {
    let of = |total: Value| {
        let schema = json!({ "type": "object", "properties": { "total": total } });
        Schema::parse(&schema.to_string(), &Unhurried).unwrap()
    };
    of(older).breaks(&of(newer), &Unhurried).iter().map(ToString::to_string).collect()
}

#[test]
fn each_break_is_named_with_its_place() {
    let at = "/properties/total";
    let nested = |price: Value| json!({ "type": "array", "items": { "properties": { "price": price } } });
    let cases = [
        (
            json!({ "type": "integer" }),
            json!({ "type": "string" }),
            "type changed from integer to string",
            "",
        ),
        (
            json!({ "type": "integer" }),
            json!({ "type": ["integer", "null"] }),
            "may now be null, and was integer",
            "",
        ),
        (json!({ "type": "integer" }), json!({ "type": "number" }), "may now be number, and was integer", ""),
        (
            json!({ "enum": ["a"] }),
            json!({ "enum": ["a", "b"] }),
            "may now be \"b\", which was not allowed",
            "",
        ),
        (json!({ "const": 1 }), json!({ "type": "integer" }), "was always 1, and is not any more", ""),
        (json!({ "maxLength": 5 }), json!({ "maxLength": 6 }), "was 5, and is now 6", "/maxLength"),
        (json!({ "minimum": 0 }), json!(true), "was 0, and is not bounded any more", "/minimum"),
        (
            json!({ "pattern": "^a" }),
            json!({ "type": "string" }),
            "was \"^a\", and is not asked for any more",
            "/pattern",
        ),
        (
            json!({ "format": "date" }),
            json!({ "format": "date-time" }),
            "changed from \"date\" to \"date-time\"",
            "/format",
        ),
        (
            json!({ "required": ["id"] }),
            json!({}),
            "was always there, and now may be missing",
            "/properties/id",
        ),
        (
            nested(json!({ "type": "integer" })),
            nested(json!({ "type": "string" })),
            "type changed from integer to string",
            "/items/properties/price",
        ),
        (
            json!({ "properties": { "a": { "type": "string" } } }),
            json!({ "properties": {} }),
            "is not described any more, so any value may come",
            "/properties/a",
        ),
        (
            json!({ "additionalProperties": false, "properties": {} }),
            json!({ "additionalProperties": false, "properties": { "b": {} } }),
            "is new, and further properties were not allowed",
            "/properties/b",
        ),
    ];
    for (older, newer, detail, below) in cases {
        let found = told(older.clone(), newer.clone());
        assert!(found.contains(&format!("{at}{below}: {detail}")), "{older} to {newer}: {found:?}");
    }
}

#[test]
fn schemas_of_different_drafts_are_not_compared() {
    // Draft-07 knows neither of these.
    let schema = json!({ "properties": { "id": { "format": "uuid" } }, "dependentRequired": { "a": ["b"] } });
    let mut other = schema.clone();
    other["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    let (schema, other) = (parsed(&schema).unwrap(), parsed(&other).unwrap());
    assert_eq!(schema.breaks(&other, &Unhurried)[0].pointer, "/$schema");
}

#[test]
fn a_mark_beside_a_reference_counts_in_draft_07_too() {
    let schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "definitions": { "card": {} },
        "properties": { "card": { "$ref": "#/definitions/card", "x-sensitive": true } } });
    assert_eq!(parsed(&schema).unwrap().masked(&json!({ "card": "4111" })), json!({ "card": "***" }));
}

#[test]
fn what_only_adds_or_tightens_is_compatible() {
    let variants = json!({ "oneOf": [
        { "properties": { "kind": { "const": "card" }, "last4": { "type": "string" } }, "required": ["kind", "last4"] },
        { "properties": { "kind": { "const": "cash" } }, "required": ["kind"] },
    ], "type": "object" });
    let mut one_less = variants.clone();
    one_less["oneOf"].as_array_mut().unwrap().pop();
    for (older, newer) in [
        (json!({ "type": "number" }), json!({ "type": "integer" })),
        (json!({ "type": ["string", "null"] }), json!({ "type": "string", "minLength": 1 })),
        (json!({ "enum": ["a", "b"] }), json!({ "const": "b" })),
        (
            json!({ "properties": { "a": { "type": "string" } } }),
            json!({ "properties": { "a": { "type": "string" }, "b": { "type": "integer" } }, "required": ["a"] }),
        ),
        (
            json!({ "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 0 }] }),
            json!({ "type": "integer", "minimum": 3 }),
        ),
        (
            json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
            json!({ "type": ["null", "string"] }),
        ),
        (
            json!({ "allOf": [{ "minimum": 0 }, { "type": "integer" }] }),
            json!({ "type": "integer", "exclusiveMinimum": 0 }),
        ),
        (json!({ "type": "integer", "minimum": 1 }), json!({ "type": "integer", "exclusiveMinimum": 0 })),
        (variants.clone(), one_less),
        (variants.clone(), variants),
    ] {
        assert_eq!(told(older.clone(), newer.clone()), [] as [String; 0], "{older} to {newer}");
    }
}

#[test]
fn patterns_that_people_use_are_taken() {
    for pattern in [
        r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$",
        r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
        r"^\w{1,64}$",
        r"^(ord|inv|cus)_[0-9a-z]{26}$",
        r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$",
        r"^#[0-9a-fA-F]{6}$",
        r"^[A-Za-zÀ-ÿ .'-]{1,40}$",
        r"^\+[1-9]\d{6,14}$",
    ] {
        let schema = json!({ "properties": { "a": { "pattern": pattern } } });
        assert!(parsed(&schema).is_some(), "{pattern}: {:?}", Schema::parse(&schema.to_string(), &Unhurried));
    }
}

fn faults(schema: Value) -> Vec<(String, String)> {
    let faults = Schema::parse(&schema.to_string(), &Unhurried).unwrap_err();
    faults.into_iter().map(|fault| (fault.pointer, fault.detail)).collect()
}

#[test]
fn a_schema_that_cannot_be_used_says_where_and_why() {
    let chain: serde_json::Map<String, Value> = (0..20)
        .map(|n| {
            let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
            (format!("d{n}"), if n == 19 { json!({}) } else { json!({ "allOf": [next, next] }) })
        })
        .collect();
    for (schema, pointer, says) in [
        (json!({ "$ref": "https://example.com/a.json" }), "/$ref", "outside the schema"),
        (json!({ "$ref": "other.json#/a" }), "/$ref", "outside the schema"),
        (json!({ "$ref": "#/$defs/none" }), "/$ref", "points to nothing"),
        (json!({ "$ref": "#" }), "", "in the same place"),
        (json!({ "anyOf": [{ "$ref": "#" }, { "type": "null" }] }), "", "in the same place"),
        (
            json!({ "properties": { "x": { "$ref": "#/$defs/a" } },
                "$defs": { "a": { "not": { "$ref": "#/$defs/b" } }, "b": { "$ref": "#/$defs/a" } } }),
            "/properties/x",
            "in the same place",
        ),
        (
            json!({ "properties": { "x": (0..30).fold(json!({}), |x, _| json!({ "allOf": [x] })) } }),
            "/properties/x",
            "more than 24",
        ),
        (json!({ "$ref": "#/$defs/d0", "$defs": chain }), "", "more than 24"),
        (json!({ "$schema": "http://json-schema.org/draft-04/schema#" }), "/$schema", "draft"),
        (json!({ "properties": { "a": { "type": "strin" } } }), "/properties/a/type", ""),
        (json!({ "properties": { "a": { "pattern": "(" } } }), "/properties/a/pattern", ""),
        (json!({ "properties": { "a": { "pattern": "(?=x)" } } }), "/properties/a/pattern", ""),
        (
            json!({ "properties": { "a": { "pattern": "((a{1,99}){1,99}){1,99}" } } }),
            "/properties/a/pattern",
            "",
        ),
        (json!({ "properties": { "a": { "pattern": "a".repeat(513) } } }), "/properties/a/pattern", "longer"),
        (json!({ "properties": { "a": { "format": "regex" } } }), "/properties/a/format", "not supported"),
        (
            json!({ "properties": { "a": { "x-sensitive": "yes" } } }),
            "/properties/a/x-sensitive",
            "true or false",
        ),
        (
            json!({ "properties": { "a": { "type": "integer", "minimum": 5, "maximum": 4 } } }),
            "/properties/a",
            "contradicts itself",
        ),
        (json!({ "type": "object", "properties": { "a": false }, "required": ["a"] }), "", "no JSON object"),
        (json!({ "allOf": [{ "type": "string" }, { "type": "object" }] }), "", "no JSON object"),
        (json!({ "type": "string" }), "", "no JSON object"),
        // Referred to, a part counts that the draft knows nothing of.
        (
            json!({ "$schema": "http://json-schema.org/draft-07/schema#",
                "properties": { "a": { "$ref": "#/$defs/x" } }, "$defs": { "x": { "description": null } } }),
            "/$defs/x",
            "",
        ),
        (
            json!({ "properties": { "a": { "allOf": vec![json!({ "pattern": "a" }); 100] },
            "b": { "anyOf": vec![json!({ "pattern": "a" }); 100] }, "c": { "pattern": "a" } } }),
            "/properties/c",
            "more than 200 patterns",
        ),
    ] {
        let found = faults(schema.clone());
        assert!(
            found.iter().any(|(at, detail)| at == pointer && detail.contains(says)),
            "{schema}: {found:?}"
        );
    }
    assert!(Schema::parse("[]", &Unhurried).is_err());
    assert!(Schema::parse("{", &Unhurried).is_err());
    assert!(Schema::parse(&format!("{{\"title\":\"{}\"}}", "a".repeat(70_000)), &Unhurried).is_err());
}

#[test]
fn faults_of_data_point_to_their_place_and_say_nothing_of_its_values() {
    let schema = json!({ "type": "object", "required": ["id"], "properties": {
        "id": { "type": "string" }, "lines": { "items": { "properties": { "card": { "maxLength": 4 } } } } } });
    let schema = Schema::parse(&schema.to_string(), &Unhurried).unwrap();
    let data = json!({ "lines": [{ "card": "ok" }, { "card": "4111111111111111" }] });
    let faults = schema.validate(&data, data.to_string().len()).unwrap_err();
    let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert!(pointers.contains(&"") && pointers.contains(&"/lines/1/card"), "{faults:?}");
    assert!(!format!("{faults:?}").contains("4111"), "{faults:?}");
}

#[test]
fn what_is_sensitive_is_masked_wherever_it_may_stand() {
    let schema = json!({ "properties": {
        "card": { "type": "string", "x-sensitive": true },
        "buyers": { "items": { "$ref": "#/$defs/person" } },
        "owner": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/person" }] },
    }, "additionalProperties": { "properties": { "pin": { "x-sensitive": true } } },
        "$defs": { "person": { "properties": { "mail": { "x-sensitive": true } } } } });
    let schema = Schema::parse(&schema.to_string(), &Unhurried).unwrap();
    assert!(schema.has_sensitive());
    let data = json!({ "card": "4111", "total": 5, "buyers": [{ "mail": "a@b.de", "name": "A" }],
        "owner": { "mail": { "work": "c@d.de" } }, "other": { "pin": 1 } });
    assert_eq!(
        schema.masked(&data),
        json!({ "card": "***", "total": 5,
        "buyers": [{ "mail": "***", "name": "A" }], "owner": { "mail": "***" }, "other": { "pin": "***" } })
    );
}

/// A schema of `n` definitions, each of which has `fields` fields and refers to
/// several others, as products write them.
fn product(n: usize, fields: usize) -> Value {
    let definition = |at: usize| {
        let mut properties = serde_json::Map::new();
        for field in 0..fields {
            properties
                .insert(format!("field_{at}_{field}"), json!({ "type": "string", "maxLength": 100 + field }));
        }
        for other in [at + 1, at * 7 + 3, at * 3 + 1, at + n / 2] {
            let reference = json!({ "$ref": format!("#/$defs/thing_{}", other % n) });
            properties.insert(format!("to_{other}"), json!({ "anyOf": [reference, { "type": "null" }] }));
        }
        json!({ "type": "object", "properties": properties, "required": [format!("field_{at}_0")] })
    };
    let definitions: serde_json::Map<String, Value> =
        (0..n).map(|at| (format!("thing_{at}"), definition(at))).collect();
    json!({ "type": "object", "properties": { "thing": { "$ref": "#/$defs/thing_0" },
        "all": { "items": { "$ref": "#/$defs/thing_1" } } }, "$defs": definitions })
}

#[test]
fn definitions_that_many_share_are_taken_compared_and_checked_as_they_are() {
    let schema = product(60, 8);
    assert!(schema.to_string().len() > 40_000, "{}", schema.to_string().len());
    let older = parsed(&schema).expect("is taken");
    assert_eq!(older.breaks(&older, &Unhurried), []);
    // A change in one definition is found wherever it is used first.
    let mut newer = schema.clone();
    newer["$defs"]["thing_41"]["properties"]["field_41_3"] = json!({ "type": "integer" });
    let breaks = older.breaks(&parsed(&newer).unwrap(), &Unhurried);
    assert!(
        breaks.iter().any(|one| one.pointer.ends_with("/properties/field_41_3")
            && one.detail == "type changed from string to integer"),
        "{breaks:?}"
    );
    let mut tighter = schema;
    tighter["$defs"]["thing_7"]["properties"]["field_7_2"]["maxLength"] = json!(5);
    assert_eq!(older.breaks(&parsed(&tighter).unwrap(), &Unhurried), []);
    let data = json!({ "thing": { "field_0_0": "x", "to_1": { "field_1_0": "y", "to_2": null } } });
    assert_eq!(older.validate(&data, 80), Ok(()));
    let data = json!({ "thing": { "field_0_0": "x", "to_1": { "field_1_0": 5 } } });
    assert!(older.validate(&data, 80).is_err());
}

#[test]
fn what_contains_itself_is_compared_and_checked() {
    let tree = |name: Value| {
        json!({ "type": "object", "required": ["root"], "properties": { "root": { "$ref": "#/$defs/node" } },
            "$defs": { "node": { "type": "object", "required": ["name"], "properties": {
                "name": name, "children": { "type": "array", "items": { "$ref": "#/$defs/node" } },
                "parent": { "oneOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] } } } } })
    };
    let older = parsed(&tree(json!({ "type": "string" }))).unwrap();
    let tighter = parsed(&tree(json!({ "type": "string", "minLength": 1 }))).unwrap();
    let other = parsed(&tree(json!({ "type": ["string", "null"] }))).unwrap();
    assert_eq!(older.breaks(&tighter, &Unhurried), []);
    let breaks = older.breaks(&other, &Unhurried);
    assert!(breaks.iter().any(|one| one.pointer == "/properties/root/properties/name"), "{breaks:?}");
    let good = json!({ "root": { "name": "a", "children": [{ "name": "b", "parent": { "name": "a" } }] } });
    assert_eq!(older.validate(&good, 100), Ok(()));
    let bad = json!({ "root": { "name": "a", "children": [{ "name": "b", "children": [{ "name": 5 }] }] } });
    let faults = older.validate(&bad, 100).unwrap_err();
    assert_eq!(faults[0].pointer, "/root/children/0/children/0/name");
    // The same text may refer to another definition.
    let referring = |money: Value| json!({ "properties": { "total": { "$ref": "#/$defs/money" } }, "$defs": { "money": money } });
    let (whole, any) = (json!({ "type": "integer" }), json!({ "type": "number" }));
    let breaks = parsed(&referring(whole)).unwrap().breaks(&parsed(&referring(any)).unwrap(), &Unhurried);
    assert_eq!(breaks[0].pointer, "/properties/total", "{breaks:?}");
}

#[test]
fn a_schema_that_could_be_checked_without_end_is_refused_when_it_is_saved() {
    let leaf = || json!({ "properties": { "a": { "type": "integer" } } });
    let nested = |depth: usize, wrap: &dyn Fn(Value) -> Value| (0..depth).fold(leaf(), |x, _| wrap(x));
    let chain = |wrap: &dyn Fn(Value) -> Value| {
        let reference = |n: usize| json!({ "$ref": format!("#/$defs/d{n}") });
        let definitions: serde_json::Map<String, Value> = (0..20)
            .map(|n| (format!("d{n}"), wrap(reference(n + 1))))
            .chain([("d20".to_owned(), leaf())])
            .collect();
        json!({ "$ref": "#/$defs/d0", "$defs": definitions })
    };
    let wraps: [&dyn Fn(Value) -> Value; 7] = [
        &|x| json!({ "anyOf": [x], "unevaluatedProperties": {} }),
        &|x| json!({ "oneOf": [x], "unevaluatedProperties": false }),
        &|x| json!({ "allOf": [x], "unevaluatedItems": {} }),
        &|x| json!({ "if": x, "then": {}, "unevaluatedProperties": true }),
        &|x| json!({ "dependentSchemas": { "a": x }, "unevaluatedProperties": {} }),
        &|x| json!({ "anyOf": [{ "properties": { "a": x } }], "unevaluatedProperties": {} }),
        &|x| json!({ "contains": { "anyOf": [x] }, "items": { "unevaluatedItems": x }, "unevaluatedItems": {} }),
    ];
    for wrap in wraps {
        for schema in [nested(12, wrap), chain(wrap)] {
            let text = schema.to_string();
            if text.len() > model::schema::MAX_TEXT {
                continue;
            }
            let faults = Schema::parse(&text, &Silent).unwrap_err();
            assert!(
                faults[0].detail.contains("too complex") || faults[0].detail.contains("more than 24"),
                "{faults:?} {}",
                wrap(leaf())
            );
        }
        // Once or twice, it is what people write.
        assert!(Schema::parse(&nested(2, wrap).to_string(), &Silent).is_ok(), "{}", wrap(leaf()));
    }
    // Where references are followed twice at each of many levels, as well.
    for twice in [
        json!({ "properties": { "a": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } } }),
        json!({ "items": { "anyOf": [{ "$ref": "#" }, { "not": { "$ref": "#" } }] } }),
        chain(&|x| json!({ "properties": { "a": { "anyOf": [x.clone(), x] } } })),
    ] {
        let faults = Schema::parse(&twice.to_string(), &Silent).unwrap_err();
        assert!(faults[0].detail.contains("too complex"), "{faults:?} {twice}");
    }
}

#[test]
fn the_deepest_data_of_a_schema_that_contains_itself_ends() {
    let inner = (0..20).fold(json!({ "$ref": "#" }), |x, _| json!({ "anyOf": [x] }));
    let schema = parsed(&json!({ "properties": { "a": inner }, "required": ["b"] }));
    let schema = std::sync::Arc::new(schema.expect("is taken"));
    let deepest = (0..60).fold(json!({ "b": 1 }), |x, _| json!({ "b": 1, "a": x }));
    let wrong = (0..60).fold(json!({}), |x, _| json!({ "b": 1, "a": x }));
    // As large a stack as the threads have that answer requests.
    let checking = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let checked = checking.spawn(move || (schema.validate(&deepest, 600), schema.validate(&wrong, 600)));
    let (good, bad) = checked.unwrap().join().expect("the stack is large enough");
    assert!(good.is_ok() && bad.is_err());
}

#[test]
fn definitions_that_are_deep_all_together_are_read_on_any_thread() {
    // 5,500 levels, from one definition to the next, in less than 64 KiB.
    let definition = |n: usize| {
        let end = if n == 109 {
            json!({ "type": "string" })
        } else {
            json!({ "$ref": format!("#/$defs/d{}", n + 1) })
        };
        (format!("d{n}"), (0..50).fold(end, |inner, _| json!({ "items": inner })))
    };
    let definitions: serde_json::Map<String, Value> = (0..110).map(definition).collect();
    // Once as it can be seen, once as it has to be reasoned about.
    for more in [json!({}), json!({ "minProperties": 0 })] {
        let mut schema = json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/d0" } }, "$defs": definitions });
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let text = schema.to_string();
        assert!(text.len() < model::schema::MAX_TEXT, "{}", text.len());
        // As large a stack as the threads have that answer requests.
        let reading = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(move || {
            let schema = Schema::parse(&text, &Silent).expect("it is taken");
            let stored = Schema::from_stored(&text).expect("it was taken");
            assert_eq!(stored.breaks(&schema, &Silent), []);
            assert_eq!(stored.validate(&json!({ "a": [[["x"]]] }), 20), Ok(()));
        });
        reading.unwrap().join().expect("the stack is large enough");
    }
}
