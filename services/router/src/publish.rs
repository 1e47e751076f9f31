//! A publish: opened by its headers, gathered event by event, written, and rolled up into a result for each event.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use axum::http::HeaderMap;
use futures::future::join_all;
use millrace_domain::{
    AccountSid, ConfigVersion, Mark, Partition, Refusal, RefusalCode, Timestamp,
    event::{ACCOUNT_EXTENSION, CloudEvent},
};
use millrace_proto::internal::ChunkEvent;
use millrace_runtime::{
    clock,
    telemetry::traces::{self, Span},
};
use millrace_watch::{Configuration, Watch};
use uuid::Uuid;

use crate::{
    auth::{self, Caller},
    intake::Charge,
    metrics,
    room::Room,
    route::{Origin, Routed, Unrouted, is_traceparent},
    status::Problem,
    trace,
    validate::{Compiled, Validators, Wanted},
    writer::{Exceptions, Parcel, Unwritten, Writers},
};

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
    pub(crate) async fn publish(&self, mut batch: Batch<'_>, charge: Charge) -> Vec<PublishResult> {
        if !batch.put_off.is_empty() {
            Box::pin(batch.catch_up()).await;
        }
        // Spans of single events end when what became of them is known.
        let Batch { mut results, parcels, origin, mut twice, spans: _spans, .. } = batch;
        let config_seq = origin.configuration.version().seq;
        let writing = parcels.into_iter().map(|Gathered { partition, events, places }| {
            let parcel = Parcel { events, config_seq, charge: charge.clone() };
            async move { (self.write(partition, parcel).await, places) }
        });
        let writing = join_all(writing);
        // What is written is paid for no more, whatever else is waited for.
        drop(charge);
        for (exceptions, places) in writing.await {
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

    async fn write(&self, partition: Partition, parcel: Parcel) -> Exceptions {
        let all = parcel.events.len();
        let written = self.writers.write(partition, parcel);
        // What waited too long may still be written: the writer has it.
        let written = tokio::time::timeout(self.append_timeout, written).await;
        written.unwrap_or_else(|_| (0..all).map(|index| (index, Unwritten::Unavailable)).collect())
    }

    /// Starts to gather the events of a request. `deduplicate`: those with an id of their own are left out where they are known.
    pub(crate) fn batch<'a>(
        &'a self,
        opened: &'a Opened,
        account_field: &'static str,
        deduplicate: bool,
    ) -> Batch<'a> {
        Batch {
            origin: Origin {
                configuration: &opened.configuration,
                validators: &self.validators,
                caller: opened.caller,
                account_field,
                traceparent: &opened.traceparent,
                now: &opened.now,
            },
            partitions: self.partitions,
            full: self.room.full_accounts(),
            deduplicate,
            results: Vec::new(),
            parcels: Vec::new(),
            twice: HashMap::new(),
            put_off: Vec::new(),
            spans: Vec::new(),
        }
    }
}

/// The events of a request as they are checked and routed.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    origin: Origin<'a>,
    partitions: u16,
    full: Arc<HashSet<AccountSid>>,
    deduplicate: bool,
    results: Vec<PublishResult>,
    parcels: Vec<Gathered>,
    /// Results of events that are written twice, to the homes of an account and of its parent, and how many of the writes
    /// said that the event was known.
    twice: HashMap<usize, u8>,
    /// What comes from the first event on whose document is not compiled: so all stay in order.
    put_off: Vec<PutOff>,
    /// Those of events that are of traces of their own.
    spans: Vec<Span>,
}

/// What was put off.
#[derive(Debug)]
enum PutOff {
    /// An event that has an id, and what is known of it.
    Event { event: Box<CloudEvent<'static>>, of: Of, waits_for: Option<Wanted> },
    /// The refusal of what is no event.
    Refusal(String, Refusal),
}

/// What is known of an event beside itself.
#[derive(Debug)]
struct Of {
    /// The id that it was given by its producer; empty: none.
    given: String,
    /// Whose it says it is.
    account: Option<String>,
}

/// The events of one partition, and which results are theirs.
#[derive(Debug)]
struct Gathered {
    partition: Partition,
    events: Vec<(ChunkEvent, Option<Mark>)>,
    places: Vec<usize>,
}

impl Batch<'_> {
    /// Takes an event. `account` is whose it says it is, where that is not an extension attribute.
    pub(crate) fn add(&mut self, mut event: CloudEvent<'_>, account: Option<&str>) {
        let given = event.id.to_string();
        let extension = event.take_extension(ACCOUNT_EXTENSION);
        let named = match (account, &extension) {
            (Some(account), _) => Some(account),
            // What is no JSON string is no SID either, and refused as such.
            (None, Some(json)) => Some(json.trim_matches('"')),
            (None, None) => None,
        };
        if event.id.is_empty() {
            event.id = Cow::Owned(format!("EZ{:032x}", Uuid::now_v7().as_u128()));
        }
        if self.put_off.is_empty() {
            self.route(event, &given, named, None);
        } else {
            self.put_off(event, &given, named, None);
        }
    }

