//! PostgreSQL passes the suite, and keeps what only it promises.

mod fixture;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use delivery_log::conformance::{Backend, Scene};
use delivery_log::conformance_suite;
use delivery_log::deliveries::Recorded;
use delivery_log::events::Published;
use delivery_log::lanes::{Beat, LEASE, Lanes as _};
use delivery_log::postgres::{OpenError, Options, PostgresStore, migrate};
use delivery_log::{Env, SharedStore};
use model::clock::{Clock as _, ManualClock, Timestamp};
use model::delivery::DeliveryStatus;
use model::entropy::SeededEntropy;
use model::ids::ProcessId;
use model::vault::MasterKey;
use sqlx::{Connection as _, PgConnection};
use testkit::Postgres;

/// An hour without a heartbeat.
const AN_HOUR_LATER: &str = "UPDATE processes SET beat_at = beat_at - interval '1 hour'; \
    UPDATE server_timeline SET seen_at = seen_at - interval '1 hour'";

struct Database {
    url: String,
}

impl Database {
    fn new() -> Self {
        Self { url: Postgres::shared().new_database() }
    }

    fn name(&self) -> &str {
        self.url.rsplit('/').next().expect("a name")
    }

    fn options(&self, seed: u64) -> Options {
        Options {
            url: self.url.as_str().into(),
            master_key: MasterKey::generate(&SeededEntropy::new(seed)),
            public_url: "https://posthorn.example".to_owned(),
            durability: Default::default(),
        }
    }

    fn sql(&self, statement: &str) -> String {
        Postgres::shared().sql(self.name(), statement)
    }
}

#[async_trait]
impl Backend for Database {
    async fn open(&self, env: Env) -> SharedStore {
        migrate(self.options(1), env.clone()).await.expect("migrates");
        Arc::new(PostgresStore::open(self.options(1), env).await.expect("opens"))
    }

    async fn reopen_after_crash(&self, store: SharedStore, env: Env) -> SharedStore {
        // Closing gives nothing back: lanes stay owned, as after a crash.
        store.close().await;
        self.sql(AN_HOUR_LATER);
        let store = self.open(env).await;
        store.take_over_dead().await.expect("takes over");
        store
    }
}

conformance_suite!(Database::new());

fn env() -> Env {
    let clock = ManualClock::new(Timestamp::from_secs(1_795_262_400));
    Env::new(Arc::new(clock), Arc::new(SeededEntropy::new(2)))
}

#[tokio::test]
async fn a_database_that_is_not_migrated_is_refused() {
    let database = Database::new();
    let opened = PostgresStore::open(database.options(1), env()).await;
    assert!(matches!(opened, Err(OpenError::NotMigrated)), "{opened:?}");
}

async fn scene() -> (Arc<Database>, Scene) {
    let database = Arc::new(Database::new());
    let scene = Scene::open(Arc::clone(&database) as Arc<dyn Backend>).await;
    (database, scene)
}

/// What servers of the first version left, with the master key that they had.
#[tokio::test]
async fn a_filled_database_of_the_first_version_is_migrated() {
    let database = Database::new();
    let mut connection = PgConnection::connect(&database.url).await.expect("connects");
    sqlx::raw_sql(include_str!("fixtures/postgres-0001.sql"))
        .execute(&mut connection)
        .await
        .expect("is filled");
    let options = || Options { master_key: fixture::master_key(), ..database.options(1) };
    let early = PostgresStore::open(options(), env()).await;
    assert!(matches!(early, Err(OpenError::NotMigrated)), "{early:?}");
    migrate(options(), env()).await.expect("migrates");
    migrate(options(), env()).await.expect("changes nothing the second time");
    let store = PostgresStore::open(options(), env()).await.expect("opens");
    fixture::check(Arc::new(store)).await;
}

#[tokio::test]
async fn a_lane_that_nobody_knows_of_is_found_by_its_work() {
    let (database, scene) = scene().await;
    scene.publish_one("ord_1").await;
    // As if it had been given back at the moment of the publish.
    database.sql("UPDATE lanes SET wake_at = 9000000000000000");
    let mut found = Vec::new();
    for _ in 0..10 {
        found.extend(scene.store.find_idle_lanes_with_work(scene.now(), 10).await.expect("finds"));
    }
    assert_eq!(found, [scene.endpoint.id]);
}

#[tokio::test]
async fn days_that_no_project_keeps_are_dropped_whole_unless_something_waits() {
    let (database, scene) = scene().await;
    let days = || database.sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass");
    assert_eq!(days(), "9", "yesterday, today and a week ahead");
    let lane = scene.take_lane().await;
    scene.deliver(lane.epoch, "old", 200, DeliveryStatus::Delivered).await;
    scene.advance(24 * 3_600);
    scene.publish_one("waits").await;
    scene.advance(100 * 24 * 3_600);
    scene.store.purge(scene.now(), 100).await.expect("purges");
    assert_eq!(days(), "10", "the day of what waits, and the nine around today");
    let kept = database.sql("SELECT string_agg(subject, ' ') FROM events");
    assert_eq!(kept, "waits");
    // A publish on a day that nobody has made yet makes it.
    scene.advance(30 * 24 * 3_600);
    scene.publish_one("later").await;
}

