//! A credential is sent where it was written for, and nowhere else.
//!
//! Whoever may change an endpoint may not read its credentials, and must not
//! get them by a change of where they go or of what they stand for. One rule
//! for all of them: each has a place, and with another place it has to be
//! given again, or taken away.

use model::endpoint::Endpoint;
use serde_json::Value;

use crate::problem::{Faults, Problem};

/// The credentials that a patch gives anew.
pub(super) struct Given {
    headers: Vec<String>,
    oauth_secret: bool,
    private_key: bool,
}

impl Given {
    /// Those in a patch whose header names are in lower case.
    pub(super) fn in_patch(patch: &Value) -> Self {
        let headers = patch.get("headers").and_then(Value::as_object);
        Self {
            headers: headers.map(|headers| headers.keys().cloned().collect()).unwrap_or_default(),
            oauth_secret: patch.pointer("/oauth/client_secret").is_some(),
            private_key: patch.pointer("/client_certificate/private_key").is_some(),
        }
    }
}

/// Refuses a change by which a credential that was not given with it would go
/// elsewhere. Custom headers, tokens and client certificates go to the URL's
/// scheme, host and port; the OAuth secret goes to its token endpoint, for one
/// client and its scopes, and what it buys goes to the URL.
pub(super) fn keep_where_they_belong(
    before: &Endpoint,
    after: &Endpoint,
    given: &Given,
) -> Result<(), Problem> {
    let mut faults = Faults::default();
    let moved = before.url.origin() != after.url.origin();
    let elsewhere = "was written for another host: give it again, or null to remove it";
    for header in after.headers.iter().filter(|header| !given.headers.contains(&header.name)) {
        if moved {
            faults.add(format!("/headers/{}", header.name), "required", elsewhere);
        }
    }
    if moved && after.credentials.client_certificate.is_some() && !given.private_key {
        faults.add("/client_certificate/private_key", "required", elsewhere);
    }
    if let (Some(was), Some(is)) = (&before.calls.oauth, &after.calls.oauth)
        && !given.oauth_secret
    {
        if moved {
            faults.add("/oauth/client_secret", "required", elsewhere);
        } else if was.token_url != is.token_url || was.client_id != is.client_id {
            let detail = "is required with another token_url or client_id";
            faults.add("/oauth/client_secret", "required", detail);
        } else if !is_within(&is.scope, &was.scope) {
            let detail = "is required with a scope that its token did not have before";
            faults.add("/oauth/client_secret", "required", detail);
        }
    }
    faults.finish()
}

/// Whether a token of the scope `is` can do no more than one of `was`. What no
/// scope at all stands for, only the token server knows.
fn is_within(is: &str, was: &str) -> bool {
    let (is, was) = (is.split_ascii_whitespace(), was.split_ascii_whitespace().collect::<Vec<_>>());
    let mut is = is.peekable();
    match is.peek() {
        None => was.is_empty(),
        Some(_) => is.all(|one| was.contains(&one)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_within_another_if_it_names_nothing_more() {
        for (is, was, within) in [
            ("", "", true),
            ("read", "read", true),
            ("read", "write  read", true),
            ("read write", "read", false),
            ("READ", "read", false),
            ("", "read", false),
            ("read", "", false),
        ] {
            assert_eq!(is_within(is, was), within, "{is:?} in {was:?}");
        }
    }
}
