//! How each type of sink is spoken to: a batch of events in, one outcome for each out.
//!
//! A driver renders, sends and classifies. When to send, how often, and what to do with what failed is the
//! deliverer's business. No driver logs a secret, a payload or a URL's userinfo.

mod blocking;
mod cloudevents;
#[cfg(feature = "conformance")]
pub mod conformance;
mod drivers;
mod envelope;
mod examine;
mod file;
mod guard;
mod http;
mod segment;
mod webhook;
mod words;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_domain::{
    AccountSid, Secret, SinkConfiguration, SinkDelivery, SinkSid, identity::Identities,
    outcome::Outcome, sink::Headers,
};

pub use self::{
    drivers::{Drivers, Options},
    examine::{Examination, Step},
    file::FileOptions,
    http::{HttpOptions, SetupError},
    segment::SegmentOptions,
    words::{clean_text, in_full},
};

/// What a driver has to know of a sink.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// The sink.
    pub sid: SinkSid,
    /// Whose it is.
    pub account: AccountSid,
    /// Where its events go.
    pub configuration: SinkConfiguration,
    /// What its requests carry beside what the driver says; for sinks that are spoken to over HTTP.
    pub headers: Headers,
    /// How it asks to be delivered to: for the deliverer, no driver looks at it.
    pub delivery: SinkDelivery,
    /// Key of `X-Twilio-Signature`: the account's auth token.
    pub auth_token: Secret,
    /// Standard Webhooks secret of the sink.
    pub signing_secret: Secret,
    /// Whom events are about, by their schema: for types of sink that keep events by person.
    pub identities: Arc<Identities>,
    /// What its driver has worked out of the above.
    pub prepared: Prepared,
}

/// What a driver works out of a sink once, at the first request, for all requests after it. A clone has nothing yet, for it may
/// be changed.
#[derive(Default)]
pub struct Prepared(OnceLock<Result<webhook::Plan, String>>);

impl Clone for Prepared {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

/// An event to deliver. `Debug` shows no payload.
#[derive(Clone)]
pub struct Delivery {
    /// CloudEvents `id`.
    pub id: String,
    /// Whose it is, where that is told: a sink may get events of the subaccounts of its account.
    pub account: Option<AccountSid>,
    /// W3C trace context; empty: none.
    pub traceparent: String,
    /// The event in the CloudEvents JSON format.
    pub event: Bytes,
    /// Where several sinks get the same event: SHA-256 of `[event]`, worked out by whoever needs it first.
    pub hash: Option<SharedHash>,
}

/// A hash that is worked out once for all who have a clone.
pub type SharedHash = Arc<OnceLock<[u8; 32]>>;

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, account, traceparent, event, hash: _ } = self;
        write!(
            f,
            "Delivery {{ id: {id:?}, account: {account:?}, traceparent: {traceparent:?}, event: {} bytes }}",
            event.len()
        )
    }
}

/// How much one request may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most events, at least 1.
    pub events: usize,
    /// Most bytes of their JSON, separators not counted; an event that is larger travels alone.
    pub bytes: usize,
}

/// What one request came to.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// One for each event of the batch, in order.
    pub outcomes: Vec<Outcome>,
    /// Status of the answer; `None`: there was none.
    pub http_status: Option<u16>,
    /// From the start to the last byte read.
    pub duration: Duration,
    /// The start of the answer's body, or what went wrong; at most 1 kB, for people, without secrets.
    pub detail: String,
}

/// Speaks one type of sink. Object-safe: the deliverer holds `Arc<dyn Driver>`.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// How much one request to `sink` may carry.
    fn limits(&self, sink: &SinkSpec) -> BatchLimits;

    /// Sends `batch` (not empty, within the limits unless it is one event) in one request. `now_seconds` is Unix time, for
    /// signatures. Ends by the driver's own deadline. Dropping the future abandons the request: the sink may have the events.
    async fn deliver(&self, sink: &SinkSpec, batch: &[Delivery], now_seconds: i64) -> Attempt;

    /// Sends one event, a test, and tells each step on the way: for whoever sets the sink up. The event goes as any other goes;
    /// a driver may look at the way beforehand. Ends by twice the deadline of a delivery.
    async fn examine(&self, sink: &SinkSpec, event: &Delivery, now_seconds: i64) -> Examination {
        let attempt = self.deliver(sink, std::slice::from_ref(event), now_seconds).await;
        Examination { steps: Vec::new(), attempt }
    }
}
