//! The order of a batch is the order of its events.

use std::collections::BTreeMap;

use crate::common::start;
use model::entropy::{Entropy as _, SeededEntropy};
use serde_json::{Value, json};
use testkit::{Api, Behaviour, Receiver};

/// Numbers from a seed.
struct Choices(SeededEntropy);

impl Choices {
    fn from(&self, range: std::ops::RangeInclusive<usize>) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        range.start() + u64::from_be_bytes(bytes) as usize % (range.end() - range.start() + 1)
    }
}

/// Publishes a batch of events with these tenants and subjects, and gives the
/// sequences that they got.
async fn publish(api: &Api, events: &[(String, String)]) -> Vec<u64> {
    let events: Vec<Value> = events
        .iter()
        .map(|(tenant, subject)| {
            json!({ "tenant": tenant, "type": "a.b", "subject": subject, "ordering_key": "one", "data": {} })
        })
        .collect();
    let answer = api.post("/v1/events/batch", json!({ "events": events })).await.expect(200);
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|result| result["sequence"].as_u64().unwrap_or_else(|| panic!("{result}"))).collect()
}

#[tokio::test]
async fn batches_of_any_size_and_fan_out_are_numbered_and_arrive_in_their_order() {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let choices = Choices(SeededEntropy::new(7));
    // One in five has endpoints: calls in order go one by one.
    let tenants: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let mut expected = 0;
    let mut fan_out = BTreeMap::new();
    for (n, tenant) in tenants.iter().enumerate() {
        api.create_tenant(tenant).await;
        let endpoints = if n % 5 == 0 { n / 5 } else { 0 };
        for endpoint in 0..endpoints {
            let url = format!("{}/{tenant}/{endpoint}", receiver.url());
            api.create_endpoint(tenant, json!({ "url": url, "ordering": "per_key" })).await;
        }
        fan_out.insert(tenant.clone(), endpoints);
    }
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let sizes = [1, 2, 127, 128, 129, 130, 256, 400, 1_000].into_iter();
    let sizes = sizes.chain((0..6).map(|_| choices.from(1..=1_000))).collect::<Vec<_>>();
    let mut subject = 0;
    for size in sizes {
        let among = choices.from(1..=20);
        let events: Vec<(String, String)> = (0..size)
            .map(|_| {
                subject += 1;
                (tenants[choices.from(0..=among - 1)].clone(), format!("{subject:06}"))
            })
            .collect();
        for ((tenant, subject), sequence) in events.iter().zip(publish(&api, &events).await) {
            let before = last.insert(tenant.clone(), sequence).unwrap_or(0);
            assert_eq!(sequence, before + 1, "{tenant} {subject} in a batch of {size} for {among} tenants");
            expected += fan_out[tenant];
        }
    }
    let received = receiver.wait_for(expected).await;
    assert_eq!(received.len(), expected);
    let mut arrived: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for request in &received {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        arrived.entry(&request.path).or_default().push(body["subject"].as_str().unwrap().to_owned());
    }
    for (path, subjects) in arrived {
        assert!(subjects.is_sorted(), "{path}: {subjects:?}");
    }
}