#[tokio::test]
async fn what_is_just_being_sent_again_is_not_purged() {
    let (database, scene) = scene().await;
    let lane = scene.take_lane().await;
    scene.deliver(lane.epoch, "old", 200, DeliveryStatus::Delivered).await;
    scene.advance(100 * 24 * 3_600);
    // As a replay does it that has not committed yet.
    let mut replaying = PgConnection::connect(&database.url).await.expect("connects");
    sqlx::raw_sql("BEGIN; SELECT 1 FROM events FOR KEY SHARE").execute(&mut replaying).await.expect("locks");
    scene.store.purge(scene.now(), 100).await.expect_err("the day is in use");
    assert_eq!(database.sql("SELECT count(*) FROM events"), "1");
    sqlx::raw_sql("ROLLBACK").execute(&mut replaying).await.expect("ends");
    scene.store.purge(scene.now(), 100).await.expect("purges");
    assert_eq!(database.sql("SELECT count(*) FROM events"), "0");
}

#[tokio::test]
async fn a_process_that_was_given_up_learns_of_it_and_takes_nothing() {
    let (database, scene) = scene().await;
    let process = scene.new_process().await;
    assert!(matches!(scene.store.beat(process).await.expect("beats"), Beat::Alive { .. }));
    database.sql(AN_HOUR_LATER);
    assert_eq!(scene.store.take_over_dead().await.expect("takes over"), 0);
    assert_eq!(scene.store.beat(process).await.expect("beats"), Beat::GivenUp);
    let taken = scene.store.take_lanes(process, &[scene.endpoint.id]).await.expect("asks");
    assert!(taken.is_empty());
}

#[tokio::test]
async fn nobody_is_given_up_by_the_clock_of_another_server_within_a_lease_of_a_failover() {
    let primary = Postgres::start(&[("fsync", "off")]);
    let url = primary.new_database();
    let options = |server: &Postgres| Options {
        url: url.replace(&primary.port().to_string(), &server.port().to_string()).into(),
        ..Database { url: url.clone() }.options(1)
    };
    migrate(options(&primary), env()).await.expect("migrates");
    let store = PostgresStore::open(options(&primary), env()).await.expect("opens");
    let [alive, gone] = [1, 2].map(|n| ProcessId(uuid::Uuid::from_u128(n)));
    store.join(alive).await.expect("joins");
    store.join(gone).await.expect("joins");
    let name = url.rsplit('/').next().expect("a name");
    // Before, it was on another clock still, an hour ahead.
    let ahead = format!("UPDATE processes SET beat_at = beat_at + interval '1 hour' WHERE id = '{}'", gone.0);
    primary.sql(name, &ahead);
    // A server whose clock is as much ahead as a lease is long.
    let standby = primary.standby_with_its_clock_ahead(2 * LEASE);
    primary.wait_for_standby().await;
    primary.crash();
    standby.promote();
    let store = PostgresStore::open(options(&standby), env()).await.expect("opens");
    let known = || standby.sql(name, "SELECT count(*) FROM processes");
    assert_eq!(store.take_over_dead().await.expect("looks"), 0);
    assert_eq!(known(), "2", "nobody is given up");
    assert!(matches!(store.beat(alive).await.expect("beats"), Beat::Alive { .. }));
    // A lease later, who has not beaten since is given up, whatever its clock said.
    let later = "UPDATE server_timeline SET seen_at = seen_at - interval '6 s'; \
                 UPDATE processes SET beat_at = beat_at - interval '6 s' WHERE id <> '";
    standby.sql(name, &format!("{later}{}'", alive.0));
    assert_eq!(store.take_over_dead().await.expect("looks"), 0);
    assert_eq!(known(), "1");
    assert_eq!(store.beat(gone).await.expect("beats"), Beat::GivenUp);
    assert!(matches!(store.beat(alive).await.expect("beats"), Beat::Alive { .. }));
}

