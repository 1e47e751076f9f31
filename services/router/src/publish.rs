//! A publish: opened by its headers, gathered event by event, written, and rolled up into a result for each event.

use std::{sync::Arc, time::Duration};

use axum::http::HeaderMap;
use futures::future::join_all;
use millrace_domain::{ConfigVersion, Refusal, Timestamp};
use millrace_runtime::{clock, telemetry::traces::Span};
use millrace_watch::{Configuration, Watch};
use tokio::time::{Instant, timeout_at};

use crate::{
    auth::{self, Caller},
    intake::Charge,
    room::Room,
    route::{Origin, is_traceparent},
    status::Problem,
    trace,
    validate::Validators,
    writer::{Exceptions, Parcel, Unwritten, Writers},
};

mod batch;

pub(crate) use self::batch::Batch;
use self::batch::Gathered;

/// Most events of a publish.
pub(crate) const EVENTS_MAX: usize = 10_000;
/// Most bytes of a publish (1 MB = 1,048,576 bytes).
pub(crate) const PUBLISH_MAX_BYTES: usize = 4 * 1024 * 1024;
/// How long a publish waits for the version of the configuration that it asks for.
const VERSION_WAIT: Duration = Duration::from_secs(1);
/// The header by which a publish asks for a configuration at least as new as a mutation's answer said.
const VERSION_HEADER: &str = "millrace-config-version";

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishResult {
    /// Its id; empty where it was refused before it had one.
    pub(crate) id: String,
    /// Accepted or not.
    pub(crate) outcome: Outcome,
}

impl PublishResult {
    /// The result of an event that is not kept.
    pub(crate) fn rejected(id: String, refusal: Refusal) -> Self {
        Self { id, outcome: Outcome::Rejected(refusal) }
    }
}

/// Whether an event is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the queue, for so many sinks; with none, there was nothing to keep.
    Accepted {
        /// How many sinks get it.
        sinks: u32,
    },
    /// One of its account and id is in the queue, or was.
    Duplicate,
    /// It is not.
    Rejected(Refusal),
}

/// Accepts events; what both faces share.
#[derive(Debug)]
pub(crate) struct Publisher {
    watch: Watch,
    writers: Writers,
    room: Room,
    validators: Arc<Validators>,
    partitions: u16,
    append_timeout: Duration,
}

/// What a request's headers say, in order or not.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    authorization: Option<String>,
    traceparent: String,
}

/// A request whose headers are in order.
#[derive(Debug)]
pub(crate) struct Opened {
    configuration: Arc<Configuration>,
    caller: Caller,
    /// What its events are traced by, unless they say otherwise.
    traceparent: String,
    now: String,
    /// Recorded, if its trace is sampled.
    span: Option<Span>,
}

impl Opened {
    /// Begins the span of the request, on the face where it came in: what is refused before has none.
    pub(crate) fn trace(&mut self, face: &trace::Face) {
        self.span = trace::begin(face, &self.traceparent);
        if let Some(span) = &self.span {
            self.traceparent = span.traceparent();
        }
    }

    /// Makes what is logged on this thread part of the request's trace, until that is dropped.
    pub(crate) fn enter(&self) -> Option<impl Drop + use<>> {
        self.span.as_ref().map(Span::enter)
    }

    /// The span of the request, if it is recorded.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }
}

impl Publisher {
    pub(crate) fn new(
        watch: Watch,
        writers: Writers,
        room: Room,
        partitions: u16,
        append_timeout: Duration,
    ) -> Self {
        let validators = Arc::new(Validators::default());
        Self { watch, writers, room, validators, partitions, append_timeout }
    }

    /// The configuration it goes by.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Looks at a request's headers (gRPC: metadata): which configuration, whose credentials, which trace; and whether there
    /// is room at all.
    pub(crate) async fn open(&self, headers: &HeaderMap) -> Result<Opened, Problem> {
        let opened = self.authorize(&self.credentials(headers).await?)?;
        self.room.check()?;
        Ok(opened)
    }

