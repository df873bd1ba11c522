//! How often callers may ask: a key or a portal session for itself, and all that
//! are bound to one tenant together.
//!
//! Reads, changes and tests are counted apart. Publishing is bounded by what the
//! store can take, which tells callers by 503, unless the key has a rate of its
//! own. Every process counts for itself, in memory. What a caller has left is told
//! in the headers of draft-ietf-httpapi-ratelimit-headers-10.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use uuid::Uuid;

use crate::auth::Caller;
use crate::problem::Problem;

/// How many requests a second may be made, in the long run. 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub struct RequestRates {
    /// Reads by one key or portal session.
    pub key_reads: u32,
    /// Changes by one key or portal session.
    pub key_changes: u32,
    /// Reads by all keys and sessions that are bound to one tenant.
    pub tenant_reads: u32,
    /// Changes by all keys and sessions that are bound to one tenant.
    pub tenant_changes: u32,
}

/// After a rest, so many seconds' worth of requests may come at once.
const BURST_SECS: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// Calls to endpoints that callers who are bound to a tenant can ask for, a minute.
const TENANT_TESTS: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
const TEST_ROUTE: &str = "/v1/tenants/{tenant}/endpoints/{endpoint}/test";
const PUBLISH_ROUTES: [&str; 2] = ["/v1/events", "/v1/events/batch"];

/// What a limit counts, and for whom. Its name is told to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Limit {
    KeyRate,
    KeyReads,
    KeyChanges,
    TenantReads,
    TenantChanges,
    TenantTests,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::KeyRate => "key-rate",
            Self::KeyReads => "key-reads",
            Self::KeyChanges => "key-changes",
            Self::TenantReads => "tenant-reads",
            Self::TenantChanges => "tenant-changes",
            Self::TenantTests => "tenant-tests",
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::KeyRate => "requests with this key",
            Self::KeyReads => "reads with this key",
            Self::KeyChanges => "changes with this key",
            Self::TenantReads => "reads for this tenant",
            Self::TenantChanges => "changes for this tenant",
            Self::TenantTests => "tests of this tenant's endpoints",
        }
    }
}

/// What a request is, to those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Change,
    Test,
    Publish,
}

impl Kind {
    fn of(method: &Method, route: &str) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Read,
            _ if PUBLISH_ROUTES.contains(&route) => Self::Publish,
            _ if route == TEST_ROUTE => Self::Test,
            _ => Self::Change,
        }
    }
}

/// Who asks, as far as limits go.
#[derive(Debug, Clone, Copy)]
struct Asker {
    /// Its key or portal session.
    own: Uuid,
    /// The key's own rate.
    rate: Option<NonZeroU32>,
    /// The tenant that it is bound to.
    tenant: Option<Uuid>,
}

impl Asker {
    fn of(caller: &Caller) -> Self {
        let tenant = caller.view().tenant.map(|tenant| tenant.0);
        match caller {
            Caller::Key(known) => Self { own: known.key.id.0, rate: known.key.rate_limit, tenant },
            Caller::Session(known) => Self { own: known.session.id.0, rate: None, tenant },
        }
    }
}

/// The limits that a request counted for, and what is left of each.
#[derive(Debug, Default)]
pub(crate) struct Standing(Vec<Left>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    limit: Limit,
    /// So many at once.
    quota: u32,
    /// So many now.
    now: u32,
    /// All of them again after so many seconds without a request.
    full_after: u64,
    /// For so many seconds' worth.
    window: u64,
}

impl Left {
    fn new(limit: Limit, quota: Quota, now: u32) -> Self {
        let spent = quota.burst_size().get().saturating_sub(now);
        Self {
            limit,
            quota: quota.burst_size().get(),
            now,
            full_after: seconds(quota.replenish_interval() * spent),
            window: seconds(quota.burst_size_replenished_in()),
        }
    }
}

