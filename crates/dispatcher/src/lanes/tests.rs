//! Behaviour of the lanes, without I/O.

use std::sync::Arc;

use delivery_log::lanes::{ClaimedDeliveries, Cursor, Reviewed, ReviewedLane, TakenLane};
use model::attempt::ErrorClass;
use model::calls::Format;
use model::entropy::NoJitter;
use model::event::{Event, EventData, Labels};
use model::event_type::EventType;
use model::failure::Spent;
use model::health::Health;
use model::ids::{DeliveryId, EventId, ProjectId, TenantId};
use model::names::{OrderingKey, Subject};
use model::payload::{PayloadForm, PayloadMode};
use uuid::Uuid;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn endpoint(n: u128) -> EndpointId {
    EndpointId(Uuid::from_u128(n))
}

fn tenant(n: u128) -> TenantId {
    TenantId(Uuid::from_u128(n))
}

fn delivery(to: u128, n: u128) -> ReadyDelivery {
    let event = Event {
        id: EventId(Uuid::from_u128(n)),
        project: ProjectId(Uuid::nil()),
        tenant: tenant(1),
        event_type: EventType::parse("a.b").expect("a type"),
        schema_version: 1,
        subject: Subject::parse("s").expect("a subject"),
        revision: None,
        occurred_at: NOW,
        ordering_key: OrderingKey::parse("s").expect("a key"),
        labels: Labels::default(),
        sequence: 1,
        test: false,
        created_at: NOW,
    };
    ReadyDelivery {
        id: DeliveryId(Uuid::from_u128(n)),
        endpoint: endpoint(to),
        epoch: Epoch(1),
        event: Arc::new(event),
        data: EventData::parse("{}", 100).expect("data"),
        form: PayloadForm::new(PayloadMode::Full, Format::Standard, ""),
        attempts: 0,
        spent: Spent { tries: 0, rejections: 0, since: NOW },
        trigger: Trigger::Automatic,
        last_error: None,
        ordered: false,
    }
}

fn enabled(_: EndpointId) -> Terms {
    Terms { standing: Standing::Enabled, rate: None }
}

fn paused(_: EndpointId) -> Terms {
    Terms { standing: Standing::Held, rate: None }
}

/// A call ends as a status says.
fn end(lanes: &mut Lanes, delivery: &ReadyDelivery, status: u16, hold_until: Option<Timestamp>) -> Learned {
    let ended = Ended {
        delivery: delivery.id,
        event: delivery.event.id,
        trigger: delivery.trigger,
        error_class: ErrorClass::of_status(status),
        http_status: Some(status),
        rejected: false,
        hold_until,
        under_way: 0,
        at: NOW,
    };
    lanes.ended(delivery, &ended, Duration::from_millis(5), &NoJitter)
}

fn taken(n: u128, health: Health) -> TakenLane {
    TakenLane { endpoint: endpoint(n), epoch: Epoch(1), health }
}

/// Lanes that own endpoint `n` and have claimed all that the store had.
fn owning(slots: usize, endpoints: &[(u128, u128)]) -> Lanes {
    let mut lanes = Lanes::new(slots);
    for (of_tenant, n) in endpoints {
        lanes.own(taken(*n, Health::default()), tenant(*of_tenant), NOW);
    }
    for wish in lanes.claims(NOW, enabled) {
        lanes.claimed(&wish, nothing(), NOW);
    }
    lanes
}

fn nothing() -> ClaimedDeliveries {
    ClaimedDeliveries { ready: Vec::new(), next_due: None, more_after: None }
}

fn hand_over(lanes: &mut Lanes, to: u128, n: u128) {
    lanes.reserve(endpoint(to), 2).expect("there is room");
    lanes.hand_over(delivery(to, n));
}

fn started(lanes: &mut Lanes) -> Vec<u128> {
    std::iter::from_fn(|| lanes.next(NOW, enabled)).map(|ready| ready.id.0.as_u128()).collect()
}

