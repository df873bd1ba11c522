//! Signing secrets of endpoints, in the `whsec_` form of Standard Webhooks.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::entropy::Entropy;

const PREFIX: &str = "whsec_";
/// The length of secrets that Posthorn makes, in bytes.
const GENERATED_LEN: usize = 32;
/// The lengths that Standard Webhooks allows, in bytes.
const ALLOWED_LEN: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a text is not a signing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be \"whsec_\" and 24 to 64 bytes in base64")]
pub struct InvalidSecret;

/// A secret with which the bodies sent to an endpoint are signed.
///
/// Its `Debug` form says nothing, and it is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// A new secret.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new(vec![0; GENERATED_LEN]);
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// Reads the `whsec_` form.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| InvalidSecret)?;
        Self::from_bytes(bytes)
    }

    /// A secret from its bytes, as a store keeps them sealed.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidSecret> {
        if ALLOWED_LEN.contains(&bytes.len()) { Ok(Self(Zeroizing::new(bytes))) } else { Err(InvalidSecret) }
    }

    /// The key of the HMAC.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The `whsec_` form, for the one who may see it.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0.as_slice()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_secret_survives_the_way_through_text_and_never_shows_in_logs() {
        let secret = SigningSecret::generate(&SeededEntropy::new(7));
        assert_eq!(SigningSecret::parse(&secret.reveal()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
    }

    #[test]
    fn secrets_of_other_lengths_or_forms_are_refused() {
        for text in ["", "whsec_", "whsec_####", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ="] {
            assert_eq!(SigningSecret::parse(text), Err(InvalidSecret), "{text}");
        }
        assert!(SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
    }
}
