//! A client that looks at everything.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// A client of a server's API.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    url: String,
    key: String,
}

/// An answer, whatever it is.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The body as JSON, of an answer with this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// A text at a JSON pointer.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> String {
        let json = self.json();
        let text = json.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no text at {pointer} in {json}")).to_owned()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Checks that this is a problem with a stable code, and gives the
    /// pointers of its errors.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Vec<String> {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{problem}");
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

impl Api {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, url: url.to_owned(), key: key.to_owned() }
    }

    /// A client of the same server with another key or token.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key that is used.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A request to be completed.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url));
        if self.key.is_empty() { request } else { request.bearer_auth(&self.key) }
    }

    /// Sends a request, and reads the answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// Sends a request to a server that may not be there.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, bytes: response.bytes().await?.to_vec() })
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("POST", path).json(&body)).await
    }

    /// Patches with JSON.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("PATCH", path).json(&body)).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    /// Posts a body as it is.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = self.request("POST", path).header("content-type", "application/json");
        self.send(request.body(body.into())).await
    }

    /// Makes a tenant.
    pub async fn create_tenant(&self, tenant: &str) {
        self.post("/v1/tenants", json!({ "id": tenant })).await.expect(201);
    }

    /// Makes an endpoint of a tenant, and gives its id and with what its calls
    /// are verified: a secret or a public key.
    pub async fn create_endpoint(&self, tenant: &str, endpoint: Value) -> (String, String) {
        let answer = self.post(&format!("/v1/tenants/{tenant}/endpoints"), endpoint).await;
        let created = answer.expect(201);
        let secret = created["secret"].as_str().or(created["public_key"].as_str()).unwrap();
        (answer.text("/id"), secret.to_owned())
    }

    /// Publishes an event, and gives its id.
    pub async fn publish(&self, tenant: &str, event_type: &str, subject: &str) -> String {
        let event = json!({ "tenant": tenant, "type": event_type, "subject": subject, "data": {} });
        let answer = self.post("/v1/events", event).await;
        answer.expect(202);
        answer.text("/id")
    }

    /// The deliveries of an event.
    pub async fn deliveries_of(&self, event: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/events/{event}/deliveries")).await;
        answer.expect(200)["data"].as_array().unwrap().clone()
    }

    /// Waits until the program says that it can work: a little after it listens,
    /// when it has joined the others in the database.
    pub async fn until_ready(&self) {
        crate::until("the program is ready", || async {
            (self.get("/readyz").await.status == 200).then_some(())
        })
        .await;
    }

    /// Waits until the program says that it cannot work.
    pub async fn until_not_ready(&self) {
        crate::until("the program is not ready", || async {
            (self.get("/readyz").await.status == 503).then_some(())
        })
        .await;
    }

    /// Waits until the only delivery of an event has this status.
    pub async fn delivery_with_status(&self, event: &str, status: &str) -> Value {
        crate::until(&format!("the delivery of {event} is {status}"), || async {
            self.deliveries_of(event).await.into_iter().find(|delivery| delivery["status"] == status)
        })
        .await
    }

    /// The attempts of a delivery.
    pub async fn attempts_of(&self, delivery: &Value) -> Vec<Value> {
        let id = delivery["id"].as_str().unwrap();
        let answer = self.get(&format!("/v1/deliveries/{id}/attempts")).await;
        answer.expect(200)["data"].as_array().unwrap().clone()
    }
}
