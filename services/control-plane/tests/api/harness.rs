//! A control-plane on a port of its own, an account in it, and clients.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use millrace_control_plane::{Backing, QueueHandle, Settings, build, with_fallback};
use millrace_domain::{Account, AccountSid, AccountStatus, Secret, Timestamp, secret::SecretHash};
use millrace_queue::{
    Queue,
    sqlite::{SqliteOptions, SqliteQueue},
};
use millrace_runtime::{Process, config::MaskedSecret, server};
use millrace_store::{
    Keyring, LogStore, ResourceStore,
    audit::{Actor, acting_as},
    logs::open_sqlite_ephemeral,
    sqlite,
};
use millrace_testkit::eventually;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tonic::{Request, transport::Channel};

use crate::contract;

pub(crate) const PLATFORM_KEY: &str = "platform-key-0123456789abcdef";
pub(crate) const INTERNAL_TOKEN: &str = "internal-token-0123456789abcdef";
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const SENT: &str = "com.twilio.messaging.message.sent";
pub(crate) const DELIVERED: &str = "com.twilio.messaging.message.delivered";
pub(crate) const WEBHOOK: &str = r#"{"destination": "https://e.example/x", "method": "POST"}"#;

/// A running control-plane. `account` is in it, with the auth token [`TOKEN`].
pub(crate) struct Harness {
    pub(crate) url: String,
    pub(crate) account: AccountSid,
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) process: Process,
    client: Client,
}

pub(crate) async fn start() -> Harness {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Harness {
    let keyring = Keyring::parse(Keyring::generate("test").reveal()).expect("a keyring");
    let store = sqlite::open_ephemeral(keyring).await.expect("a database in memory");
    start_on(Arc::new(store), change).await
}

/// On a queue that may take so many bytes.
pub(crate) async fn start_bounded(change: impl FnOnce(&mut Settings), bytes: u64) -> Harness {
    let keyring = Keyring::parse(Keyring::generate("test").reveal()).expect("a keyring");
    let store = sqlite::open_ephemeral(keyring).await.expect("a database in memory");
    start_over(Arc::new(store), change, Some(bytes)).await
}

pub(crate) async fn start_on(
    store: Arc<dyn ResourceStore>,
    change: impl FnOnce(&mut Settings),
) -> Harness {
    start_over(store, change, None).await
}

async fn start_over(
    store: Arc<dyn ResourceStore>,
    change: impl FnOnce(&mut Settings),
    max_bytes: Option<u64>,
) -> Harness {
    drop(rustls::crypto::ring::default_provider().install_default());
    let process = Process::default();
    let mut settings = Settings::default();
    settings.control_plane.platform_keys = vec![SecretHash::of(PLATFORM_KEY).to_hex()];
    settings.internal.token = MaskedSecret::new(INTERNAL_TOKEN);
    change(&mut settings);
    let partitions = settings.queue.partitions;
    let options = SqliteOptions { partitions, max_bytes, ..SqliteOptions::default() };
    let queue: Arc<dyn Queue> =
        Arc::new(SqliteQueue::open(options).await.expect("a queue in memory"));
    let logs: Arc<dyn LogStore> = Arc::new(open_sqlite_ephemeral().await.expect("logs in memory"));
    let kept = Arc::clone(&logs);
    let backing = Backing {
        store: Arc::clone(&store),
        logs: kept,
        queue: QueueHandle::of(Arc::clone(&queue)),
    };
    let service = build(&settings, backing, &process, None);
    let service = service.await.expect("valid settings");
    let listener = server::bind("127.0.0.1:0").await.expect("a port");
    let address =
        process.serve("test", listener, with_fallback(service.routes)).expect("an address");
    eventually("the catalogue is registered", async || process.readiness.is_ready().then_some(()))
        .await;
    let account = AccountSid::from_u128(1);
    let harness = Harness {
        url: format!("http://{address}"),
        account,
        store,
        queue,
        logs,
        process,
        client: Client::new(),
    };
    if harness.store.account(account).await.is_err() {
        harness.add_account(account, AccountStatus::Active).await;
    }
    harness
}

impl Harness {
    /// Adds an account whose auth token is [`TOKEN`].
    pub(crate) async fn add_account(&self, sid: AccountSid, status: AccountStatus) {
        let account = Account {
            sid,
            parent: None,
            friendly_name: "test".to_owned(),
            status,
            auth_token: Secret::new(TOKEN),
            secondary_auth_token: None,
            created: Timestamp::from_millis(0),
            updated: Timestamp::from_millis(0),
        };
        let created = self.store.create_account(&account);
        acting_as(Actor::Process("test"), created).await.expect("a new account");
    }

    /// A request of the account, without a body.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        self.client.request(method, url).basic_auth(self.account, Some(TOKEN))
    }

    /// A request without credentials.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        read(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        self.post_raw(path, body.finish()).await
    }

    pub(crate) async fn post_raw(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path);
        read(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
    }

    /// Makes a sink and gives its SID.
    pub(crate) async fn sink(&self) -> String {
        let form = [("Description", "a"), ("SinkConfiguration", WEBHOOK), ("SinkType", "webhook")];
        let (status, sink) = self.post("/v1/Sinks", &form).await;
        assert_eq!(status, 201, "{sink}");
        text(&sink, "sid")
    }

    /// Makes a subscription to one type and gives its SID.
    pub(crate) async fn subscription(&self, sink: &str, event_type: &str) -> String {
        let types = format!(r#"{{"type": "{event_type}"}}"#);
        let form = [("Description", "s"), ("SinkSid", sink), ("Types", &types)];
        let (status, subscription) = self.post("/v1/Subscriptions", &form).await;
        assert_eq!(status, 201, "{subscription}");
        text(&subscription, "sid")
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone()).expect("a URL").connect().await.expect("a server")
    }

    /// A gRPC request of the account.
    pub(crate) fn ask<T>(&self, message: T) -> Request<T> {
        with_authorization(message, &basic(&self.account.to_string(), TOKEN))
    }
}

/// A gRPC request of the platform.
pub(crate) fn platform<T>(message: T) -> Request<T> {
    with_authorization(message, &format!("Bearer {PLATFORM_KEY}"))
}

pub(crate) fn with_authorization<T>(message: T, authorization: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = authorization.parse().expect("ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

pub(crate) async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

/// Status and JSON of an answer, which is checked against both documents; no body reads as null.
pub(crate) async fn read(request: RequestBuilder) -> (StatusCode, Value) {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("an answer");
    let status = response.status();
    let body = response.text().await.expect("a body");
    let body = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_str(&body).expect("JSON"),
    };
    contract::check(&method, &path, status, &body);
    (status, body)
}

pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

/// Number and first words of an error: the field and what follows it.
pub(crate) fn refused((status, body): (StatusCode, Value)) -> (u16, u64, String) {
    assert_eq!(body["status"], status.as_u16(), "{body}");
    assert!(body["more_info"].is_string(), "{body}");
    (status.as_u16(), body["code"].as_u64().expect("a number"), text(&body, "message"))
}
