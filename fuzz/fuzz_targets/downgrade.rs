//! A downgrade, and data that it changes.
#![no_main]

#[path = "limit.rs"]
mod limit;

use libfuzzer_sys::fuzz_target;
use model::downgrade::Downgrade;

fuzz_target!(|input: &[u8]| {
    limit::with_two_texts(input, |downgrade, data| {
        let Ok(json) = serde_json::from_str(downgrade) else { return };
        let Ok(downgrade) = Downgrade::parse(&json) else { return };
        if !data.trim_start().starts_with('{') {
            return;
        }
        if let Ok(after) = downgrade.apply(data) {
            assert!(model::json::is_json(&after), "{after} is not JSON");
        }
    });
});