#[tokio::test]
async fn a_configuration_that_a_lost_primary_alone_had_is_forgotten() {
    let primary = Postgres::start(&[("fsync", "off")]);
    let standby = primary.standby();
    let name = primary.new_database().rsplit('/').next().expect("a name").to_owned();
    let hosts = [&primary, &standby].map(|server| format!("127.0.0.1:{}", server.port())).join(",");
    let database = Database { url: format!("postgres://postgres@{hosts}/{name}") };
    let scene = Scene::open(Arc::new(database) as Arc<dyn Backend>).await;
    primary.wait_for_standby().await;
    standby.crash();
    let lost = scene.add_endpoint(&scene.tenant, |_| {}).await;
    assert!(scene.store.configuration().endpoint(lost.id).is_some());
    let known = scene.store.configuration().version();
    primary.crash();
    standby.resume();
    standby.promote();
    // Another change takes the number of the one that was lost.
    testkit::until("the other server is found", || async {
        scene.store.beat(ProcessId(uuid::Uuid::from_u128(1))).await.ok()
    })
    .await;
    standby.sql(&name, &format!("UPDATE configuration SET version = {known}"));
    let published = scene.store.publish(scene.event("ord_1")).await.expect("publishes");
    let Published::Accepted { event, .. } = published else { panic!("accepted, not {published:?}") };
    let deliveries = scene.store.deliveries_of_event(scene.view(), event, Default::default()).await;
    let endpoints: Vec<_> = deliveries.expect("lists").rows.iter().map(|one| one.endpoint).collect();
    assert_eq!(endpoints, [scene.endpoint.id]);
    assert!(scene.store.configuration().endpoint(lost.id).is_none());
}

#[tokio::test]
async fn hosts_whose_clocks_differ_by_an_hour_take_turns_all_the_same() {
    let (_, scene) = scene().await;
    let behind = Arc::new(ManualClock::new(scene.now().minus(Duration::from_secs(3_600))));
    let clock = Arc::clone(&behind) as Arc<dyn model::clock::Clock>;
    let late = scene.backend.open(Env::new(clock, Arc::new(SeededEntropy::new(7)))).await;
    let process = scene.new_process().await;
    // Signs of life go by the database's clock, which both are told.
    for store in [&scene.store, &late] {
        assert!(matches!(store.beat(process).await.expect("beats"), Beat::Alive { .. }));
        assert_eq!(store.take_over_dead().await.expect("looks"), 0);
    }
    let lane = scene.take_lane().await;
    scene.publish_one("ord_1").await;
    let ready = scene.claim(lane.epoch, 10).await;
    // The other host neither takes what is owned nor finds what is not due by its clock.
    assert!(late.take_lanes(process, &[scene.endpoint.id]).await.expect("asks").is_empty());
    let finished = scene.finished(&ready[0], 200, DeliveryStatus::Delivered);
    assert_eq!(late.finish(Arc::clone(&finished)).await.expect("finishes"), Recorded::Advanced);
    scene.store.release_lanes(&[(scene.endpoint.id, lane.epoch)]).await.expect("gives back");
    let taken = late.take_lanes(process, &[scene.endpoint.id]).await.expect("takes");
    assert!(taken[0].epoch > lane.epoch);
    assert_eq!(scene.store.finish(finished).await.expect("is late"), Recorded::Late);
    // What the host that is ahead publishes is sent by the other one an hour later.
    scene.publish_one("ord_2").await;
    let epoch = taken[0].epoch;
    let claim = async || late.claim_due(scene.wish(epoch, behind.now(), 10)).await.expect("claims");
    assert!(claim().await.ready.is_empty());
    behind.advance(Duration::from_secs(3_600));
    assert_eq!(claim().await.ready.len(), 1);
}

#[tokio::test]
async fn two_processes_publish_and_number_without_gaps() {
    let (_, scene) = scene().await;
    let other = scene.backend.open(scene.env.clone()).await;
    let mut publishing = Vec::new();
    for number in 0..200 {
        let store = if number % 2 == 0 { Arc::clone(&scene.store) } else { Arc::clone(&other) };
        let event = scene.event(&format!("ord_{number}"));
        publishing.push(tokio::spawn(async move { store.publish(event).await }));
    }
    let mut sequences = Vec::new();
    for publishing in publishing {
        match publishing.await.expect("no panic").expect("publishes") {
            Published::Accepted { sequence, .. } => sequences.push(sequence),
            other => panic!("accepted, not {other:?}"),
        }
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=200).collect::<Vec<u64>>());
}

#[tokio::test]
async fn an_endpoint_made_by_another_process_misses_no_event() {
    let (_, scene) = scene().await;
    let other = scene.backend.open(scene.env.clone()).await;
    let second = scene.add_endpoint(&scene.tenant, |_| {}).await;
    // The other process has not looked since.
    assert!(other.configuration().endpoint(second.id).is_none());
    let published = other.publish(scene.event("ord_1")).await.expect("publishes");
    let Published::Accepted { event, .. } = published else { panic!("accepted, not {published:?}") };
    let deliveries = other.deliveries_of_event(scene.view(), event, Default::default()).await.expect("lists");
    assert_eq!(deliveries.rows.len(), 2);
}
