//! Where the counters of tenants stand, as far as is known.
//!
//! Every publish updates its tenant's counter, which leaves a dead version of
//! the row behind. While an old snapshot is open somewhere, those cannot be
//! removed, and whoever looks a counter up by its key walks along all of
//! them. So the writer remembers where it put each counter last, and goes
//! straight there. If another process has moved one meanwhile, the statement
//! fails as a whole and is done again by key.

use std::collections::HashMap;

use model::ids::TenantId;

/// The places of counters that this process wrote last.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Row by row, as PostgreSQL writes a `ctid`.
    places: HashMap<TenantId, String>,
    /// So many groups look up by key before places are trusted again.
    distrust: u32,
}

impl Counters {
    /// So many tenants are remembered.
    const MAX: usize = 100_000;
    /// Where several processes publish for the same tenants, places are
    /// seldom right, and each wrong one costs a statement.
    const AFTER_A_MISS: u32 = 200;

    /// The places of these counters, if all are known and can be trusted.
    pub(super) fn places(&mut self, tenants: &[TenantId]) -> Option<Vec<String>> {
        if self.distrust > 0 {
            self.distrust -= 1;
            return None;
        }
        tenants.iter().map(|tenant| self.places.get(tenant).cloned()).collect()
    }

    /// The counters stand there now.
    pub(super) fn moved(&mut self, tenants: &[TenantId], places: Vec<String>) {
        if self.places.len() > Self::MAX {
            self.places.clear();
        }
        self.places.extend(tenants.iter().copied().zip(places));
    }

    /// One of them was not where it was thought to be.
    pub(super) fn missed(&mut self) {
        self.distrust = Self::AFTER_A_MISS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_when_all_are_known_and_not_soon_after_a_miss() {
        let tenants = [1, 2].map(|n| TenantId(uuid::Uuid::from_u128(n)));
        let mut counters = Counters::default();
        counters.moved(&tenants[..1], vec!["(0,1)".to_owned()]);
        assert_eq!(counters.places(&tenants), None);
        counters.moved(&tenants[1..], vec!["(0,2)".to_owned()]);
        assert_eq!(counters.places(&tenants), Some(vec!["(0,1)".to_owned(), "(0,2)".to_owned()]));
        counters.missed();
        for _ in 0..Counters::AFTER_A_MISS {
            assert_eq!(counters.places(&tenants), None);
        }
        assert!(counters.places(&tenants).is_some());
    }
}
