//! A filter, and data that it looks at.
#![no_main]

#[path = "limit.rs"]
mod limit;

use libfuzzer_sys::fuzz_target;
use model::event::Labels;
use model::event_type::EventType;
use model::filter::{Candidate, Filter};
use model::names::Subject;

fuzz_target!(|input: &[u8]| {
    limit::with_two_texts(input, |filter, data| {
        let Ok(json) = serde_json::from_str(filter) else { return };
        let Ok(filter) = Filter::parse(&json) else { return };
        let Ok(data) = serde_json::from_str(data) else { return };
        let (event_type, subject) = (EventType::parse("a.b").unwrap(), Subject::parse("s").unwrap());
        let labels = Labels::default();
        let candidate =
            Candidate { event_type: &event_type, subject: &subject, labels: &labels, data: Some(&data) };
        let _ = filter.passes(&candidate);
    });
});
