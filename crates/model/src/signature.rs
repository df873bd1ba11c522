//! Signatures as [Standard Webhooks] defines them, over `id.timestamp.body`:
//! `v1,` and the base64 of an HMAC-SHA256, or `v1a,` and that of an Ed25519
//! signature.
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::calls::SignatureScheme;
use crate::clock::Timestamp;
use crate::secret::SigningSecret;

/// How far a timestamp may be from the clock of the one who checks.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// What public keys begin with.
const PUBLIC_PREFIX: &str = "whpk_";

/// Signs bodies with one secret. What does not depend on the body is computed
/// once: for an HMAC it is half the price of signing a small body.
#[derive(Clone)]
pub struct Signer(Key);

#[derive(Clone)]
enum Key {
    Hmac(Hmac<Sha256>),
    Ed25519(Box<SigningKey>),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    /// A signer with this secret.
    pub fn new(secret: &SigningSecret, scheme: SignatureScheme) -> Self {
        Self(match scheme {
            SignatureScheme::Hmac => {
                Key::Hmac(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length"))
            }
            SignatureScheme::Ed25519 => Key::Ed25519(Box::new(signing_key(secret))),
        })
    }

    /// The signature of `body` for the header `webhook-signature`.
    ///
    /// `id` is the value of `webhook-id`, and `timestamp` that of
    /// `webhook-timestamp`, in whole seconds.
    pub fn sign(&self, id: &str, timestamp: Timestamp, body: &[u8]) -> String {
        match &self.0 {
            Key::Hmac(key) => {
                let mac = mac(key, id, timestamp.as_secs(), body).finalize();
                format!("v1,{}", STANDARD.encode(mac.into_bytes()))
            }
            Key::Ed25519(key) => {
                let signature = key.sign(&signed_content(id, timestamp.as_secs(), body));
                format!("v1a,{}", STANDARD.encode(signature.to_bytes()))
            }
        }
    }
}

fn mac(key: &Hmac<Sha256>, id: &str, timestamp_secs: i64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(id.as_bytes());
    mac.update(format!(".{timestamp_secs}.").as_bytes());
    mac.update(body);
    mac
}

fn signed_content(id: &str, timestamp_secs: i64, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), format!(".{timestamp_secs}.").as_bytes(), body].concat()
}

/// The key pair that belongs to a secret of whatever length.
fn signing_key(secret: &SigningSecret) -> SigningKey {
    let seed = Sha256::new().chain_update(b"posthorn ed25519").chain_update(secret.as_bytes()).finalize();
    SigningKey::from_bytes(&seed.into())
}

/// The public half of an Ed25519 key pair, which anybody may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be \"whpk_\" and 32 bytes in base64")]
pub struct InvalidPublicKey;

impl PublicKey {
    /// The public key that belongs to a secret.
    pub fn of(secret: &SigningSecret) -> Self {
        Self(signing_key(secret).verifying_key())
    }

    /// Reads the `whpk_` form.
    pub fn parse(text: &str) -> Result<Self, InvalidPublicKey> {
        let encoded = text.strip_prefix(PUBLIC_PREFIX).ok_or(InvalidPublicKey)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| InvalidPublicKey)?;
        let bytes = bytes.try_into().map_err(|_| InvalidPublicKey)?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| InvalidPublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", STANDARD.encode(self.0.as_bytes()))
    }
}

/// With what a receiver checks signatures.
#[derive(Debug, Clone)]
pub enum VerifyingSecret {
    /// The secret that both know, for `v1`.
    Shared(SigningSecret),
    /// The public key, for `v1a`.
    Public(PublicKey),
}

impl VerifyingSecret {
    /// Reads either form.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.starts_with(PUBLIC_PREFIX) {
            true => PublicKey::parse(text).map(Self::Public).map_err(|error| error.to_string()),
            false => SigningSecret::parse(text).map(Self::Shared).map_err(|error| error.to_string()),
        }
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
    secret: &VerifyingSecret,
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
    let fits = |signature: &str| match secret {
        VerifyingSecret::Shared(secret) => fits_secret(secret, id, secs, body, signature),
        VerifyingSecret::Public(key) => fits_key(key, id, secs, body, signature),
    };
    if signatures.split(' ').any(fits) { Ok(()) } else { Err(Untrusted::Signature) }
}

fn fits_secret(secret: &SigningSecret, id: &str, secs: i64, body: &[u8], signature: &str) -> bool {
    let Some(encoded) = signature.strip_prefix("v1,") else { return false };
    let key = Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    // `verify_slice` compares in constant time.
    STANDARD.decode(encoded).is_ok_and(|tag| mac(&key, id, secs, body).verify_slice(&tag).is_ok())
}

fn fits_key(key: &PublicKey, id: &str, secs: i64, body: &[u8], signature: &str) -> bool {
    let Some(encoded) = signature.strip_prefix("v1a,") else { return false };
    let signature = STANDARD.decode(encoded).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    signature
        .is_some_and(|signature| key.0.verify_strict(&signed_content(id, secs, body), &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn secret() -> SigningSecret {
        SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret")
    }

    fn shared() -> VerifyingSecret {
        VerifyingSecret::Shared(secret())
    }

    #[test]
    fn an_ed25519_signature_is_checked_with_the_public_key_alone() {
        let now = Timestamp::from_secs(1_614_265_330);
        let signature = Signer::new(&secret(), SignatureScheme::Ed25519).sign(ID, now, BODY);
        let public = PublicKey::of(&secret()).to_string();
        assert!(signature.starts_with("v1a,") && public.starts_with("whpk_"), "{signature} {public}");
        let key = VerifyingSecret::parse(&public).expect("reads back");
        assert_eq!(verify(&key, ID, "1614265330", &signature, BODY, None), Ok(()));
        assert_eq!(verify(&key, ID, "1614265330", &signature, b"{}", None), Err(Untrusted::Signature));
        assert_eq!(verify(&shared(), ID, "1614265330", &signature, BODY, None), Err(Untrusted::Signature));
        assert!(VerifyingSecret::parse("whpk_AAAA").is_err());
    }

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let signature =
            Signer::new(&secret(), SignatureScheme::Hmac).sign(ID, Timestamp::from_secs(1_614_265_330), BODY);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn one_fitting_signature_among_several_is_enough() {
        let signatures = "v1,AAAA v1a,xyz v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(verify(&shared(), ID, "1614265330", signatures, BODY, None), Ok(()));
    }

    #[test]
    fn a_changed_byte_id_or_time_is_found() {
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let check = |id, time, body, now| verify(&shared(), id, time, good, body, now);
        assert_eq!(check(ID, "1614265330", b"{}".as_slice(), None), Err(Untrusted::Signature));
        assert_eq!(check("msg_x", "1614265330", BODY, None), Err(Untrusted::Signature));
        assert_eq!(check(ID, "1614265331", BODY, None), Err(Untrusted::Signature));
        assert_eq!(check(ID, "soon", BODY, None), Err(Untrusted::Timestamp));
        let late = Timestamp::from_secs(1_614_265_330 + 301);
        assert_eq!(check(ID, "1614265330", BODY, Some(late)), Err(Untrusted::Stale));
    }
}
