//! Turns: tenants one after the other, and within each its endpoints.
//!
//! Large events cost more of a turn than small ones: deficit round robin
//! (Shreedhar and Varghese, 1996), charged after the fact, because what an
//! endpoint will send is known only when it has its turn. A tenant in debt
//! lets the others go first until its turns have paid it.

use std::collections::{HashMap, VecDeque};

use model::ids::{EndpointId, TenantId};

/// What each turn is worth, in bytes: a call costs that much at least.
const QUANTUM: usize = 16 * 1024;

/// The endpoints of a tenant that wait for a turn.
#[derive(Default)]
struct Waiting {
    endpoints: VecDeque<EndpointId>,
    /// Bytes sent beyond what its turns were worth.
    debt: usize,
}

/// Who is next. An endpoint stands in the turns at most once; its owner
/// takes care of that.
#[derive(Default)]
pub(super) struct Turns {
    tenants: VecDeque<TenantId>,
    waiting: HashMap<TenantId, Waiting>,
}

impl Turns {
    /// Puts an endpoint at the end of its tenant's turn.
    pub(super) fn add(&mut self, tenant: TenantId, endpoint: EndpointId) {
        let waiting = self.waiting.entry(tenant).or_default();
        if waiting.endpoints.is_empty() {
            self.tenants.push_back(tenant);
        }
        waiting.endpoints.push_back(endpoint);
    }

    /// The next endpoint. It has to be added again to have another turn.
    pub(super) fn next(&mut self) -> Option<(TenantId, EndpointId)> {
        loop {
            let Some(tenant) = self.tenants.pop_front() else {
                // Nobody waits: nobody is owed anything.
                self.waiting.clear();
                return None;
            };
            let alone = self.tenants.is_empty();
            let waiting = self.waiting.get_mut(&tenant)?;
            // Debt is forgiven where nobody else waits.
            if waiting.debt >= QUANTUM && !alone {
                waiting.debt -= QUANTUM;
                self.tenants.push_back(tenant);
                continue;
            }
            let endpoint = waiting.endpoints.pop_front()?;
            if !waiting.endpoints.is_empty() {
                self.tenants.push_back(tenant);
            } else if waiting.debt < QUANTUM || alone {
                self.waiting.remove(&tenant);
            }
            return Some((tenant, endpoint));
        }
    }

    /// A tenant sends so many bytes.
    pub(super) fn charge(&mut self, tenant: TenantId, bytes: usize) {
        if bytes > QUANTUM {
            self.waiting.entry(tenant).or_default().debt += bytes - QUANTUM;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn tenant(n: u128) -> TenantId {
        TenantId(Uuid::from_u128(n))
    }

    fn endpoint(n: u128) -> EndpointId {
        EndpointId(Uuid::from_u128(n))
    }

    fn take(turns: &mut Turns, count: usize, bytes: impl Fn(u128) -> usize) -> Vec<u128> {
        let mut order = Vec::new();
        for _ in 0..count {
            let (tenant, endpoint) = turns.next().expect("somebody is next");
            order.push(endpoint.0.as_u128());
            turns.charge(tenant, bytes(endpoint.0.as_u128()));
            turns.add(tenant, endpoint);
        }
        order
    }

    #[test]
    fn a_tenant_with_many_endpoints_has_no_more_turns_than_one_with_one() {
        let mut turns = Turns::default();
        (10..14).for_each(|n| turns.add(tenant(1), endpoint(n)));
        turns.add(tenant(2), endpoint(20));
        assert_eq!(take(&mut turns, 6, |_| 500), [10, 20, 11, 20, 12, 20]);
    }

    #[test]
    fn a_tenant_with_large_events_has_fewer_turns() {
        let mut turns = Turns::default();
        turns.add(tenant(1), endpoint(10));
        turns.add(tenant(2), endpoint(20));
        let order = take(&mut turns, 200, |n| if n == 10 { 10 * QUANTUM } else { 500 });
        let large = order.iter().filter(|n| **n == 10).count();
        assert!((17..=22).contains(&large), "{large} of 200: about one in ten of the other's");
    }

    #[test]
    fn debt_is_forgiven_where_nobody_else_waits() {
        let mut turns = Turns::default();
        turns.add(tenant(1), endpoint(10));
        assert_eq!(take(&mut turns, 3, |_| 100 * QUANTUM), [10, 10, 10]);
        assert!(turns.waiting.len() <= 1);
    }
}
