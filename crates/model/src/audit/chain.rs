//! The chain of the audit log: shows whether an entry was changed or is missing.
//!
//! Each link is a keyed hash (HMAC-SHA256, RFC 2104) over the place and time of an
//! entry, the digest of its content and the link before. The contents stand beside the
//! chain, so that an erasure can remove one and leave the chain whole; it marks the
//! place with a keyed hash of its own. Where the chain begins and ends is sealed. Who
//! can write to the database and lacks the key can make none of these. Who can put
//! back what the database was at an earlier time can do so with the log, too: the last
//! link, noted somewhere else, shows it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::ids::ErasureId;

/// A SHA-256 or a keyed one.
pub type Digest = [u8; 32];

/// What stands before the first entry.
pub const BEGINNING: Digest = [0; 32];

/// The digest of a content.
pub fn digest(content: &str) -> Digest {
    Sha256::digest(content.as_bytes()).into()
}

/// The key of a project's chain.
#[derive(Clone)]
pub struct ChainKey(Zeroizing<Digest>);

impl ChainKey {
    /// A new key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new(BEGINNING);
        entropy.fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// A key from its bytes; `None` if they are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// The bytes, to be sealed.
    pub fn reveal(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The link of an entry that was written at `at`.
    pub fn link(&self, number: u64, at: Timestamp, digest: &Digest, before: &Digest) -> Digest {
        self.mac(b"entry", &[&number.to_be_bytes(), &at.as_micros().to_be_bytes(), digest, before])
    }

    /// The mark of an entry whose content an erasure has removed.
    pub fn mark_erased(&self, number: u64, digest: &Digest, by: ErasureId) -> Digest {
        self.mac(b"erased", &[&number.to_be_bytes(), digest, by.as_bytes()])
    }

    /// What seals the ends of a chain.
    pub fn seal(&self, ends: &Ends) -> Digest {
        let Ends { first_before, before, last, link } = ends;
        self.mac(b"ends", &[&first_before.to_be_bytes(), before, &last.to_be_bytes(), link])
    }

    fn mac(&self, what: &[u8], parts: &[&[u8]]) -> Digest {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("HMAC takes keys of any length");
        mac.update(what);
        // All parts have lengths that are known, so they cannot run into one another.
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChainKey(…)")
    }
}

/// Where a chain begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The number before the first entry that is kept.
    pub first_before: u64,
    /// The link of that number.
    pub before: Digest,
    /// The number of the last entry.
    pub last: u64,
    /// Its link.
    pub link: Digest,
}

impl Ends {
    /// Of a chain without entries.
    pub const EMPTY: Self = Self { first_before: 0, before: BEGINNING, last: 0, link: BEGINNING };
}

/// A link as it is kept, with what is kept of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// Its place.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The digest of the content.
    pub digest: Digest,
    /// The link.
    pub link: Digest,
    /// The content, or why there is none.
    pub content: Kept,
}

/// What is kept of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The text.
    Text(String),
    /// The text, and the columns beside it say something else.
    Contradicted,
    /// Nothing: it was erased on request, which the mark shows.
    Erased(ErasureId, Digest),
    /// Nothing, and nobody asked for that.
    Nothing,
}

/// What is wrong with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry was changed.
    #[error("entry {0} was changed")]
    Changed(u64),
    /// An entry is missing.
    #[error("entry {0} is missing")]
    Missing(u64),
    /// Where the log begins or ends was changed.
    #[error("the record of where the log begins and ends was changed")]
    Ends,
}

/// Goes along a chain and finds the first thing that is wrong.
#[derive(Debug)]
pub struct Walk {
    key: ChainKey,
    ends: Ends,
    at: u64,
    before: Digest,
}

impl Walk {
    /// From the first entry that is kept.
    ///
    /// # Errors
    ///
    /// [`Broken::Ends`] if `seal` is not that of `ends`.
    pub fn new(key: ChainKey, ends: Ends, seal: &Digest) -> Result<Self, Broken> {
        if key.seal(&ends) != *seal {
            return Err(Broken::Ends);
        }
        Ok(Self { key, ends, at: ends.first_before, before: ends.before })
    }

    /// The next entry.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or that the one before it is missing.
    pub fn step(&mut self, next: &Linked) -> Result<(), Broken> {
        let number = self.at + 1;
        if next.number != number {
            return Err(Broken::Missing(number));
        }
        if self.key.link(number, next.at, &next.digest, &self.before) != next.link {
            return Err(Broken::Changed(number));
        }
        match &next.content {
            Kept::Text(text) if digest(text) == next.digest => {}
            Kept::Text(_) | Kept::Contradicted => return Err(Broken::Changed(number)),
            Kept::Erased(by, mark) if self.key.mark_erased(number, &next.digest, *by) == *mark => {}
            Kept::Erased(..) => return Err(Broken::Missing(number)),
            Kept::Nothing => return Err(Broken::Missing(number)),
        }
        (self.at, self.before) = (number, next.link);
        Ok(())
    }