#[test]
fn a_new_endpoint_has_four_calls_under_way_and_more_with_success() {
    let mut lanes = owning(100, &[(1, 1)]);
    (0..20).for_each(|n| hand_over(&mut lanes, 1, n));
    assert_eq!(started(&mut lanes), [0, 1, 2, 3]);
    end(&mut lanes, &delivery(1, 0), 200, None);
    assert_eq!(started(&mut lanes), [4, 5]);
}

#[test]
fn tenants_take_turns_and_then_their_endpoints() {
    let mut lanes = owning(6, &[(1, 10), (1, 11), (2, 20)]);
    for n in 0..3 {
        hand_over(&mut lanes, 10, 100 + n);
        hand_over(&mut lanes, 11, 110 + n);
        hand_over(&mut lanes, 20, 200 + n);
    }
    // A sixth of the slots rounds to one call for each endpoint.
    assert_eq!(started(&mut lanes), [100, 200, 110]);
}

#[test]
fn an_endpoint_holds_only_its_share_of_the_slots() {
    let mut lanes = owning(16, &[(1, 1)]);
    (0..50).for_each(|n| hand_over(&mut lanes, 1, n));
    let first = started(&mut lanes);
    assert_eq!(first.len(), 2);
    for n in first {
        end(&mut lanes, &delivery(1, n), 200, None);
    }
    assert_eq!(started(&mut lanes).len(), 2);
}

#[test]
fn a_hold_keeps_everything_back_until_it_ends() {
    let mut lanes = owning(100, &[(1, 1)]);
    (0..3).for_each(|n| hand_over(&mut lanes, 1, n));
    let first = lanes.next(NOW, enabled).expect("starts");
    let until = NOW.plus(Duration::from_secs(30));
    end(&mut lanes, &first, 429, Some(until));
    assert!(lanes.next(NOW, enabled).is_none());
    assert!(lanes.reserve(endpoint(1), 2).is_none());
    assert_eq!(lanes.next_timer(), Some(until));
    assert_eq!(lanes.claims(until, enabled).len(), 1);
    assert!(lanes.next(until, enabled).is_some());
}

#[test]
fn a_paused_endpoint_sends_nothing_but_tests_and_is_given_back() {
    let mut lanes = owning(100, &[(1, 1)]);
    hand_over(&mut lanes, 1, 5);
    let held = paused;
    assert!(lanes.next(NOW, held).is_none());
    lanes.wake_for_test(endpoint(1));
    let wish = lanes.claims(NOW, held).pop().expect("a wish");
    assert!(wish.tests_only);
    let test = ReadyDelivery { trigger: Trigger::Test, ..delivery(1, 6) };
    lanes.claimed(&wish, ClaimedDeliveries { ready: vec![test], ..nothing() }, NOW);
    let sent = lanes.next(NOW, held).expect("the test goes");
    assert_eq!(sent.id.0.as_u128(), 6);
    assert!(lanes.next(NOW, held).is_none());
    end(&mut lanes, &sent, 200, None);
    lanes.recorded(&delivery(1, 0), None);
    assert_eq!(lanes.take_idle(NOW, Duration::from_secs(60), held), [(endpoint(1), Epoch(1))]);
    assert_eq!((lanes.ready(), lanes.owned()), (0, 0));
}