/// Whole seconds, of which a part is one.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl Standing {
    /// Tells the caller.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let (mut policies, mut left) = (String::new(), String::new());
        for one in &self.0 {
            let (comma, name) = (if policies.is_empty() { "" } else { ", " }, one.limit.name());
            let _ = write!(policies, "{comma}\"{name}\";q={};w={}", one.quota, one.window);
            let _ = write!(left, "{comma}\"{name}\";r={};t={}", one.now, one.full_after);
        }
        for (name, text) in [("ratelimit-policy", policies), ("ratelimit", left)] {
            if let (false, Ok(value)) = (text.is_empty(), HeaderValue::try_from(text)) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// The requests of one asker that count for one limit.
struct Bucket<C: Clock + Clone> {
    quota: Quota,
    limiter: RateLimiter<NotKeyed, InMemoryState, C, StateInformationMiddleware>,
    /// From then on it is as if nothing had been asked.
    full_at: C::Instant,
}

/// What has been asked lately, for each that asks.
pub(crate) struct Limits<C: Clock + Clone = DefaultClock> {
    rates: RequestRates,
    clock: C,
    buckets: Mutex<Buckets<C>>,
}

struct Buckets<C: Clock + Clone> {
    of: HashMap<(Limit, Uuid), Bucket<C>>,
    /// At this many, those are forgotten that are full again.
    sweep_at: usize,
}

/// So many are kept without looking whether they are needed.
const FEW: usize = 1_000;

impl Limits {
    /// With nothing asked yet.
    pub(crate) fn new(rates: RequestRates) -> Self {
        Self::by(rates, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    fn by(rates: RequestRates, clock: C) -> Self {
        let buckets = Mutex::new(Buckets { of: HashMap::new(), sweep_at: FEW });
        Self { rates, clock, buckets }
    }

    /// Counts a request of a caller, also where it is refused. Its standing is
    /// given in any case.
    pub(crate) fn count(
        &self,
        caller: &Caller,
        method: &Method,
        route: &str,
    ) -> (Standing, Result<(), Problem>) {
        self.count_one(Asker::of(caller), Kind::of(method, route))
    }

    fn count_one(&self, asker: Asker, kind: Kind) -> (Standing, Result<(), Problem>) {
        let mut standing = Standing::default();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = Ok(());
        for (limit, whose, quota) in self.limits(asker, kind).into_iter().flatten() {
            let (left, wait) = buckets.take(limit, whose, quota, &self.clock);
            standing.0.push(left);
            if let (Some(wait), Ok(())) = (wait, &refused) {
                refused = Err(too_often(left, seconds(wait).max(1)));
            }
        }
        (standing, refused)
    }

    /// The limits that a request counts for.
    fn limits(&self, asker: Asker, kind: Kind) -> [Option<(Limit, Uuid, Quota)>; 2] {
        let rates = self.rates;
        let bursts = |rate: u32| {
            let rate = NonZeroU32::new(rate)?;
            Some(Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST_SECS)))
        };
        let (key, tenant) = match kind {
            Kind::Read => {
                ((Limit::KeyReads, rates.key_reads), Some((Limit::TenantReads, bursts(rates.tenant_reads))))
            }
            Kind::Change => (
                (Limit::KeyChanges, rates.key_changes),
                Some((Limit::TenantChanges, bursts(rates.tenant_changes))),
            ),
            Kind::Test => (
                (Limit::KeyChanges, rates.key_changes),
                Some((Limit::TenantTests, Some(Quota::per_minute(TENANT_TESTS)))),
            ),
            // As much as the store can take.
            Kind::Publish => ((Limit::KeyRate, 0), None),
        };
        let (limit, quota) = match asker.rate {
            Some(rate) => (Limit::KeyRate, Some(Quota::per_second(rate))),
            None => (key.0, bursts(key.1)),
        };
        let of_key = quota.map(|quota| (limit, asker.own, quota));
        let of_tenant = tenant.zip(asker.tenant);
        [of_key, of_tenant.and_then(|((limit, quota), tenant)| Some((limit, tenant, quota?)))]
    }
}

impl<C: Clock + Clone> Buckets<C> {
    /// Takes one, or says how long to wait for one.
    fn take(&mut self, limit: Limit, whose: Uuid, quota: Quota, clock: &C) -> (Left, Option<Duration>) {
        let now = clock.now();
        self.sweep(now);
        let limiter = || RateLimiter::direct_with_clock(quota, clock.clone()).with_middleware();
        let new = || Bucket { quota, limiter: limiter(), full_at: now };
        let bucket = self.of.entry((limit, whose)).or_insert_with(new);
        if bucket.quota != quota {
            // The key was given another rate.
            *bucket = new();
        }
        let (left, wait) = match bucket.limiter.check() {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(not_until) => (0, Some(not_until.wait_time_from(now))),
        };
        let left = Left::new(limit, quota, left);
        bucket.full_at = now + Nanos::from(Duration::from_secs(left.full_after));
        (left, wait)
    }

    /// Forgets those who have not asked for so long that it is as if they never had.
    fn sweep(&mut self, now: C::Instant) {
        if self.of.len() >= self.sweep_at {
            self.of.retain(|_, bucket| bucket.full_at > now);
            self.sweep_at = FEW.max(2 * self.of.len());
        }
    }
}

fn too_often(left: Left, wait: u64) -> Problem {
    let Left { limit, quota, window, .. } = left;
    let detail = format!(
        "there were more than {quota} {told} in {window} s; wait {wait} s, and watch the header RateLimit, which says \
         what is left",
        told = limit.told(),
    );
    Problem::too_often(detail, wait)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const RATES: RequestRates =
        RequestRates { key_reads: 2, key_changes: 1, tenant_reads: 1, tenant_changes: 0 };

    fn scene() -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limits::by(RATES, clock.clone()), clock)
    }

    fn key(n: u128) -> Asker {
        Asker { own: Uuid::from_u128(n), rate: None, tenant: None }
    }

    /// How many requests go through before one is refused.
    fn until_refused(limits: &Limits<FakeRelativeClock>, asker: Asker, kind: Kind) -> usize {
        (0..1_000).take_while(|_| limits.count_one(asker, kind).1.is_ok()).count()
    }

    fn told(limits: &Limits<FakeRelativeClock>, asker: Asker, kind: Kind) -> Vec<String> {
        let mut headers = HeaderMap::new();
        limits.count_one(asker, kind).0.tell(&mut headers);
        let text = |name: &str| Some(headers.get(name)?.to_str().expect("plain").to_owned());
        ["ratelimit-policy", "ratelimit"].into_iter().filter_map(text).collect()
    }

    #[test]
    fn ten_seconds_worth_may_come_at_once_and_the_rest_at_its_rate() {
        let (limits, clock) = scene();
        assert_eq!(until_refused(&limits, key(1), Kind::Read), 20);
        assert_eq!(until_refused(&limits, key(1), Kind::Change), 10, "counted apart");
        assert_eq!(until_refused(&limits, key(2), Kind::Read), 20, "of another key");
        clock.advance(Duration::from_secs(3));
        assert_eq!(until_refused(&limits, key(1), Kind::Read), 6);
    }

    #[test]
    fn a_refusal_says_how_long_to_wait_and_then_it_works() {
        let (limits, clock) = scene();
        until_refused(&limits, key(1), Kind::Change);
        let refused = limits.count_one(key(1), Kind::Change).1.expect_err("too often");
        assert_eq!((refused.status(), refused.retry_after()), (429, Some(1)));
        clock.advance(Duration::from_secs(1));
        assert!(limits.count_one(key(1), Kind::Change).1.is_ok());
    }

    #[test]
    fn all_who_are_bound_to_a_tenant_share_its_limit() {
        let (limits, _) = scene();
        let bound = |n| Asker { tenant: Some(Uuid::from_u128(100)), ..key(n) };
        assert_eq!(until_refused(&limits, bound(1), Kind::Read), 10);
        assert_eq!(until_refused(&limits, bound(2), Kind::Read), 0);
        assert_eq!(until_refused(&limits, key(3), Kind::Read), 20, "one that is not bound");
        assert_eq!(until_refused(&limits, bound(4), Kind::Test), 10, "of its key");
        assert_eq!(until_refused(&limits, bound(5), Kind::Change), 10, "0 is no limit of the tenant");
    }

    #[test]
    fn publishing_is_counted_only_where_the_key_has_a_rate_of_its_own() {
        let (limits, _) = scene();
        assert_eq!(until_refused(&limits, key(1), Kind::Publish), 1_000);
        let own = Asker { rate: NonZeroU32::new(3), ..key(2) };
        assert_eq!(until_refused(&limits, own, Kind::Publish), 3);
        assert_eq!(until_refused(&limits, own, Kind::Read), 0, "the same rate for all it does");
        let other = Asker { rate: NonZeroU32::new(5), ..own };
        assert_eq!(until_refused(&limits, other, Kind::Publish), 5, "when the key was given another rate");
    }

    #[test]
    fn callers_are_told_what_is_left_and_when_all_is_back() {
        let (limits, clock) = scene();
        let bound = Asker { tenant: Some(Uuid::from_u128(100)), ..key(1) };
        assert_eq!(
            told(&limits, bound, Kind::Read),
            [
                r#""key-reads";q=20;w=10, "tenant-reads";q=10;w=10"#,
                r#""key-reads";r=19;t=1, "tenant-reads";r=9;t=1"#,
            ]
        );
        assert_eq!(told(&limits, bound, Kind::Publish), [""; 0]);
        until_refused(&limits, bound, Kind::Read);
        clock.advance(Duration::from_secs(100));
        assert_eq!(told(&limits, bound, Kind::Read)[1], r#""key-reads";r=19;t=1, "tenant-reads";r=9;t=1"#);
    }

    #[test]
    fn those_who_have_not_asked_for_a_while_are_forgotten() {
        let (limits, clock) = scene();
        let ask = |from: u128, to| (from..to).for_each(|n| drop(limits.count_one(key(n), Kind::Read)));
        let known = || limits.buckets.lock().expect("not poisoned").of.len();
        ask(0, FEW as u128);
        assert_eq!(known(), FEW);
        clock.advance(Duration::from_secs(60));
        ask(10_000, 10_001);
        assert_eq!(known(), 1);
    }
}
