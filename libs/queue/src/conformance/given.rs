//! What the cases are made of.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use millrace_domain::{Partition, SinkSid, Timestamp};
use millrace_proto::internal::{
    AttemptReport, AttemptReports, BacklogState, DropReport, DropReports,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::PARTITIONS;
use crate::{
    Class, Entry, EntryId, Ownership, Park, ParkedChunk, ParkedId, ParkedQuery, Place, Quarantined,
    Queue, Settlement, Token,
};

/// A lease that no case outlives.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// Longest time for what must happen soon.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// The partition that most cases are about.
pub(super) const HOME: Partition = Partition(1);
/// The end of time.
pub(super) const EVER: Timestamp = Timestamp::from_millis(9_000_000_000_000);

/// A new token.
pub(super) fn token() -> Token {
    Token(Uuid::now_v7())
}

/// A sink.
pub(super) fn sink(n: u128) -> SinkSid {
    SinkSid::from_u128(n)
}

/// All partitions.
pub(super) fn all() -> Vec<Partition> {
    (0..PARTITIONS).map(Partition).collect()
}

/// A token that holds `HOME`.
pub(super) async fn owner(queue: &dyn Queue) -> Token {
    let token = token();
    let held = queue.acquire(&[HOME], token, LONG).await.expect("acquire");
    assert_eq!(held, [Ownership::Held], "nobody held it");
    token
}

/// Takes `HOME` over as soon as its lease ends.
pub(super) async fn successor(queue: &dyn Queue) -> Token {
    let token = token();
    until("the lease ends", || async {
        queue.acquire(&[HOME], token, LONG).await.expect("acquire") == [Ownership::Held]
    })
    .await;
    token
}

/// Waits until `holds`, and fails the case where it does not soon.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Appends a text to `HOME`.
pub(super) async fn append(queue: &dyn Queue, text: &str) -> EntryId {
    queue.append(HOME, Bytes::copy_from_slice(text.as_bytes())).await.expect("append")
}

/// Everything that stands in `ready` of a partition.
pub(super) async fn standing(queue: &dyn Queue, partition: Partition) -> Vec<Entry> {
    let (mut all, mut after) = (Vec::new(), EntryId::default());
    loop {
        let found = queue.read(&[(partition, after)], Duration::ZERO).await.expect("read");
        let Some((_, last)) = found.last() else { return all };
        after = last.id;
        all.extend(found.into_iter().map(|(_, entry)| entry));
    }
}

/// A chunk to park for `sink`, which expires at the end of time.
pub(super) fn park(sink: SinkSid, class: Class, at: i64, text: &str) -> Park {
    Park {
        sink,
        id: ParkedId(Uuid::now_v7()),
        class,
        at: Timestamp::from_millis(at),
        expires: EVER,
        chunk: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// A settlement that parks.
pub(super) fn parking(parks: impl IntoIterator<Item = Park>) -> Settlement {
    Settlement { parks: parks.into_iter().collect(), ..Settlement::default() }
}

/// A settlement of entries.
pub(super) fn settling(entries: impl IntoIterator<Item = EntryId>) -> Settlement {
    Settlement { entries: entries.into_iter().collect(), ..Settlement::default() }
}

/// A settlement of parked chunks.
pub(super) fn unparking<'a>(parks: impl IntoIterator<Item = &'a Park>) -> Settlement {
    let unparked = parks.into_iter().map(|park| (park.sink, park.class, park.id)).collect();
    Settlement { unparked, ..Settlement::default() }
}

/// All that is parked for a sink.
pub(super) async fn parked(queue: &dyn Queue, sink: SinkSid, class: Class) -> Vec<ParkedChunk> {
    let query = ParkedQuery { until: EVER, limit: 1_000, skip: &[] };
    queue.parked(HOME, sink, class, query).await.expect("parked")
}

/// The texts of what is parked for a sink.
pub(super) async fn parked_texts(queue: &dyn Queue, sink: SinkSid, class: Class) -> Vec<String> {
    let text = |chunk: ParkedChunk| {
        let bytes = chunk.chunk.expect("it has not expired");
        String::from_utf8(bytes.to_vec()).expect("a text was parked")
    };
    parked(queue, sink, class).await.into_iter().map(text).collect()
}

/// A state.
pub(super) fn state(failures: u32) -> BacklogState {
    BacklogState { failures, events: 7, ..BacklogState::default() }
}

/// One report of an attempt.
pub(super) fn attempt(detail: impl Into<String>) -> AttemptReports {
    let report = AttemptReport { detail: detail.into(), ..AttemptReport::default() };
    AttemptReports { attempts: vec![report] }
}

/// One report of a drop.
pub(super) fn drop_of(event_id: impl Into<String>) -> DropReports {
    let report = DropReport { event_id: event_id.into(), ..DropReport::default() };
    DropReports { drops: vec![report], ..DropReports::default() }
}

/// All that `HOME` holds and that can be seen without changing it.
#[derive(Debug, PartialEq)]
pub(super) struct Snapshot {
    pub(super) ready: Vec<(EntryId, Bytes)>,
    pub(super) backlogs: Vec<(SinkSid, BacklogState)>,
    pub(super) parked: Vec<(SinkSid, Class, ParkedId, Timestamp, Option<Bytes>)>,
    pub(super) quarantined: Vec<(Place, String, Bytes)>,
}

/// All that is in quarantine of a partition, with its bytes.
pub(super) async fn quarantined(
    queue: &dyn Queue,
    partition: Partition,
) -> Vec<(Place, String, Bytes)> {
    let mut found = Vec::new();
    for Quarantined { place, reason, .. } in queue.quarantined(partition).await.expect("list") {
        let chunk = queue.quarantined_chunk(partition, place).await.expect("show");
        found.push((place, reason, chunk.expect("it is listed")));
    }
    found
}

/// Looks at `HOME`, and at what is parked for `sinks`.
pub(super) async fn snapshot(queue: &dyn Queue, sinks: &[SinkSid]) -> Snapshot {
    let ready = standing(queue, HOME).await.into_iter().map(|entry| (entry.id, entry.chunk));
    let mut backlogs = queue.backlogs(HOME).await.expect("backlogs");
    backlogs.sort_by_key(|(sink, _)| *sink);
    let mut all_parked = Vec::new();
    for sink in sinks {
        for class in [Class::Backlog, Class::Delayed] {
            let found = parked(queue, *sink, class).await;
            all_parked.extend(found.into_iter().map(|c| (*sink, class, c.id, c.at, c.chunk)));
        }
    }
    Snapshot {
        ready: ready.collect(),
        backlogs,
        parked: all_parked,
        quarantined: quarantined(queue, HOME).await,
    }
}
