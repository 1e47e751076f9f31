//! Plain HTTP on loopback: what there is to ask of the receiver and of an admin listener.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// A client with connections of its own.
#[derive(Clone)]
pub(crate) struct Http(Client<HttpConnector, Full<Bytes>>);

impl Http {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Gets what is at `url`.
    ///
    /// # Errors
    /// If nobody answers, or not with success.
    pub(crate) async fn get(&self, url: &str) -> Result<Bytes> {
        self.send(Method::GET, url, Bytes::new()).await
    }

    /// Puts `body` to `url`.
    ///
    /// # Errors
    /// If nobody answers, or not with success.
    pub(crate) async fn put(&self, url: &str, body: impl Into<Bytes>) -> Result<()> {
        self.send(Method::PUT, url, body.into()).await.map(drop)
    }

    async fn send(&self, method: Method, url: &str, body: Bytes) -> Result<Bytes> {
        let request = Request::builder().method(method).uri(url).body(Full::from(body))?;
        let answer = self.0.request(request).await.with_context(|| format!("nobody at {url}"))?;
        ensure!(answer.status().is_success(), "{url} answered {}", answer.status());
        Ok(answer.into_body().collect().await?.to_bytes())
    }
}