    /// After the last entry.
    ///
    /// # Errors
    ///
    /// [`Broken::Missing`] if there should be more.
    pub fn finish(self) -> Result<(), Broken> {
        if self.at < self.ends.last {
            return Err(Broken::Missing(self.at + 1));
        }
        if (self.at, self.before) == (self.ends.last, self.ends.link) { Ok(()) } else { Err(Broken::Ends) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn log() -> (ChainKey, Ends, Vec<Linked>) {
        let key = ChainKey::generate(&SeededEntropy::new(1));
        let mut ends = Ends::EMPTY;
        let mut chain = Vec::new();
        for number in 1..=5 {
            let text = format!("entry {number}");
            let at = Timestamp::from_secs(number as i64);
            let link = key.link(number, at, &digest(&text), &ends.link);
            chain.push(Linked { number, at, digest: digest(&text), link, content: Kept::Text(text) });
            (ends.last, ends.link) = (number, link);
        }
        (key, ends, chain)
    }

    fn walk(key: &ChainKey, ends: Ends, seal: Digest, chain: &[Linked]) -> Result<(), Broken> {
        let mut walk = Walk::new(key.clone(), ends, &seal)?;
        chain.iter().try_for_each(|one| walk.step(one))?;
        walk.finish()
    }

    #[test]
    fn a_log_that_nobody_touched_is_whole_also_where_contents_were_erased_or_have_expired() {
        let (key, mut ends, mut chain) = log();
        assert_eq!(walk(&key, ends, key.seal(&ends), &chain), Ok(()));
        let by = ErasureId(uuid::Uuid::from_u128(9));
        chain[2].content = Kept::Erased(by, key.mark_erased(3, &chain[2].digest, by));
        assert_eq!(walk(&key, ends, key.seal(&ends), &chain), Ok(()));
        (ends.first_before, ends.before) = (2, chain[1].link);
        assert_eq!(walk(&key, ends, key.seal(&ends), &chain[2..]), Ok(()));
        assert_eq!(walk(&key, Ends::EMPTY, key.seal(&Ends::EMPTY), &[]), Ok(()));
    }

    #[test]
    fn whatever_is_changed_taken_out_or_put_in_is_found_at_its_place() {
        let (key, ends, whole) = log();
        let seal = key.seal(&ends);
        let after = |change: &dyn Fn(&mut Vec<Linked>)| {
            let mut chain = whole.clone();
            change(&mut chain);
            walk(&key, ends, seal, &chain)
        };
        let forged = digest("forged");
        assert_eq!(
            after(&|chain| chain[1].content = Kept::Text("other".to_owned())),
            Err(Broken::Changed(2))
        );
        assert_eq!(after(&|chain| chain[1].content = Kept::Contradicted), Err(Broken::Changed(2)));
        assert_eq!(after(&|chain| chain[1].content = Kept::Nothing), Err(Broken::Missing(2)));
        assert_eq!(after(&|chain| chain[3].link = forged), Err(Broken::Changed(4)));
        assert_eq!(after(&|chain| chain[3].at = Timestamp::from_secs(0)), Err(Broken::Changed(4)));
        // Nobody calls it erased but an erasure, and at its own place.
        let by = ErasureId(uuid::Uuid::from_u128(9));
        let of_another = key.mark_erased(1, &whole[0].digest, by);
        for mark in [forged, of_another] {
            let erased = Kept::Erased(by, mark);
            assert_eq!(after(&|chain| chain[1].content = erased.clone()), Err(Broken::Missing(2)));
        }
        let with_digest = |chain: &mut Vec<Linked>| {
            chain[2].content = Kept::Text("forged".to_owned());
            chain[2].digest = forged;
        };
        assert_eq!(after(&with_digest), Err(Broken::Changed(3)));
        assert_eq!(after(&|chain| drop(chain.remove(0))), Err(Broken::Missing(1)));
        assert_eq!(after(&|chain| drop(chain.remove(2))), Err(Broken::Missing(3)));
        assert_eq!(after(&|chain| drop(chain.pop())), Err(Broken::Missing(5)));
        assert_eq!(after(&Vec::clear), Err(Broken::Missing(1)));
        assert_eq!(after(&|chain| chain.swap(1, 2)), Err(Broken::Missing(2)));
        let one_more = Linked { number: 6, ..whole[4].clone() };
        assert_eq!(after(&|chain| chain.push(one_more.clone())), Err(Broken::Changed(6)));
    }

    #[test]
    fn the_end_cannot_be_moved_without_the_key() {
        let (key, ends, chain) = log();
        let shorter = Ends { last: 4, link: chain[3].link, ..ends };
        assert_eq!(walk(&key, shorter, key.seal(&ends), &chain[..4]), Err(Broken::Ends));
        let other = ChainKey::generate(&SeededEntropy::new(2));
        assert_eq!(walk(&key, shorter, other.seal(&shorter), &chain[..4]), Err(Broken::Ends));
        // Nor can entries be put behind it with the key of another chain.
        let mut longer = chain.clone();
        let at = Timestamp::from_secs(6);
        let link = other.link(6, at, &digest("x"), &ends.link);
        longer.push(Linked { number: 6, at, digest: digest("x"), link, content: Kept::Text("x".to_owned()) });
        assert_eq!(walk(&key, ends, key.seal(&ends), &longer), Err(Broken::Changed(6)));
    }
}
