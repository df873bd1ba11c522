//! Errors with what they come from, for people.

use std::error::Error;
use std::fmt;

/// An error and its causes, each after a colon. A cause whose words the ones
/// before already hold is not said again: many libraries put them in.
pub fn with_causes(error: &dyn Error) -> impl fmt::Display {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        next = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Failure {
        words: &'static str,
        source: Option<Box<Failure>>,
    }

    fn chain(words: &[&'static str]) -> Failure {
        let (first, others) = words.split_first().expect("words");
        Failure { words: first, source: (!others.is_empty()).then(|| Box::new(chain(others))) }
    }

    #[test]
    fn each_cause_is_said_once() {
        for (words, said) in [
            (&["cannot start"][..], "cannot start"),
            (&["cannot start", "no such file"], "cannot start: no such file"),
            (&["cannot start: no such file", "no such file"], "cannot start: no such file"),
            (&["cannot start", "cannot read x: denied", "denied"], "cannot start: cannot read x: denied"),
            (&["a: c", "b", "c"], "a: c: b"),
        ] {
            assert_eq!(with_causes(&chain(words)).to_string(), said);
        }
    }
}