#[test]
fn older_work_in_the_store_goes_before_what_comes_now() {
    let mut lanes = Lanes::new(100);
    lanes.wake(endpoint(1));
    assert_eq!(lanes.take_wanted(10), [endpoint(1)]);
    lanes.own(taken(1, Health::default()), tenant(1), NOW);
    assert!(lanes.reserve(endpoint(1), 2).is_none(), "the store may have older ones");
    let wish = lanes.claims(NOW, enabled).pop().expect("a wish");
    // While the claim is under way, a publish goes to the store and wakes the lane.
    lanes.wake(endpoint(1));
    let later = NOW.plus(Duration::from_secs(5));
    lanes.claimed(
        &wish,
        ClaimedDeliveries { ready: vec![delivery(1, 1)], next_due: Some(later), more_after: None },
        NOW,
    );
    assert!(lanes.reserve(endpoint(1), 2).is_none(), "the claim may have missed it");
    let wish = lanes.claims(NOW, enabled).pop().expect("asks again");
    lanes.claimed(
        &wish,
        ClaimedDeliveries { ready: Vec::new(), next_due: Some(later), more_after: None },
        NOW,
    );
    assert!(lanes.reserve(endpoint(1), 2).is_some());
    assert_eq!(lanes.next_timer(), Some(later));
}

#[test]
fn retries_leave_slots_for_what_is_new() {
    let endpoints: Vec<_> = (1..=8).map(|n| (n, n)).collect();
    let mut lanes = owning(8, &endpoints);
    for n in 1..=8 {
        lanes.reserve(endpoint(n), 2).expect("there is room");
        lanes.hand_over(ReadyDelivery { attempts: 1, ..delivery(n, n) });
    }
    assert_eq!(started(&mut lanes), [1, 2, 3, 4]);
    hand_over(&mut lanes, 1, 100);
    end(&mut lanes, &ReadyDelivery { attempts: 1, ..delivery(1, 1) }, 200, None);
    assert_eq!(started(&mut lanes), [5, 100], "a retry that ended lets another one go");
}

#[test]
fn an_idle_lane_is_given_back_after_a_while() {
    let mut lanes = owning(8, &[(1, 1)]);
    let idle = Duration::from_secs(60);
    assert_eq!(lanes.take_idle(NOW, idle, enabled), []);
    assert_eq!(lanes.take_idle(NOW.plus(idle), idle, enabled), [(endpoint(1), Epoch(1))]);
}

#[test]
fn what_is_withdrawn_is_not_sent() {
    let mut lanes = owning(8, &[(1, 1)]);
    hand_over(&mut lanes, 1, 5);
    lanes.withdraw(endpoint(1), DeliveryId(Uuid::from_u128(5)));
    assert!(lanes.next(NOW, enabled).is_none());
    assert_eq!(lanes.ready(), 0);
}

#[test]
fn nothing_is_started_while_the_log_cannot_keep_up() {
    let mut lanes = owning(2, &[(1, 1)]);
    for n in 0..20 {
        hand_over(&mut lanes, 1, n);
    }
    let mut made = 0;
    while let Some(ready) = lanes.next(NOW, enabled) {
        end(&mut lanes, &ready, 200, None);
        made += 1;
    }
    assert_eq!(made, 8);
    lanes.recorded(&delivery(1, 0), None);
    assert!(lanes.next(NOW, enabled).is_some());
}

#[test]
fn endpoints_that_do_not_move_leave_room_for_those_that_do() {
    let endpoints: Vec<_> = (1..=50).map(|n| (n, n)).collect();
    let mut lanes = owning(1_024, &endpoints);
    for n in 1..50 {
        let mut taken = 0;
        while lanes.reserve(endpoint(n), 2).is_some() {
            lanes.hand_over(delivery(n, taken));
            taken += 1;
        }
        assert!(taken > 0, "endpoint {n} has nothing");
    }
    let mut of_last = 0;
    while lanes.reserve(endpoint(50), 2).is_some() {
        lanes.hand_over(delivery(50, of_last));
        of_last += 1;
    }
    assert!(of_last > 0 && lanes.ready() < MAX_READY);
}

#[test]
fn large_data_of_one_endpoint_leaves_room_too() {
    let mut lanes = owning(1_024, &[(1, 1), (2, 2)]);
    let large = 256 * 1024;
    let mut taken = 0;
    while lanes.reserve(endpoint(1), large).is_some() {
        taken += 1;
    }
    assert!(taken * large < MAX_READY_BYTES / 2, "{taken}");
    assert!(lanes.reserve(endpoint(2), large).is_some());
}

