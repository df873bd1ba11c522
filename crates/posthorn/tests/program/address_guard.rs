//! Hostile URLs and names: not one connection to this machine is made.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::settings;
use serde_json::{Value, json};
use testkit::{NameServer, Program, until};
use tokio::net::TcpListener;

/// Counts connections to a port of this machine, on all of its addresses.
async fn canary() -> (u16, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let v4 = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = v4.local_addr().unwrap().port();
    let mut listeners = vec![v4];
    // A machine may have no IPv6.
    listeners.extend(TcpListener::bind(("::1", port)).await);
    for listener in listeners {
        let count = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
    }
    (port, count)
}

/// Addresses that are nobody's business.
const PRIVATE: [&str; 24] = [
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "ff02::1",
    "2001:db8::1",
];

/// An IPv4 address in all the ways in which it can be written.
fn notations(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let number = u32::from(address);
    let low = (u32::from(b) << 16) | (u32::from(c) << 8) | u32::from(d);
    let wide = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_ascii_digit() { char::from_u32(c as u32 + 0xfee0).unwrap() } else { c })
            .collect()
    };
    let dotted = address.to_string();
    vec![
        dotted.clone(),
        format!("{dotted}."),
        number.to_string(),
        format!("{number:#x}"),
        format!("{number:#X}"),
        format!("0{number:o}"),
        format!("{a}.{low}"),
        format!("{a}.{b}.{}", u32::from(c) * 256 + u32::from(d)),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.{b}.{c}.{d}"),
        format!("{a:#x}.{low}"),
        wide(&dotted),
        dotted.replace('.', "。"),
        dotted.replace('.', "%2e"),
        dotted.replace('1', "%31"),
        format!("[::ffff:{dotted}]"),
        format!("[::ffff:{:x}:{:x}]", number >> 16, number & 0xffff),
        format!("[::{dotted}]"),
        format!("[64:ff9b::{dotted}]"),
        format!("[64:ff9b:1::{dotted}]"),
        format!("[2002:{:x}:{:x}::]", number >> 16, number & 0xffff),
        format!("[2001:0:{:x}:{:x}::1]", number >> 16, number & 0xffff),
        format!("[2001::{:x}:{:x}]", (number ^ u32::MAX) >> 16, (number ^ u32::MAX) & 0xffff),
        format!("[2600::5efe:{dotted}]"),
    ]
}

fn hostile_urls(port: u16) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for address in ["127.0.0.1", "127.9.8.7", "169.254.169.254", "10.0.0.1", "192.168.1.1"] {
        let hosts = notations(address.parse().unwrap());
        urls.extend(hosts.iter().map(|host| format!("http://{host}:{port}/hook")));
    }
    for address in PRIVATE {
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        urls.push(format!("http://{host}:{port}/hook"));
        urls.push(format!("https://{host}/hook"));
    }
    for odd in [
        format!("http://user@127.0.0.1:{port}/"),
        format!("http://user:word@127.0.0.1:{port}/"),
        format!("http://example.com@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}#@example.com/"),
        format!("http://127.0.0.1:{port}\\@example.com/"),
        format!("http:\\\\127.0.0.1:{port}/"),
        format!("http:127.0.0.1:{port}/"),
        format!("http:///127.0.0.1:{port}/"),
        format!("http://[::1%25lo]:{port}/"),
        format!("http://[::1%lo]:{port}/"),
        format!("http://[fe80::1%25eth0]:{port}/"),
        format!("http://[0:0:0:0:0:0:0:1]:{port}/"),
        format!("http://[0000::0001]:{port}/"),
        format!("http://127.0.0.1\t:{port}/"),
        format!("http://127.0.0.1\n:{port}/"),
        format!(" http://127.0.0.1:{port}/ "),
        format!("http://①②⑦.⓪.⓪.①:{port}/"),
        format!("http://127.0.0.1%00.example.com:{port}/"),
        format!("gopher://127.0.0.1:{port}/"),
        format!("ftp://127.0.0.1:{port}/"),
        "file:///etc/passwd".to_owned(),
        "http://127.0.0.1:22/".to_owned(),
        "http://example.com:25/".to_owned(),
        "http://example.com:6379x/".to_owned(),
        "http://example.com:0/".to_owned(),
        "http:///".to_owned(),
        "http://".to_owned(),
    ] {
        urls.push(odd);
    }
    urls
}

