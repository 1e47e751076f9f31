//! The webhook driver over real sockets, against a receiver that checks for itself.

mod guard;
mod outcomes;
mod requests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millrace_domain::{
    AccountSid, Secret, SinkConfiguration, SinkDelivery, SinkSid, SinkType,
    destination::DestinationPolicy,
    sink::{Headers, WebhookMethod},
};
use millrace_sinks::{
    Attempt, Delivery, Driver, Drivers, HttpOptions, Options, Prepared, SinkSpec,
};
use millrace_testkit::receiver::Receiver;

const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: i64 = 1_767_323_045;

/// `http` and the loopback networks allowed, a deadline that a test can wait for.
fn options() -> HttpOptions {
    let networks = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a network"));
    HttpOptions {
        policy: DestinationPolicy { allow_http: true, allow_cidrs: networks.to_vec() },
        deadline: Duration::from_secs(1),
        connect_timeout: Duration::from_millis(700),
        extra_roots: Vec::new(),
    }
}

fn driver(options: &HttpOptions) -> Arc<dyn Driver> {
    let options = Options { http: options.clone(), ..Options::default() };
    Arc::clone(Drivers::new(&options).expect("usable options").of(SinkType::Webhook))
}

fn sink(url: &str, method: WebhookMethod) -> SinkSpec {
    SinkSpec {
        sid: SinkSid::from_u128(1),
        account: AccountSid::from_u128(1),
        configuration: SinkConfiguration::Webhook {
            destination: Secret::new(url),
            method,
            batch_events: true,
        },
        headers: Headers::default(),
        delivery: SinkDelivery::default(),
        auth_token: Secret::new(AUTH_TOKEN),
        signing_secret: Secret::new(SIGNING_SECRET),
        identities: Arc::default(),
        prepared: Prepared::default(),
    }
}

fn post(url: &str) -> SinkSpec {
    sink(url, WebhookMethod::Post)
}

fn event(id: &str) -> Delivery {
    Delivery {
        id: id.to_owned(),
        account: None,
        traceparent: String::new(),
        event: Bytes::from(format!(
            r#"{{"specversion":"1.0","type":"com.example.a","source":"/x","id":"{id}","data":{{"t": 1}}}}"#
        )),
        hash: None,
    }
}

/// Delivers one event by `POST` with [`options`].
async fn attempt(url: &str) -> Attempt {
    driver(&options()).deliver(&post(url), &[event("EZ1")], NOW).await
}

/// A receiver that expects our signatures at `path`.
async fn checking(path: &str) -> Receiver {
    let receiver = Receiver::start().await;
    receiver.expect_signatures(path, AUTH_TOKEN, SIGNING_SECRET);
    receiver
}

/// Asserts that every request was checked and none found wrong.
fn assert_signed(receiver: &Receiver) {
    assert_eq!(receiver.signature_failures(), [""; 0]);
    assert!(!receiver.requests().is_empty(), "a request came");
    assert_eq!(receiver.signatures_checked(), receiver.requests().len());
}

/// Asserts that what was started at `started` took about the deadline of [`options`], not more.
fn assert_ended_by_deadline(started: Instant) {
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(3), "took {took:?}");
}
