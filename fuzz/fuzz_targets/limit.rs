//! What each target has in common.

use std::time::{Duration, Instant};

/// No case may take longer. A machine that stops for a moment gets another try.
const LIMIT: Duration = Duration::from_millis(50);

/// Does something with the two texts of a case, within the limit of time.
pub fn with_two_texts(input: &[u8], work: impl Fn(&str, &str)) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some((one, other)) = text.split_once('\n') else { return };
    if model::json::check(other).is_err() {
        return;
    }
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        work(one, other);
        least = least.min(began.elapsed());
        if least <= LIMIT {
            return;
        }
    }
    panic!("took {least:?}");
}
