//! A client of a running server.

use anyhow::{Context as _, bail};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A client of a running server.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    api_key: String,
}

impl Client {
    /// A client of the server at `url`, with a key.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn new(url: &str, api_key: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), api_key: api_key.to_owned() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.api_key)
    }

    /// Reads a thing; `None` if it is not there.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        let response = self.send(self.request(Method::GET, path)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(success(response).await?.json().await?))
    }

    /// Sends a thing, and reads the answer.
    pub async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let response = self.send(self.request(method, path).json(body)).await?;
        Ok(success(response).await?.json().await?)
    }

    /// Removes a thing.
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        success(self.send(self.request(Method::DELETE, path)).await?).await?;
        Ok(())
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        request.send().await.with_context(|| format!("cannot reach a server at {}", self.url))
    }
}

/// The answer, or the problem that the server tells.
async fn success(response: Response) -> anyhow::Result<Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    match serde_json::from_str::<api_types::Problem>(&text) {
        Ok(problem) => bail!("{} ({}): {}", problem.title, problem.code, problem.detail),
        Err(_) => bail!("the server answered {status}: {text}"),
    }
}
