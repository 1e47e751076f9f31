//! The events of a request as they are checked, routed and gathered by partition, with the result of each.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use millrace_domain::{
    AccountSid, Mark, Partition, Refusal, RefusalCode,
    event::{ACCOUNT_EXTENSION, CloudEvent},
};
use millrace_proto::internal::ChunkEvent;
use millrace_runtime::telemetry::traces::{self, Span};
use uuid::Uuid;

use self::later::PutOff;
use super::{Outcome, PublishResult};
use crate::{
    metrics,
    route::{Origin, Routed, Unrouted},
    trace,
    validate::Compiled,
};

mod later;

/// The events of a request as they are checked and routed.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(super) origin: Origin<'a>,
    partitions: u16,
    full: Arc<HashSet<AccountSid>>,
    deduplicate: bool,
    pub(super) results: Vec<PublishResult>,
    pub(super) parcels: Vec<Gathered>,
    /// How many events it is made for.
    expected: usize,
    /// The account that was looked at last, and its home: mostly that of the next event too.
    home: Option<(AccountSid, Partition)>,
    /// Results of events that are written twice, to the homes of an account and of its parent, and how many of the writes
    /// said that the event was known.
    pub(super) twice: HashMap<usize, u8>,
    /// What comes from the first event on whose document is not compiled: so all stay in order.
    put_off: Vec<PutOff>,
    /// Those of events that are of traces of their own.
    pub(super) spans: Vec<Span>,
}

/// The events of one partition, and which results are theirs.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) partition: Partition,
    pub(super) events: Vec<(ChunkEvent, Option<Mark>)>,
    pub(super) places: Vec<usize>,
}

impl<'a> Batch<'a> {
    /// Without events, of which as many as `expected` are to come; `full`: accounts that have as much waiting as they may.
    pub(super) fn new(
        origin: Origin<'a>,
        partitions: u16,
        full: Arc<HashSet<AccountSid>>,
        deduplicate: bool,
        expected: usize,
    ) -> Self {
        Self {
            origin,
            partitions,
            full,
            deduplicate,
            results: Vec::with_capacity(expected),
            parcels: Vec::new(),
            expected,
            home: None,
            twice: HashMap::new(),
            put_off: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Takes an event. `account` is whose it says it is, where that is not an extension attribute.
    pub(crate) fn add(&mut self, mut event: CloudEvent<'_>, account: Option<&str>) {
        let given = event.id.clone();
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
            let home = self.home_of(account);
            self.gather(home, (event, marks.then(|| Mark::of(account, given))));
        }
        if let Some((parent, event)) = rolled_up {
            let home = self.home_of(parent);
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
                // Mostly all go to the first.
                let first = self.parcels.is_empty();
                let more = if first { self.expected.saturating_sub(place) } else { 0 };
                let mut events = Vec::with_capacity(more.max(1));
                let mut places = Vec::with_capacity(more.max(1));
                events.push(event);
                places.push(place);
                self.parcels.push(Gathered { partition, events, places });
            }
        }
    }

    fn home_of(&mut self, account: AccountSid) -> Partition {
        match self.home {
            Some((known, home)) if known == account => home,
            _ => {
                let home = Partition::home_of(account, self.partitions);
                self.home = Some((account, home));
                home
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
