//! A schema, and data that is checked against it.
#![no_main]

#[path = "limit.rs"]
mod limit;

use libfuzzer_sys::fuzz_target;
use model::schema::{Answer, Question, Reasoner, Schema};

/// Reasoning is done elsewhere, and stopped when it takes too long.
struct Silent;

impl Reasoner for Silent {
    fn answer(&self, _: Question) -> Answer {
        Answer::Unknown
    }
}

fuzz_target!(|input: &[u8]| {
    limit::with_two_texts(input, |schema, data| {
        let Ok(schema) = Schema::parse(schema, &Silent) else { return };
        let Ok(value) = serde_json::from_str(data) else { return };
        let _ = schema.validate(&value, data.len());
        let _ = schema.masked(&value);
        assert!(schema.breaks(&schema, &Silent).is_empty(), "it differs from itself");
    });
});