    /// Routes what was put off, in order, each once its document is compiled.
    async fn catch_up(&mut self) {
        for put_off in std::mem::take(&mut self.put_off) {
            match put_off {
                PutOff::Refusal(id, refusal) => self.reject(id, refusal),
                PutOff::Event { event, of, waits_for } => {
                    self.route_later(*event, &of, waits_for).await;
                }
            }
        }
    }

    async fn route_later(
        &mut self,
        event: CloudEvent<'static>,
        Of { given, account }: &Of,
        waits_for: Option<Wanted>,
    ) {
        let account = account.as_deref();
        let (event, wanted) = match waits_for {
            Some(wanted) => (event, wanted),
            None => {
                self.route(event, given, account, None);
                match self.put_off.pop() {
                    // Of a version that none before it is of.
                    Some(PutOff::Event { event, waits_for: Some(wanted), .. }) => (*event, wanted),
                    _ => return,
                }
            }
        };
        let compiled = self.origin.validators.compile(wanted).await;
        self.route(event, given, account, Some(&compiled));
    }

    fn put_off(
        &mut self,
        event: CloudEvent<'_>,
        given: &str,
        account: Option<&str>,
        waits_for: Option<Wanted>,
    ) {
        let event = Box::new(event.into_owned());
        let of = Of { given: given.to_owned(), account: account.map(str::to_owned) };
        self.put_off.push(PutOff::Event { event, of, waits_for });
    }

    /// Routes an event that has an id; puts it off, if its document is to be compiled first.
    fn route(
        &mut self,
        event: CloudEvent<'_>,
        given: &str,
        named: Option<&str>,
        compiled: Option<&Arc<Compiled>>,
    ) {
        let id = event.id.to_string();
        match self.origin.route(event, named, compiled) {
            Ok(routed) if self.is_full(&routed) => {
                self.reject(id, full(self.origin.account_field, routed.account));
            }
            Ok(routed) => self.take(routed, id, given),
            Err(Unrouted::Refused(refusal)) => self.reject(given.to_owned(), refusal),
            Err(Unrouted::Waits(event, wanted)) => self.put_off(*event, given, named, Some(wanted)),
        }
    }

    fn take(&mut self, mut routed: Routed, id: String, given: &str) {
        if traces::are_on() {
            self.spans.extend(trace::of_event(&mut routed, self.origin.traceparent));
        }
        let Routed { account, sinks, event, rolled_up } = routed;
        // An id of ours is new.
        let marks = self.deduplicate && !given.is_empty();
        if event.is_some() && rolled_up.is_some() {
            self.twice.insert(self.results.len(), 0);
        }
        if let Some(event) = event {
            let home = Partition::home_of(account, self.partitions);
            self.gather(home, (event, marks.then(|| Mark::of(account, given))));
        }
        if let Some((parent, event)) = rolled_up {
            let home = Partition::home_of(parent, self.partitions);
            let mark = marks.then(|| Mark::rolled_up(parent, account, given));
            self.gather(home, (event, mark));
        }
        self.results.push(PublishResult { id, outcome: Outcome::Accepted { sinks } });
    }

    fn reject(&mut self, id: String, refusal: Refusal) {
        self.results.push(PublishResult::rejected(id, refusal));
    }

    /// Whether one of the accounts whose sinks get the event has as much waiting as it may.
    fn is_full(&self, routed: &Routed) -> bool {
        let own = routed.event.as_ref().map(|_| routed.account);
        let parent = routed.rolled_up.as_ref().map(|(parent, _)| *parent);
        own.into_iter().chain(parent).any(|account| self.full.contains(&account))
    }

    /// Takes the refusal of what is no event.
    pub(crate) fn refuse(&mut self, id: String, refusal: Refusal) {
        if self.put_off.is_empty() {
            self.reject(id, refusal);
        } else {
            self.put_off.push(PutOff::Refusal(id, refusal));
        }
    }

    fn gather(&mut self, partition: Partition, event: (ChunkEvent, Option<Mark>)) {
        let place = self.results.len();
        match self.parcels.iter_mut().find(|parcel| parcel.partition == partition) {
            Some(parcel) => {
                parcel.events.push(event);
                parcel.places.push(place);
            }
            None => {
                self.parcels.push(Gathered { partition, events: vec![event], places: vec![place] })
            }
        }
    }
}

/// The refusal of an event whose account has as much waiting as it may.
fn full(field: &str, account: AccountSid) -> Refusal {
    metrics::account_full();
    let message = format!(
        "as many events of account {account} wait for sinks as may: mend or delete the sinks that do not take theirs, and publish the event again later, with the same id"
    );
    Refusal { code: RefusalCode::ResourceExhausted, field: field.to_owned(), message }
}
