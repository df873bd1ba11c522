//! What it costs to show the failed deliveries of one endpoint, in a long log.
//!
//! `with-postgres target/release/examples/price_of_listing 10000000` fills an
//! empty PostgreSQL database with so many ended deliveries of a thousand
//! endpoints, one in a hundred failed, and prints how long pages take.

#[path = "support/database.rs"]
mod database;

use std::sync::Arc;
use std::time::{Duration, Instant};

use database::Database;
use delivery_log::conformance::Scene;
use delivery_log::deliveries::DeliveryFilter;
use delivery_log::page::PageRequest;
use model::delivery::{DeliveryStatus, VisibleStatus};
use sqlx::{Connection as _, PgConnection};

/// How often each page is read.
const PAGES: usize = 200;
/// So many rows are made in one statement.
const STEP: i64 = 500_000;

#[tokio::main]
async fn main() {
    let rows: i64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let url = std::env::var("POSTHORN_DATABASE_URL").expect("POSTHORN_DATABASE_URL names an empty database");
    let mut sql = PgConnection::connect(&url).await.expect("connects");
    let scene = Scene::open(Arc::new(Database(url))).await;
    let lane = scene.take_lane().await;
    scene.deliver(lane.epoch, "ord_1", 200, DeliveryStatus::Delivered).await;
    for first in (0..rows).step_by(STEP as usize) {
        fill(&mut sql, first, STEP.min(rows - first)).await;
    }
    sqlx::query("VACUUM ANALYZE deliveries").execute(&mut sql).await.expect("vacuums");

    let of_endpoint = DeliveryFilter { endpoint: Some(scene.endpoint.id), ..DeliveryFilter::default() };
    let failed = DeliveryFilter { statuses: vec![VisibleStatus::Failed], ..of_endpoint.clone() };
    println!("{rows} rows            median ms  p90 ms");
    for (name, filter) in [("failed, one endpoint", failed), ("all, one endpoint", of_endpoint)] {
        let mut took: Vec<Duration> = Vec::with_capacity(PAGES);
        for _ in 0..PAGES {
            let started = Instant::now();
            let page = scene.store.list_deliveries(scene.view(), &filter, PageRequest::default()).await;
            took.push(started.elapsed());
            assert!(page.expect("lists").rows.len() > 10);
        }
        took.sort_unstable();
        let ms = |place: usize| took[place].as_secs_f64() * 1_000.0;
        println!("{name:<24}  {:>8.2}  {:>6.2}", ms(PAGES / 2), ms(PAGES * 9 / 10));
    }
}

/// Copies the one delivery, whose id is the greatest: to its own endpoint one
/// time in a thousand, to others that nobody reads the rest of the time.
async fn fill(sql: &mut PgConnection, first: i64, count: i64) {
    sqlx::query(
        "INSERT INTO deliveries (id, project, tenant, endpoint, event, created_at, updated_at, attempts, status, \
         failure, trigger, last_error, last_status, payload) \
         SELECT (substr(o.id::text, 1, 24) || lpad(to_hex(n), 12, '0'))::uuid, o.project, o.tenant, \
         CASE WHEN n % 1000 = 0 THEN o.endpoint ELSE (lpad(to_hex(n % 1000), 32, '0'))::uuid END, \
         o.event, o.created_at, o.updated_at, 1, CASE WHEN n / 1000 % 100 = 0 THEN 3 ELSE 2 END, \
         CASE WHEN n / 1000 % 100 = 0 THEN 1 END, 0, 0, 200, o.payload \
         FROM (SELECT * FROM deliveries ORDER BY id DESC LIMIT 1) o, generate_series($1, $2) AS n",
    )
    .bind(first + 1)
    .bind(first + count)
    .execute(sql)
    .await
    .expect("fills");
}