    /// Reads a request's headers, and waits for the configuration they ask for.
    pub(crate) async fn credentials(&self, headers: &HeaderMap) -> Result<Credentials, Problem> {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if let Some(asked) = header(VERSION_HEADER) {
            let version = asked.parse::<ConfigVersion>().map_err(|error| {
                Problem::Refused(Refusal::invalid(VERSION_HEADER, error.to_string()))
            })?;
            if !self.watch.reached(version, VERSION_WAIT).await {
                return Err(Problem::Unavailable(format!(
                    "this router does not have configuration version {version} yet; try again"
                )));
            }
        }
        let traceparent = header("traceparent").filter(|text| is_traceparent(text));
        Ok(Credentials {
            authorization: header("authorization").map(str::to_owned),
            traceparent: traceparent.unwrap_or_default().to_owned(),
        })
    }

    /// Tells whose credentials they are, by the configuration as it is now.
    pub(crate) fn authorize(&self, credentials: &Credentials) -> Result<Opened, Problem> {
        let configuration = self.watch.current().ok_or_else(|| {
            Problem::Unavailable("this router has no configuration yet; try again".to_owned())
        })?;
        let caller = auth::caller(&configuration, credentials.authorization.as_deref())?;
        let now = Timestamp::from_millis(clock::now_millis()).to_rfc3339_millis();
        let traceparent = credentials.traceparent.clone();
        Ok(Opened { configuration, caller, traceparent, now, span: None })
    }

    /// Whether the queue has room.
    pub(crate) fn check_room(&self) -> Result<(), Problem> {
        self.room.check()
    }

    /// Writes what was gathered, and tells what became of each event, in order.
    pub(crate) async fn publish(&self, batch: Batch<'_>, charge: Charge) -> Vec<PublishResult> {
        self.publish_in_turn(batch, charge, ()).await
    }

    /// The same; `turn` is dropped once all events are handed over to the writers.
    pub(crate) async fn publish_in_turn<T>(
        &self,
        mut batch: Batch<'_>,
        charge: Charge,
        turn: T,
    ) -> Vec<PublishResult> {
        batch.catch_up().await;
        // Spans of single events end when what became of them is known.
        let Batch { mut results, parcels, origin, mut twice, spans: _spans, .. } = batch;
        let config_seq = origin.configuration.version().seq;
        let deadline = Instant::now() + self.append_timeout;
        let handing = parcels.into_iter().map(|Gathered { partition, events, places }| {
            let parcel = Parcel { events, config_seq, charge: charge.clone() };
            let handed = timeout_at(deadline, self.writers.hand_over(partition, parcel));
            async move { (handed.await.ok(), places) }
        });
        let handed = join_all(handing).await;
        drop(turn);
        // What is written is paid for no more, whatever else is waited for.
        drop(charge);
        let written = handed.into_iter().map(|(answer, places)| async move {
            // What waited too long may still be written: the writer has it.
            let answer = match answer {
                Some(answer) => timeout_at(deadline, answer).await.ok().and_then(Result::ok),
                None => None,
            };
            (answer.unwrap_or_else(|| unavailable(places.len())), places)
        });
        for (exceptions, places) in join_all(written).await {
            for (index, unwritten) in exceptions {
                let place = places[index];
                if unwritten == Unwritten::Known
                    && let Some(known) = twice.get_mut(&place)
                {
                    *known += 1;
                    // New to one home: accepted, whatever the other one knew.
                    if *known < 2 {
                        continue;
                    }
                }
                // What failed stays failed: a duplicate of it is no news.
                if !matches!(results[place].outcome, Outcome::Rejected(_)) {
                    results[place].outcome = unwritten.into();
                }
            }
        }
        results
    }

    /// Starts to gather the events of a request, as many as `expected`. `deduplicate`: those with an id of their own are left out where they
    /// are known.
    pub(crate) fn batch<'a>(
        &'a self,
        opened: &'a Opened,
        account_field: &'static str,
        deduplicate: bool,
        expected: usize,
    ) -> Batch<'a> {
        let origin = Origin {
            configuration: &opened.configuration,
            validators: &self.validators,
            caller: opened.caller,
            account_field,
            traceparent: &opened.traceparent,
            now: &opened.now,
        };
        Batch::new(origin, self.partitions, self.room.full_accounts(), deduplicate, expected)
    }
}

/// Nothing of a parcel is known to be written.
fn unavailable(events: usize) -> Exceptions {
    (0..events).map(|index| (index, Unwritten::Unavailable)).collect()
}
