//! Replays of many deliveries.

use std::time::Duration;

use model::delivery::{DeliveryStatus, Failure};
use model::replay::{Replay, ReplayMode, ReplayState};

use super::engine::replay;
use super::scene::{Scene, entry};
use crate::replays::{Counted, ReplaySet};

/// Events whose delivery failed for good, and the replay of what failed.
async fn failed(scene: &Scene, count: u32) -> Replay {
    let lane = scene.take_lane().await;
    for n in 0..count {
        let gone = DeliveryStatus::Failed(Failure::Permanent);
        scene.deliver(lane.epoch, &format!("ord_{n}"), 400, gone).await;
    }
    replay(scene, ReplayMode::Failed, &scene.endpoint, count)
}

pub(super) async fn what_a_replay_would_send_is_counted_before_it_is_made(scene: Scene) {
    let wanted = failed(&scene, 3).await;
    assert_eq!(scene.store.count_replay(&wanted).await.expect("counts"), Counted::Matched(3));
    let fewer = Replay { max: 2, ..wanted.clone() };
    assert_eq!(scene.store.count_replay(&fewer).await.expect("counts"), Counted::Matched(2));
    let mut about_one = wanted;
    about_one.filter.subject = "ord_1".parse().ok();
    assert_eq!(scene.store.count_replay(&about_one).await.expect("counts"), Counted::Matched(1));
    let listed = scene.store.list_replays(scene.view(), Default::default()).await.expect("lists");
    assert_eq!(listed.rows, [], "counting makes none");
}

pub(super) async fn a_paused_replay_sends_nothing_and_a_canceled_one_withdraws_what_waits(scene: Scene) {
    let replay = failed(&scene, 3).await;
    scene.store.create_replay(&replay, None, entry()).await.expect("is made");
    let (view, id) = (scene.view(), replay.id);
    assert_eq!(scene.store.due_replays(scene.now(), 10).await.expect("looks"), [id]);
    let set = async |state| scene.store.set_replay(view, id, state, entry()).await.expect("answers");
    assert_eq!(set(ReplayState::Paused).await, ReplaySet::Done);
    assert_eq!(scene.store.due_replays(scene.now(), 10).await.expect("looks"), []);
    scene.store.advance_replay(id).await.expect("does nothing");
    let stands = async || scene.store.find_replay(view, id).await.expect("reads").expect("is there");
    assert_eq!((stands().await.state, stands().await.sent), (ReplayState::Paused, 0));
    assert_eq!(set(ReplayState::Running).await, ReplaySet::Done);
    scene.store.advance_replay(id).await.expect("goes on");
    assert_eq!((stands().await.sent, stands().await.waiting.queued), (3, 3));
    assert_eq!(set(ReplayState::Canceled).await, ReplaySet::Done);
    assert_eq!((stands().await.state, stands().await.waiting.queued), (ReplayState::Canceled, 0));
    // It stays so.
    assert_eq!(set(ReplayState::Canceled).await, ReplaySet::Done);
    assert_eq!(set(ReplayState::Running).await, ReplaySet::Ended(ReplayState::Canceled));
}

pub(super) async fn replays_are_listed_and_forgotten_when_they_ended_long_ago(scene: Scene) {
    let first = failed(&scene, 1).await;
    scene.store.create_replay(&first, None, entry()).await.expect("is made");
    scene.advance(1);
    let second = replay(&scene, ReplayMode::Failed, &scene.endpoint, 0);
    scene.store.create_replay(&second, None, entry()).await.expect("is made");
    let listed = async || {
        let page = scene.store.list_replays(scene.view(), Default::default()).await.expect("lists");
        page.rows.into_iter().map(|replay| replay.id).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, [second.id, first.id], "the newest first");
    let canceled = scene.store.set_replay(scene.view(), first.id, ReplayState::Canceled, entry()).await;
    assert_eq!(canceled.expect("answers"), ReplaySet::Done);
    let ended_at = scene.now();
    assert_eq!(scene.store.forget_replays(ended_at, 10).await.expect("forgets"), 0, "not long enough ago");
    scene.advance(60);
    let later = ended_at.plus(Duration::from_secs(30));
    assert_eq!(scene.store.forget_replays(later, 10).await.expect("forgets"), 1);
    assert_eq!(listed().await, [second.id], "one that runs is kept");
}