#[tokio::test]
async fn of_hundreds_of_hostile_urls_and_names_not_one_leads_here() {
    let (port, connections) = canary().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    // The zone: pN.test has the N-th private address, mN.test has it beside a
    // public one, and rebind.test another one at every question.
    let names = NameServer::start(move |name| {
        let public: IpAddr = "192.31.196.1".parse().unwrap();
        let nth = |text: &str| PRIVATE.get(text.parse::<usize>().ok()?)?.parse::<IpAddr>().ok();
        let (kind, rest) = name.split_once('.').unwrap_or((name, ""));
        if rest != "test" {
            return Vec::new();
        }
        if kind == "rebind" {
            let turn = counted.fetch_add(1, Ordering::SeqCst);
            return vec![if turn.is_multiple_of(2) { public } else { "127.0.0.1".parse().unwrap() }];
        }
        match kind.split_at(1) {
            ("p", number) => nth(number).into_iter().collect(),
            ("m", number) => nth(number).into_iter().chain([public]).collect(),
            _ => Vec::new(),
        }
    })
    .await;
    let start = settings()
        .with("POSTHORN_MAX_ENDPOINTS_PER_TENANT", "1000")
        .with("POSTHORN_ALLOW_TARGETS", "")
        .with("POSTHORN_NAME_SERVERS", names.address().to_string());
    let program = Program::start(start).await;
    let api = program.api();
    api.create_tenant("acme").await;

    let urls = hostile_urls(port);
    assert!(urls.len() + 2 * PRIVATE.len() >= 200, "{} URLs", urls.len());
    let (mut refused, mut accepted) = (0, Vec::new());
    for url in &urls {
        let endpoint = json!({ "url": url, "event_types": ["order.paid"] });
        let answer = api.post("/v1/tenants/acme/endpoints", endpoint).await;
        match answer.status {
            422 => refused += 1,
            201 => accepted.push(url.clone()),
            status => panic!("{url}: {status}"),
        }
    }
    // What cannot be told by its form are names, whose addresses decide.
    assert!(accepted.len() <= 3, "accepted: {accepted:?}");
    let mut hosts: Vec<String> = (0..PRIVATE.len()).map(|n| format!("p{n}.test")).collect();
    hosts.push("rebind.test".to_owned());
    hosts.push("nowhere.test".to_owned());
    // Of mixed addresses the public one may be called: nobody answers there.
    let mixed: Vec<String> = (0..PRIVATE.len()).map(|n| format!("m{n}.test")).collect();
    for host in hosts.iter().chain(&mixed) {
        let quick = json!({ "url": format!("http://{host}:{port}/hook"), "timeout_seconds": 1 });
        api.create_endpoint("acme", quick).await;
    }
    let oauth = json!({ "token_url": format!("http://p0.test:{port}/token"), "client_id": "a", "client_secret": "b" });
    api.create_endpoint("acme", json!({ "url": format!("http://m4.test:{port}/"), "oauth": oauth })).await;

    let event = api.publish("acme", "order.paid", "ord_1").await;
    let made = accepted.len() + hosts.len() + mixed.len() + 1;
    let deliveries = until("every endpoint was tried", || async {
        let page = api.get(&format!("/v1/events/{event}/deliveries?limit=250")).await.expect(200);
        let tried = |delivery: &&Value| delivery["attempts"].as_u64() > Some(0);
        let tried: Vec<Value> = page["data"].as_array().unwrap().iter().filter(tried).cloned().collect();
        (tried.len() == made).then_some(tried)
    })
    .await;
    let classes: BTreeSet<&str> =
        deliveries.iter().map(|delivery| delivery["error_class"].as_str().unwrap()).collect();
    assert!(
        classes.iter().all(|class| ["blocked_address", "dns", "connect", "timeout", "oauth"].contains(class)),
        "{classes:?}"
    );
    let blocked = deliveries.iter().filter(|delivery| delivery["error_class"] == "blocked_address").count();
    assert!(blocked >= PRIVATE.len(), "{blocked} of {made}");
    // A test call and a changing name find no gap either.
    for endpoint in
        api.get("/v1/tenants/acme/endpoints?limit=100").await.expect(200)["data"].as_array().unwrap()
    {
        if endpoint["url"].as_str().unwrap().contains("rebind") {
            let id = endpoint["id"].as_str().unwrap();
            for _ in 0..10 {
                let test = api.post(&format!("/v1/tenants/acme/endpoints/{id}/test"), json!({})).await;
                let test = test.expect(202);
                let event = test["event"].as_str().unwrap().to_owned();
                api.delivery_with_status(&event, "failed").await;
            }
        }
    }
    println!(
        "{refused} URLs refused, {made} endpoints tried, {} questions asked",
        asked.load(Ordering::SeqCst)
    );
    assert_eq!(connections.load(Ordering::SeqCst), 0, "somebody was let in");
}