#[test]
fn a_hold_ends_in_time_also_when_a_retry_was_due_before_it() {
    let mut lanes = owning(100, &[(1, 1)]);
    (0..3).for_each(|n| hand_over(&mut lanes, 1, n));
    let (first, second) =
        (lanes.next(NOW, enabled).expect("starts"), lanes.next(NOW, enabled).expect("starts"));
    let retry = NOW.plus(Duration::from_secs(5));
    end(&mut lanes, &first, 500, None);
    lanes.recorded(&delivery(1, 0), Some(retry));
    let hold = NOW.plus(Duration::from_secs(60));
    end(&mut lanes, &second, 429, Some(hold));
    lanes.recorded(&delivery(1, 0), Some(hold));
    assert_eq!(lanes.next_timer(), Some(retry));
    assert!(lanes.claims(retry, enabled).is_empty(), "it is held");
    assert_eq!(lanes.next_timer(), Some(hold));
    assert_eq!(lanes.claims(hold, enabled).len(), 1);
    assert!(lanes.next(hold, enabled).is_some());
}

#[test]
fn a_retry_at_the_front_lets_new_ones_pass_while_retries_are_crowded() {
    let mut lanes = owning(8, &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    let retry = |to, n| ReadyDelivery { attempts: 1, ..delivery(to, n) };
    for n in 1..=5 {
        lanes.reserve(endpoint(n), 2).expect("there is room");
        lanes.hand_over(retry(n, n));
    }
    hand_over(&mut lanes, 5, 50);
    assert_eq!(started(&mut lanes), [1, 2, 3, 4, 50]);
}

#[test]
fn a_lane_that_was_told_of_work_while_it_was_held_claims_when_it_is_enabled() {
    let mut lanes = Lanes::new(100);
    lanes.own(taken(1, Health::default()), tenant(1), NOW);
    let held = paused;
    // It looks for tests, finds none, and has nothing more to ask.
    for wish in lanes.claims(NOW, held) {
        assert!(wish.tests_only);
        lanes.claimed(&wish, nothing(), NOW);
    }
    assert!(lanes.claims(NOW, held).is_empty());
    // Nobody tells it that the endpoint is enabled now.
    lanes.reconsider();
    let wishes = lanes.claims(NOW, enabled);
    assert_eq!(wishes.len(), 1);
    assert!(!wishes[0].tests_only);
}

#[test]
fn what_ends_in_a_lane_that_was_lost_and_taken_again_is_no_longer_its_own() {
    let mut lanes = owning(100, &[(1, 1)]);
    hand_over(&mut lanes, 1, 1);
    assert_eq!(started(&mut lanes), [1]);
    lanes.lose_all();
    lanes.own(TakenLane { epoch: Epoch(3), ..taken(1, Health::default()) }, tenant(1), NOW);
    end(&mut lanes, &delivery(1, 1), 200, None);
    lanes.recorded(&delivery(1, 0), None);
    assert_eq!(lanes.under_way(), 0);
    let lane = lanes.lane_of(endpoint(1), Epoch(3)).expect("owned");
    assert!(lane.is_quiet(), "nothing of the earlier epoch is counted in this one");
}

#[test]
fn so_many_claims_are_under_way_at_a_time() {
    let mut lanes = Lanes::new(100);
    for n in 0..100 {
        lanes.own(taken(n, Health::default()), tenant(1), NOW);
    }
    let first = lanes.claims(NOW, enabled);
    assert_eq!(first.len(), MAX_CLAIMS);
    assert!(lanes.claims(NOW, enabled).is_empty());
    for wish in &first {
        lanes.claimed(wish, nothing(), NOW);
    }
    assert_eq!(lanes.claims(NOW, enabled).len(), 100 - MAX_CLAIMS);
}

#[test]
fn a_review_tells_of_work_and_of_lanes_that_nobody_knows() {
    let mut lanes = owning(100, &[(1, 1)]);
    let reviewed = |n, epoch, has_work| ReviewedLane { endpoint: endpoint(n), epoch: Epoch(epoch), has_work };
    let lanes_in_store = vec![reviewed(1, 1, true), reviewed(2, 5, false)];
    let unknown = lanes.review(&Reviewed { lanes: lanes_in_store, owned_by_all: 2, processes: 1 });
    assert_eq!(unknown, [(endpoint(2), Epoch(5))]);
    assert_eq!(lanes.claims(NOW, enabled).len(), 1);
}

#[test]
fn lanes_beyond_the_fair_part_are_left_to_others_when_they_are_quiet() {
    let mut lanes = owning(100, &[(1, 1), (2, 2), (3, 3), (4, 4)]);
    for n in 1..=4 {
        hand_over(&mut lanes, n, n);
    }
    assert_eq!(started(&mut lanes).len(), 4);
    let in_store = |n| ReviewedLane { endpoint: endpoint(n), epoch: Epoch(1), has_work: false };
    let reviewed = Reviewed { lanes: (1..=4).map(in_store).collect(), owned_by_all: 4, processes: 2 };
    for _ in 0..2 {
        lanes.review(&reviewed);
    }
    let refused: Vec<u128> = (1..=4).filter(|n| lanes.reserve(endpoint(*n), 2).is_none()).collect();
    assert_eq!(refused.len(), 2, "two of four are left, however often it is looked");
    assert!(lanes.take_idle(NOW, Duration::from_secs(60), enabled).is_empty(), "calls are under way");
    for n in 1..=4 {
        end(&mut lanes, &delivery(n, n), 200, None);
        lanes.recorded(&delivery(n, 0), None);
    }
    assert_eq!(lanes.take_idle(NOW, Duration::from_secs(60), enabled).len(), 2);
    lanes.wake(endpoint(refused[0]));
    assert!(lanes.take_wanted(10).is_empty(), "the others are first");
}

#[test]
fn an_open_breaker_holds_and_then_lets_single_probes_through_of_different_deliveries() {
    let mut lanes = owning(100, &[(1, 1)]);
    (0..10).for_each(|n| hand_over(&mut lanes, 1, n));
    for _ in 0..5 {
        let ready = lanes.next(NOW, enabled).expect("starts");
        end(&mut lanes, &ready, 500, None);
    }
    let end_of_hold = NOW.plus(Duration::from_secs(10));
    assert!(lanes.next(NOW, enabled).is_none());
    assert!(lanes.reserve(endpoint(1), 2).is_none());
    assert_eq!(lanes.next_timer(), Some(end_of_hold));
    lanes.claims(end_of_hold, enabled);
    let probe = lanes.next(end_of_hold, enabled).expect("a probe");
    assert_eq!(probe.trigger, Trigger::Probe);
    assert!(lanes.next(end_of_hold, enabled).is_none(), "one at a time");
    let probed = |ready: &ReadyDelivery, status, at| Ended {
        delivery: ready.id,
        event: ready.event.id,
        trigger: ready.trigger,
        error_class: ErrorClass::of_status(status),
        http_status: Some(status),
        rejected: false,
        hold_until: None,
        under_way: 0,
        at,
    };
    let learned = lanes.ended(&probe, &probed(&probe, 200, end_of_hold), Duration::ZERO, &NoJitter);
    assert!(learned.health.is_some(), "the next owner has to know");
    let second = lanes.next(end_of_hold, enabled).expect("a second probe");
    assert_ne!(second.id, probe.id);
    lanes.ended(&second, &probed(&second, 200, end_of_hold), Duration::ZERO, &NoJitter);
    let after = std::iter::from_fn(|| lanes.next(end_of_hold, enabled)).count();
    assert_eq!(after, 1, "the limit begins again with one");
}

#[test]
fn a_pace_spaces_calls_and_a_test_passes_it() {
    let mut lanes = owning(100, &[(1, 1)]);
    (0..10).for_each(|n| hand_over(&mut lanes, 1, n));
    let slow = |_| Terms { standing: Standing::Enabled, rate: NonZeroU32::new(2) };
    let first = lanes.next(NOW, slow).expect("the first goes at once");
    end(&mut lanes, &first, 200, None);
    assert!(lanes.next(NOW, slow).is_none());
    let next = lanes.next_timer().expect("a timer");
    assert_eq!(next, NOW.plus(Duration::from_millis(500)));
    assert!(lanes.claims(next, slow).is_empty(), "the pace needs nothing from the store");
    assert!(lanes.next(next, slow).is_some());
    assert!(lanes.next(next, slow).is_none());
}

#[test]
fn news_during_a_look_through_many_are_looked_for_from_the_start_again() {
    let mut lanes = owning(100, &[(1, 1)]);
    let page = |more: bool| ClaimedDeliveries { more_after: more.then_some(Cursor::at(NOW, 7)), ..nothing() };
    lanes.wake(endpoint(1));
    let first = lanes.claims(NOW, enabled).pop().expect("a wish");
    lanes.wake(endpoint(1));
    lanes.claimed(&first, page(true), NOW);
    let rest = lanes.claims(NOW, enabled).pop().expect("goes on");
    lanes.claimed(&rest, page(false), NOW);
    let again = lanes.claims(NOW, enabled).pop().expect("looks anew");
    lanes.claimed(&again, page(false), NOW);
    assert!(lanes.claims(NOW, enabled).is_empty(), "and not for ever");
}

#[test]
fn when_one_is_withdrawn_its_lane_looks_for_what_was_behind_it() {
    let mut lanes = owning(100, &[(1, 1)]);
    assert!(lanes.claims(NOW, enabled).is_empty());
    lanes.withdraw(endpoint(1), DeliveryId(Uuid::from_u128(5)));
    assert_eq!(lanes.claims(NOW, enabled).len(), 1);
}

#[test]
fn replays_leave_slots_for_what_is_new_and_for_retries() {
    let endpoints: Vec<_> = (1..=8).map(|n| (n, n)).collect();
    let mut lanes = owning(8, &endpoints);
    for n in 1..=8 {
        lanes.reserve(endpoint(n), 2).expect("there is room");
        lanes.hand_over(ReadyDelivery { trigger: Trigger::Manual, attempts: 3, ..delivery(n, n) });
    }
    assert_eq!(started(&mut lanes), [1, 2]);
    lanes.reserve(endpoint(3), 2).expect("there is room");
    lanes.hand_over(ReadyDelivery { attempts: 1, ..delivery(3, 30) });
    hand_over(&mut lanes, 4, 40);
    // Both lanes wait for a replay's slot; something else may go before it.
    lanes.reconsider();
    let mut next = started(&mut lanes);
    next.sort_unstable();
    assert_eq!(next, [30, 40]);
}

#[test]
fn when_one_in_order_is_in_the_log_its_lane_looks_for_the_next() {
    let mut lanes = owning(100, &[(1, 1)]);
    lanes.wake(endpoint(1));
    let wish = lanes.claims(NOW, enabled).pop().expect("a wish");
    let ordered = ReadyDelivery { ordered: true, ..delivery(1, 1) };
    let claimed = ClaimedDeliveries { ready: vec![ordered.clone()], ..nothing() };
    lanes.claimed(&wish, claimed, NOW);
    assert!(lanes.claims(NOW, enabled).is_empty());
    let sent = lanes.next(NOW, enabled).expect("starts");
    end(&mut lanes, &sent, 200, None);
    assert!(lanes.claims(NOW, enabled).is_empty(), "not before it is in the log");
    lanes.recorded(&sent, None);
    assert_eq!(lanes.claims(NOW, enabled).len(), 1);
}
