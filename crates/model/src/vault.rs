//! Encryption at rest: what a store keeps of secrets is of no use without
//! the master key.
//!
//! Envelope encryption with XChaCha20-Poly1305: random data keys encrypt the
//! values, and the master key encrypts the data keys, so that the master key
//! can be changed by wrapping a handful of keys anew. Each value is bound to
//! the row that it belongs to: moved to another row, it cannot be opened.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::entropy::Entropy;

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;
const KEY_ID_LEN: usize = 16;

/// Why something sealed could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Not 32 bytes in base64.
    #[error("a master key must be 32 bytes in base64")]
    MasterKey,
    /// The master key is not the one that the data keys were wrapped with.
    #[error("the master key is not the one that this store was made with")]
    WrongMasterKey,
    /// The value was changed, moved to another row, or sealed by an unknown key.
    #[error("a sealed value was changed, or belongs to another row or another store")]
    Sealed,
}

/// The key of a deployment, from its settings.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_LEN]>);

impl MasterKey {
    /// A new key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        entropy.fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// Reads 32 bytes in base64.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| VaultError::MasterKey)?);
        let bytes: [u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| VaultError::MasterKey)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// The base64 form, to be written to the key file.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// A data key as the store keeps it.
#[derive(Debug, Clone)]
pub struct WrappedKey {
    /// Stands before every value that the key sealed.
    pub id: Uuid,
    /// The key, sealed with the master key.
    pub wrapped: Vec<u8>,
}

/// Seals and opens values with the data keys of one store.
pub struct Vault {
    keys: HashMap<Uuid, XChaCha20Poly1305>,
    current: Uuid,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Vault {
    /// A new data key, wrapped.
    pub fn new_data_key(master: &MasterKey, entropy: &dyn Entropy) -> WrappedKey {
        let mut id = [0; KEY_ID_LEN];
        entropy.fill(&mut id);
        let id = Uuid::from_bytes(id);
        let mut key = Zeroizing::new([0; KEY_LEN]);
        entropy.fill(key.as_mut_slice());
        let wrapped = encrypt(&cipher(&master.0), key.as_slice(), id.as_bytes(), entropy);
        WrappedKey { id, wrapped }
    }

    /// Opens the data keys. The last one seals what is sealed from now on.
    pub fn open(master: &MasterKey, keys: &[WrappedKey]) -> Result<Self, VaultError> {
        let unwrap = |key: &WrappedKey| {
            let plain = decrypt(&cipher(&master.0), &key.wrapped, key.id.as_bytes())
                .map_err(|_| VaultError::WrongMasterKey)?;
            let plain: &[u8; KEY_LEN] =
                plain.as_slice().try_into().map_err(|_| VaultError::WrongMasterKey)?;
            Ok((key.id, cipher(plain)))
        };
        let current = keys.last().ok_or(VaultError::Sealed)?.id;
        Ok(Self { keys: keys.iter().map(unwrap).collect::<Result<_, _>>()?, current })
    }

    /// The same data keys, wrapped with another master key.
    pub fn rewrap(
        from: &MasterKey,
        to: &MasterKey,
        keys: &[WrappedKey],
        entropy: &dyn Entropy,
    ) -> Result<Vec<WrappedKey>, VaultError> {
        let rewrap = |key: &WrappedKey| {
            let plain = decrypt(&cipher(&from.0), &key.wrapped, key.id.as_bytes())
                .map_err(|_| VaultError::WrongMasterKey)?;
            let wrapped = encrypt(&cipher(&to.0), &plain, key.id.as_bytes(), entropy);
            Ok(WrappedKey { id: key.id, wrapped })
        };
        keys.iter().map(rewrap).collect()
    }

    /// Seals `plain` for the row that `row` names.
    pub fn seal(&self, plain: &[u8], row: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let mut sealed = self.current.as_bytes().to_vec();
        sealed.extend(encrypt(&self.keys[&self.current], plain, row, entropy));
        sealed
    }

    /// Opens what was sealed for the same row.
    pub fn unseal(&self, sealed: &[u8], row: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (id, rest) = sealed.split_at_checked(KEY_ID_LEN).ok_or(VaultError::Sealed)?;
        let id = Uuid::from_slice(id).map_err(|_| VaultError::Sealed)?;
        decrypt(self.keys.get(&id).ok_or(VaultError::Sealed)?, rest, row)
    }
}

fn cipher(key: &[u8; KEY_LEN]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

fn encrypt(cipher: &XChaCha20Poly1305, msg: &[u8], aad: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let ciphertext = cipher
        .encrypt(&XNonce::from(nonce), Payload { msg, aad })
        .expect("XChaCha20-Poly1305 encrypts up to 256 GiB");
    [nonce.as_slice(), &ciphertext].concat()
}

fn decrypt(cipher: &XChaCha20Poly1305, sealed: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, msg) = sealed.split_at_checked(NONCE_LEN).ok_or(VaultError::Sealed)?;
    let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| VaultError::Sealed)?;
    cipher
        .decrypt(&XNonce::from(nonce), Payload { msg, aad })
        .map(Zeroizing::new)
        .map_err(|_| VaultError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn what_is_sealed_opens_for_its_own_row_only() {
        let entropy = SeededEntropy::new(3);
        let master = MasterKey::generate(&entropy);
        let vault = Vault::open(&master, &[Vault::new_data_key(&master, &entropy)]).expect("a vault");
        let sealed = vault.seal(b"secret", b"row 1", &entropy);
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(vault.unseal(&sealed, b"row 1").expect("opens").as_slice(), b"secret");
        assert_eq!(vault.unseal(&sealed, b"row 2"), Err(VaultError::Sealed));
        assert_eq!(vault.unseal(&sealed[..20], b"row 1"), Err(VaultError::Sealed));
    }

    #[test]
    fn what_was_sealed_opens_with_the_new_master_key_and_no_longer_with_the_old_one() {
        let entropy = SeededEntropy::new(3);
        let (old, new) = (MasterKey::generate(&entropy), MasterKey::generate(&entropy));
        let keys = [Vault::new_data_key(&old, &entropy), Vault::new_data_key(&old, &entropy)];
        let sealed = Vault::open(&old, &keys).expect("a vault").seal(b"secret", b"row", &entropy);
        let rewrapped = Vault::rewrap(&old, &new, &keys, &entropy).expect("the old key is right");
        let vault = Vault::open(&new, &rewrapped).expect("opens with the new one");
        assert_eq!(vault.unseal(&sealed, b"row").expect("opens").as_slice(), b"secret");
        assert_eq!(Vault::open(&old, &rewrapped).map(|_| ()), Err(VaultError::WrongMasterKey));
        let again = Vault::rewrap(&old, &new, &rewrapped, &entropy);
        assert_eq!(again.map(|_| ()), Err(VaultError::WrongMasterKey));
    }

    #[test]
    fn another_master_key_is_refused() {
        let entropy = SeededEntropy::new(3);
        let master = MasterKey::generate(&entropy);
        let keys = [Vault::new_data_key(&master, &entropy)];
        let other = MasterKey::generate(&entropy);
        assert_eq!(Vault::open(&other, &keys).map(|_| ()), Err(VaultError::WrongMasterKey));
        let read = MasterKey::parse(&master.reveal()).expect("a key");
        assert!(Vault::open(&read, &keys).is_ok());
        assert_eq!(MasterKey::parse("c2hvcnQ=").map(|_| ()), Err(VaultError::MasterKey));
    }
}
