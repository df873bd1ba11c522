//! Signatures as [Standard Webhooks] defines them: `v1,` and the base64 of
//! HMAC-SHA256 over `id.timestamp.body`.
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Timestamp;
use crate::secret::SigningSecret;

/// How far a timestamp may be from the clock of the one who checks.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Signs bodies with one secret. The key schedule is computed once: it is
/// half the price of signing a small body.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    /// A signer with this secret.
    pub fn new(secret: &SigningSecret) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length"))
    }

    fn mac(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(id.as_bytes());
        mac.update(format!(".{timestamp_secs}.").as_bytes());
        mac.update(body);
        mac
    }

    /// The signature of `body` for the header `webhook-signature`.
    ///
    /// `id` is the value of `webhook-id`, and `timestamp` that of
    /// `webhook-timestamp`, in whole seconds.
    pub fn sign(&self, id: &str, timestamp: Timestamp, body: &[u8]) -> String {
        let mac = self.mac(id, timestamp.as_secs(), body).finalize();
        format!("v1,{}", STANDARD.encode(mac.into_bytes()))
    }
}

/// Why a request is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// The header is not whole seconds since 1970.
    #[error("the timestamp is not a number of seconds since 1970")]
    Timestamp,
    /// It was signed too long ago, or in the future.
    #[error("the timestamp is more than five minutes from the present time")]
    Stale,
    /// No signature in the header fits.
    #[error("no signature fits this secret, id, timestamp and body")]
    Signature,
}

/// Checks what a receiver got, as the libraries of Standard Webhooks do.
///
/// `now` of `None` leaves the age of the timestamp unchecked, for a request
/// that was saved earlier.
pub fn verify(
    secret: &SigningSecret,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: Option<Timestamp>,
) -> Result<(), Untrusted> {
    let secs: i64 = timestamp.parse().map_err(|_| Untrusted::Timestamp)?;
    if let Some(now) = now {
        let signed = Timestamp::from_secs(secs);
        if now.since(signed).max(signed.since(now)) > TOLERANCE {
            return Err(Untrusted::Stale);
        }
    }
    let mac = Signer::new(secret).mac(id, secs, body);
    let fits = |signature: &str| {
        let Some(encoded) = signature.strip_prefix("v1,") else { return false };
        // `verify_slice` compares in constant time.
        STANDARD.decode(encoded).is_ok_and(|tag| mac.clone().verify_slice(&tag).is_ok())
    };
    if signatures.split(' ').any(fits) { Ok(()) } else { Err(Untrusted::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn secret() -> SigningSecret {
        SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret")
    }

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let signature = Signer::new(&secret()).sign(ID, Timestamp::from_secs(1_614_265_330), BODY);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn one_fitting_signature_among_several_is_enough() {
        let signatures = "v1,AAAA v1a,xyz v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(verify(&secret(), ID, "1614265330", signatures, BODY, None), Ok(()));
    }

    #[test]
    fn a_changed_byte_id_or_time_is_found() {
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let check = |id, time, body, now| verify(&secret(), id, time, good, body, now);
        assert_eq!(check(ID, "1614265330", b"{}".as_slice(), None), Err(Untrusted::Signature));
        assert_eq!(check("msg_x", "1614265330", BODY, None), Err(Untrusted::Signature));
        assert_eq!(check(ID, "1614265331", BODY, None), Err(Untrusted::Signature));
        assert_eq!(check(ID, "soon", BODY, None), Err(Untrusted::Timestamp));
        let late = Timestamp::from_secs(1_614_265_330 + 301);
        assert_eq!(check(ID, "1614265330", BODY, Some(late)), Err(Untrusted::Stale));
    }
}
