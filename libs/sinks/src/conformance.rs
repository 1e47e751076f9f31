//! What every [`Driver`] must do, run against each driver and a peer that it speaks to: a new one is one file, a peer and one test.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use millrace_domain::{SinkConfiguration, outcome::Outcome};

use crate::{Delivery, Driver, SinkSpec};

mod batches;
mod failures;
mod secrets;

/// What the secrets of a peer's sink hold, and no text for people may.
pub const SECRET: &str = "hunter2hunter2hunter2";
/// The driver's deadline where a peer hangs.
const DEADLINE: Duration = Duration::from_secs(1);
/// The driver's deadline elsewhere: a busy machine is no peer that hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// When it is, for signatures.
const NOW: i64 = 1_767_323_045;

/// How a peer behaves from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It takes everything.
    Takes,
    /// It takes everything but the events of these ids, of which it says so, for now or for ever.
    TakesAllBut(BTreeSet<String>),
    /// It is asked too much.
    Throttles,
    /// It fails, and may take the events later.
    Fails,
    /// It never answers.
    Hangs,
    /// It fails, and its answer repeats what it was sent, credentials included.
    Echoes,
}

/// Something that a driver speaks to, made for the test, and a sink that leads to it.
#[async_trait]
pub trait Peer: Send + Sync {
    /// The driver, made with the deadline that the suite asks for.
    fn driver(&self) -> Arc<dyn Driver>;
    /// A sink that leads to the peer, that takes several events a request where its type does, and whose secrets hold [`SECRET`].
    fn sink(&self) -> SinkSpec;
    /// Has the peer behave so; false: it cannot, and what is about it is left out.
    async fn behave(&self, behaviour: Behaviour) -> bool;
    /// The ids of the events that it took, in order and with repeats.
    async fn taken(&self) -> Vec<String>;
    /// How many requests came, where the peer can tell.
    async fn requests(&self) -> Option<usize>;
}

/// A check: it is given a peer of its own, and panics where the driver falls short.
type Check = for<'a> fn(&'a dyn Peer) -> BoxFuture<'a, ()>;

/// Every check, by the sentence it stands for, and its driver's deadline.
const CHECKS: &[(&str, Duration, Check)] = &[
    ("outcomes are in the order of events", PATIENCE, |p| Box::pin(batches::keeps_the_order(p))),
    ("a full batch is one request", PATIENCE, |p| Box::pin(batches::sends_a_full_batch_at_once(p))),
    ("the largest event is delivered or refused", PATIENCE, |p| {
        Box::pin(batches::decides_on_a_giant(p))
    }),
    ("a partial failure is told by event", PATIENCE, |p| {
        Box::pin(batches::tells_a_partial_failure(p))
    }),
    ("another type's sink is refused", PATIENCE, |p| Box::pin(batches::refuses_another_type(p))),
    ("a failure is worth a retry", PATIENCE, |p| Box::pin(failures::are_worth_a_retry(p))),
    ("throttling feeds no breaker", PATIENCE, |p| Box::pin(failures::throttling_is_none(p))),
    ("a peer that hangs ends by the deadline", DEADLINE, |p| {
        Box::pin(failures::end_by_the_deadline(p))
    }),
    ("a delivery can be abandoned", PATIENCE, |p| Box::pin(failures::may_be_abandoned(p))),
    ("a test sends its event", PATIENCE, |p| Box::pin(failures::an_examination_sends(p))),
    ("no text has a secret", DEADLINE, |p| Box::pin(secrets::are_in_no_text(p))),
];

/// Runs every check, each against a peer of its own that `new` makes, with a driver of the deadline that it is given. Panics with the
/// sentence that does not hold.
pub async fn run<P: Peer, F: Future<Output = P>>(new: impl Fn(Duration) -> F) {
    for (sentence, deadline, check) in CHECKS {
        eprintln!("{sentence}");
        let peer = new(*deadline).await;
        assert!(peer.behave(Behaviour::Takes).await, "every peer takes events");
        check(&peer).await;
    }
}

/// An event of about `bytes` bytes.
fn event(id: &str, bytes: usize) -> Delivery {
    let mut text = format!(
        r#"{{"specversion":"1.0","type":"com.example.a","source":"/x","id":"{id}","time":"2026-01-02T03:04:05.678Z","datacontenttype":"application/json","data":{{"text":""}}}}"#
    );
    let padding = "x".repeat(bytes.saturating_sub(text.len()));
    text.insert_str(text.len() - 3, &padding);
    Delivery {
        id: id.to_owned(),
        account: None,
        traceparent: String::new(),
        event: Bytes::from(text),
        hash: None,
    }
}

/// As many small events as a request takes, at most five.
fn few(driver: &dyn Driver, sink: &SinkSpec) -> Vec<Delivery> {
    let count = driver.limits(sink).events.min(5);
    (0..count).map(|n| event(&format!("EZ{n}"), 0)).collect()
}

fn ids(batch: &[Delivery]) -> Vec<String> {
    batch.iter().map(|delivery| delivery.id.clone()).collect()
}

/// Whether every outcome is one to try again, and whether one of them counts against the sink's health.
fn retried(outcomes: &[Outcome]) -> Option<bool> {
    let mut feeds = false;
    for outcome in outcomes {
        let Outcome::Retry { reason, .. } = outcome else { return None };
        feeds |= reason.feeds_breaker();
    }
    Some(feeds)
}

/// Asserts that what began then took no longer than a delivery may, and some time for a busy machine.
fn assert_within_deadline(began: Instant, deadlines: u32) {
    let took = began.elapsed();
    assert!(took < DEADLINE * deadlines + Duration::from_secs(5), "it took {took:?}");
}

/// The sink, configured as one of another type.
fn of_another_type(sink: &SinkSpec) -> SinkSpec {
    let path = "a".to_owned();
    let configuration = match sink.configuration {
        SinkConfiguration::File { .. } => SinkConfiguration::Segment {
            write_key: millrace_domain::Secret::new(SECRET),
            region: millrace_domain::sink::SegmentRegion::Us,
        },
        _ => SinkConfiguration::File { path },
    };
    SinkSpec { configuration, ..sink.clone() }
}
