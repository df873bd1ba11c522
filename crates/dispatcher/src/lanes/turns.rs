//! Turns: tenants one after the other, and within each its endpoints.

use std::collections::{HashMap, VecDeque};

use model::ids::{EndpointId, TenantId};

/// Who is next. An endpoint stands in the turns at most once; its owner
/// takes care of that.
#[derive(Default)]
pub(super) struct Turns {
    tenants: VecDeque<TenantId>,
    endpoints: HashMap<TenantId, VecDeque<EndpointId>>,
}

impl Turns {
    /// Puts an endpoint at the end of its tenant's turn.
    pub(super) fn add(&mut self, tenant: TenantId, endpoint: EndpointId) {
        let endpoints = self.endpoints.entry(tenant).or_default();
        if endpoints.is_empty() {
            self.tenants.push_back(tenant);
        }
        endpoints.push_back(endpoint);
    }

    /// The next endpoint. It has to be added again to have another turn.
    pub(super) fn next(&mut self) -> Option<(TenantId, EndpointId)> {
        let tenant = self.tenants.pop_front()?;
        let endpoints = self.endpoints.get_mut(&tenant)?;
        let endpoint = endpoints.pop_front()?;
        if endpoints.is_empty() {
            self.endpoints.remove(&tenant);
        } else {
            self.tenants.push_back(tenant);
        }
        Some((tenant, endpoint))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_tenant_with_many_endpoints_has_no_more_turns_than_one_with_one() {
        let (big, small) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
        let endpoint = |n| EndpointId(Uuid::from_u128(n));
        let mut turns = Turns::default();
        (10..14).for_each(|n| turns.add(big, endpoint(n)));
        turns.add(small, endpoint(20));
        let mut order = Vec::new();
        for _ in 0..6 {
            let (tenant, endpoint) = turns.next().expect("somebody is next");
            order.push(endpoint.0.as_u128());
            turns.add(tenant, endpoint);
        }
        assert_eq!(order, [10, 20, 11, 20, 12, 20]);
    }
}
