//! What it costs to find one delivery that is due, while ever more are not.
//!
//! `with-postgres target/release/examples/price_of_claiming` fills an empty
//! PostgreSQL database with deliveries that are due tomorrow, and prints the
//! median time of a claim at each size.

#[path = "support/database.rs"]
mod database;

use std::sync::Arc;
use std::time::{Duration, Instant};

use database::Database;
use delivery_log::conformance::Scene;
use model::delivery::DeliveryStatus;
use sqlx::{Connection as _, PgConnection};

/// How many deliveries are due tomorrow.
const SIZES: [i64; 4] = [0, 10_000, 100_000, 1_000_000];
/// How many claims are timed at each size.
const CLAIMS: usize = 500;

#[tokio::main]
async fn main() {
    let url = std::env::var("POSTHORN_DATABASE_URL").expect("POSTHORN_DATABASE_URL names an empty database");
    let mut sql = PgConnection::connect(&url).await.expect("connects");
    let scene = Scene::open(Arc::new(Database(url))).await;
    let lane = scene.take_lane().await;
    println!("waiting  median µs  p90 µs");
    let mut present = 0;
    for size in SIZES {
        fill(&mut sql, &scene, size - present).await;
        present = size;
        let mut took: Vec<Duration> = Vec::with_capacity(CLAIMS);
        for number in 0..CLAIMS {
            scene.publish_one(&format!("due_{number}")).await;
            let started = Instant::now();
            let ready = scene.claim(lane.epoch, 1).await;
            took.push(started.elapsed());
            let finished = scene.finished(&ready[0], 200, DeliveryStatus::Delivered);
            scene.store.finish(finished).await.expect("finishes");
        }
        took.sort_unstable();
        println!("{size:>7}  {:>9}  {:>6}", took[CLAIMS / 2].as_micros(), took[CLAIMS * 9 / 10].as_micros());
    }
}

/// Adds deliveries of one event that are due tomorrow.
async fn fill(sql: &mut PgConnection, scene: &Scene, count: i64) {
    if count == 0 {
        return;
    }
    let tomorrow = scene.now().plus(Duration::from_secs(24 * 3_600)).as_micros();
    let event = scene.event("later");
    scene.store.publish(event).await.expect("publishes");
    sqlx::query(
        "WITH one AS (DELETE FROM waiting WHERE claimed IS NULL AND due_at < $1 RETURNING *) \
         INSERT INTO waiting (id, project, tenant, endpoint, event, due_at, schedule_since, created_at, updated_at, \
         attempts, tries, rejections, status, trigger, payload) \
         SELECT gen_random_uuid(), project, tenant, endpoint, event, $1 + n, created_at, created_at, created_at, \
         1, 1, 0, 1, 0, payload FROM one, generate_series(1, $2) AS n",
    )
    .bind(tomorrow)
    .bind(count)
    .execute(&mut *sql)
    .await
    .expect("fills");
    sqlx::query("VACUUM ANALYZE waiting").execute(sql).await.expect("vacuums");
}
