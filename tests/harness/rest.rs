//! The REST API as any client sees it: a form in, JSON out, Basic credentials.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use url::form_urlencoded;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one server with one caller's credentials.
#[derive(Clone, Debug)]
pub struct Rest {
    http: reqwest::Client,
    base: String,
    authorization: Option<String>,
    headers: Vec<(&'static str, String)>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, null where it is none or no JSON.
    pub body: Value,
    /// The version of the configuration that a change made.
    pub version: Option<String>,
}

impl Answer {
    /// A text in the body, by its JSON pointer.
    ///
    /// # Panics
    /// If there is none.
    pub fn text(&self, pointer: &str) -> &str {
        let value = self.body.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no text at {pointer} in {self:?}"))
    }

    /// `status`, `code` and `message` of an error.
    pub fn error(&self) -> (u16, u64, &str) {
        (
            self.status,
            self.body["code"].as_u64().unwrap_or(0),
            self.body["message"].as_str().unwrap_or(""),
        )
    }
}

impl Rest {
    /// A client with `authorization`, as in the header.
    pub fn new(base: &str, authorization: Option<&str>) -> Self {
        Self {
            http: http(),
            base: base.to_owned(),
            authorization: authorization.map(str::to_owned),
            headers: Vec::new(),
        }
    }

    /// The same with a header besides.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// POST of a form.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(Method::POST, path, Some(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, form: Option<String>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(form) = form {
            request =
                request.header("content-type", "application/x-www-form-urlencoded").body(form);
        }
        answer(request.send().await.expect("control-plane answers")).await
    }
}

/// Reads an answer whole.
///
/// # Panics
/// If it breaks off.
pub(crate) async fn answer(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let header = response.headers().get("millrace-config-version");
    let version = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = response.bytes().await.expect("a whole answer");
    Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null), version }
}

/// Status and text of a GET; `None`: nobody answers.
pub(crate) async fn plain(url: &str) -> Option<(u16, String)> {
    let response = http().get(url).send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.text().await.ok()?))
}

pub(crate) fn http() -> reqwest::Client {
    // Another client of this process may have done it; any provider serves, for nothing here speaks TLS.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().expect("a client")
}
