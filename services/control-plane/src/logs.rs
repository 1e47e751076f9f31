//! What became of events: what the operations on logs do, and how dropped events are sent again.

use std::{sync::Arc, time::Duration};

use millrace_domain::{AccountSid, Mark, Partition, SinkSid, Timestamp};
use millrace_proto::internal::{Chunk, ChunkEvent, Variant};
use millrace_queue::{
    Queue,
    chunk::{self, CHUNK_MAX_BYTES, CHUNK_MAX_EVENTS},
};
use millrace_runtime::Tasks;
use millrace_store::{
    LogStore, Page, ResourceStore,
    audit::Deed,
    logs::{AttemptEntry, DropEntry, ErrorEntry, LogId, LogQuery},
};
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    auth::Caller,
    queue::QueueHandle,
    random,
    status::{About, Failure, Kind, code, unavailable},
};

pub(crate) mod codes;

/// Most events that one call sends again.
pub(crate) const RESEND_MAX: u32 = 1_000;
/// Most bytes of events that one call sends again, but for one event alone.
const RESEND_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// How long an event that is sent again is known by the queue: longer than it takes to note that in the log.
const MARKED_FOR: Duration = Duration::from_secs(15 * 60);
/// How much earlier than its time an event may have been delivered, by clocks that differ.
const EARLIER: Duration = Duration::from_secs(600);
/// How much later: the longest window and a day.
const LATER: Duration = Duration::from_secs(8 * 24 * 3600);
/// How far back an event is looked for whose time nobody tells.
const LOOKED_BACK_MS: i64 = 24 * 3600 * 1000;

/// The operations on logs.
#[derive(Clone)]
pub(crate) struct Logs {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) queue: QueueHandle,
    /// What must be ended once it has begun.
    pub(crate) tasks: Tasks,
    /// P.
    pub(crate) partitions: u16,
    /// Above which fill of the queue nothing is sent again.
    pub(crate) high_water_percent: u8,
}

/// Which dropped events to send again.
pub(crate) struct Resend {
    /// Whose, which sink's, and which of them.
    pub(crate) query: LogQuery,
    /// To another sink of the account.
    pub(crate) to: Option<SinkSid>,
    pub(crate) page: Page<LogId>,
}

/// Whose drops are sent, from which sink to which, and whether those that were sent before are, too.
#[derive(Clone, Copy)]
struct Way {
    account: AccountSid,
    from: SinkSid,
    to: SinkSid,
    again: bool,
}

/// What was sent again.
#[derive(Debug)]
pub(crate) struct Resent {
    pub(crate) count: u32,
    /// Where the next ones start.
    pub(crate) next: Option<LogId>,
}

impl Logs {
    /// Whose logs a request is about: the caller's, the named account's, or for a platform key that names none, the sink's.
    pub(crate) async fn account(
        &self,
        caller: Caller,
        named: Option<AccountSid>,
        sink: Option<SinkSid>,
    ) -> Result<AccountSid, Failure> {
        match (caller, named, sink) {
            (Caller::Platform, None, Some(sink)) => {
                Ok(self.store.sink_of_any(sink).await.map_err(of_sink)?.account)
            }
            _ => caller.account("account_sid", named),
        }
    }

    /// Lists requests, newest first.
    pub(crate) async fn attempts(
        &self,
        query: &LogQuery,
        page: &Page<LogId>,
    ) -> Result<Vec<AttemptEntry>, Failure> {
        if query.sink.is_none() && query.event_id.is_none() {
            let message = "is required, or else `event_id`";
            return Err(Failure::invalid(code::BAD_REQUEST, "sink_sid", message));
        }
        let found = self.logs.attempts(query, page).await.map_err(of_store)?;
        self.must_be_known(query, found.is_empty()).await?;
        Ok(found)
    }

    /// Lists problems, newest first.
    pub(crate) async fn errors(
        &self,
        query: &LogQuery,
        page: &Page<LogId>,
    ) -> Result<Vec<ErrorEntry>, Failure> {
        let found = self.logs.errors(query, page).await.map_err(of_store)?;
        self.must_be_known(query, found.is_empty()).await?;
        Ok(found)
    }

    /// Lists drops of a sink, newest first.
    pub(crate) async fn drops(
        &self,
        query: &LogQuery,
        page: &Page<LogId>,
    ) -> Result<Vec<DropEntry>, Failure> {
        let found = self.logs.drops(query, page).await.map_err(of_store)?;
        self.must_be_known(query, found.is_empty()).await?;
        Ok(found)
    }

    /// An empty list of a sink that does not exist is an error; logs of a deleted sink are still there to be read.
    async fn must_be_known(&self, query: &LogQuery, empty: bool) -> Result<(), Failure> {
        match query.sink.filter(|_| empty) {
            Some(sink) => self.store.sink(query.account, sink).await.map(drop).map_err(of_sink),
            None => Ok(()),
        }
    }

    /// Sends a part and notes that, to the end even if who asked goes away: else a later call would send it once more. Tells how
    /// many events were sent.
    async fn send(
        &self,
        queue: &Arc<dyn Queue>,
        Way { account, from, to, again }: Way,
        part: &[DropEntry],
    ) -> Result<usize, Failure> {
        let events = part.iter().map(|entry| chunk_event(entry, to)).collect();
        let chunk = Chunk { events, ..Chunk::default() };
        let ids: Vec<_> = part.iter().map(|entry| entry.id).collect();
        let home = Partition::home_of(account, self.partitions);
        let (queue, logs) = (Arc::clone(queue), Arc::clone(&self.logs));
        let (done, ended) = oneshot::channel();
        self.tasks.spawn("send-dropped-events-again", |_| async move {
            let sent = async {
                let sent = if again {
                    queue.append(home, chunk::encode(&chunk)).await.map(|_| ids.len())
                } else {
                    // Another call may be sending the same ones.
                    let marks: Vec<_> = ids.iter().map(|id| mark(account, *id, to)).collect();
                    let chunk = chunk::encode_marked(&chunk, &marks);
                    let known = queue.append_new(home, chunk, MARKED_FOR).await;
                    known.map(|known| ids.len() - known.len())
                };
                let sent = sent.map_err(of_queue)?;
                metrics::counter!("millrace_resent_events_total").increment(sent as u64);
                let marked = logs.mark_resent(account, from, &ids, random::now()).await;
                marked.map_err(of_store).map(|()| sent)
            };
            // Nobody hears it who went away.
            drop(done.send(sent.await));
            Ok(())
        });
        ended.await.unwrap_or_else(|_| Err(unavailable()))
    }

    /// What is sent again waits for room as what is published does.
    async fn must_have_room(&self, queue: &dyn Queue, account: AccountSid) -> Result<(), Failure> {
        let asked = tokio::try_join!(queue.pressure(), queue.full_accounts());
        let (pressure, full) = asked.map_err(of_queue)?;
        if pressure.is_over(self.high_water_percent) || full.contains(&account) {
            return Err(no_room());
        }
        Ok(())
    }

    /// Writes down what is about to be sent again: nothing is sent that is not written.
    async fn note(
        &self,
        query: &LogQuery,
        to: SinkSid,
        events: &[DropEntry],
    ) -> Result<(), Failure> {
        let Some(first) = events.first() else { return Ok(()) };
        let deed = Deed {
            action: "resend",
            kind: "dropped_events",
            key: first.sink.to_string(),
            account: Some(query.account),
            detail: json!({
                "to_sink": to,
                "events": events.len(),
                "first_event_id": first.event_id,
                "event_id": query.event_id,
            }),
        };
        self.store.audit(&[deed]).await.map_err(of_store)
    }

    /// Sends some dropped events again: they are accepted anew, under their ids, each once, whoever else sends them. One whose
    /// being sent is not noted, for the database went away meanwhile, may be sent once more after [`MARKED_FOR`].
    pub(crate) async fn resend(&self, resend: Resend) -> Result<Resent, Failure> {
        let Resend { query, to, page } = resend;
        let from = query
            .sink
            .ok_or_else(|| Failure::invalid(code::BAD_REQUEST, "sink_sid", "is required"))?;
        let to = to.unwrap_or(from);
        self.store.sink(query.account, to).await.map_err(of_sink)?;
        let queue = self.queue.get()?;
        self.must_have_room(&*queue, query.account).await?;
        let found = self.logs.kept_drops(&query, &page, RESEND_MAX_BYTES).await;
        let found = found.map_err(of_store)?;
        if found.is_empty() && page.after.is_none() {
            // It may have nothing left to send again.
            let any = LogQuery { sink: Some(from), ..LogQuery::of(query.account) };
            self.drops(&any, &Page { after: None, limit: 1 }).await?;
        }
        self.note(&query, to, &found).await?;
        // Who asks for what was sent already gets it.
        let way = Way { account: query.account, from, to, again: query.resent.is_none() };
        let mut sent = 0;
        for part in chunks(&found) {
            sent += self.send(&queue, way, part).await?;
        }
        let count = u32::try_from(sent).unwrap_or(u32::MAX);
        Ok(Resent { count, next: found.last().map(|entry| entry.id) })
    }
}

/// Reads an id of an event: without control characters, of which the database refuses one.
pub(crate) fn event_id(field: &str, text: &str) -> Result<String, Failure> {
    if text.contains(char::is_control) {
        let message = "must not have control characters";
        return Err(Failure::invalid(code::BAD_REQUEST, field, message));
    }
    Ok(text.to_owned())
}

/// When an event may have been attempted: around its time, that in its id or else `at`.
pub(crate) fn around(
    event_id: &str,
    at: Option<Timestamp>,
    now: Timestamp,
) -> (Timestamp, Option<Timestamp>) {
    let Some(at) = at.or_else(|| time_of(event_id)) else {
        return (Timestamp::from_millis(now.as_millis().saturating_sub(LOOKED_BACK_MS)), None);
    };
    let earlier = i64::try_from(EARLIER.as_millis()).unwrap_or(0);
    (Timestamp::from_millis(at.as_millis().saturating_sub(earlier)), Some(at.plus(LATER)))
}

/// The time in an id that the router gave: `EZ` and a UUIDv7.
pub(crate) fn time_of(event_id: &str) -> Option<Timestamp> {
    let hex = event_id.strip_prefix("EZ").filter(|hex| hex.len() == 32)?;
    let uuid = Uuid::try_parse(hex).ok().filter(|uuid| uuid.get_version_num() == 7)?;
    Some(Timestamp::from_millis(i64::try_from(uuid.as_u128() >> 80).ok()?))
}

/// Cuts drops into parts that fit a chunk each.
fn chunks(drops: &[DropEntry]) -> Vec<&[DropEntry]> {
    let mut parts = Vec::new();
    let mut rest = drops;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take(CHUNK_MAX_EVENTS).take_while(|entry| {
            bytes += entry.event.as_ref().map_or(0, bytes::Bytes::len);
            bytes <= CHUNK_MAX_BYTES
        });
        let (part, others) = rest.split_at(fitting.count().max(1));
        parts.push(part);
        rest = others;
    }
    parts
}

fn chunk_event(entry: &DropEntry, to: SinkSid) -> ChunkEvent {
    ChunkEvent {
        id: entry.event_id.clone(),
        account: chunk::account_bytes(entry.account),
        r#type: entry.event_type.clone(),
        variants: vec![Variant {
            schema_version: entry.schema_version,
            event: entry.event.clone().unwrap_or_default(),
            sinks: chunk::sink_bytes(to),
        }],
        ..ChunkEvent::default()
    }
}

/// What a drop is known by that is sent to a sink.
fn mark(account: AccountSid, drop: LogId, to: SinkSid) -> Mark {
    Mark::of(account, &format!("{drop} is sent to {to}"))
}

fn no_room() -> Failure {
    let message = "the queue has no room for it now: send again later";
    Failure::new(Kind::NoRoom, code::NO_ROOM, message)
}

fn of_queue(error: millrace_queue::Error) -> Failure {
    if matches!(error, millrace_queue::Error::Full) {
        return no_room();
    }
    tracing::warn!(%error, "cannot send dropped events again");
    unavailable()
}

fn of_store(error: millrace_store::Error) -> Failure {
    Failure::of_store(error, About::Account)
}

fn of_sink(error: millrace_store::Error) -> Failure {
    Failure::of_store(error, About::Sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_looked_for_around_the_time_in_its_id() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let tail = [7; 10];
        let id = uuid::Builder::from_unix_timestamp_millis(1_700_000_000_000, &tail).into_uuid();
        let (since, until) = around(&format!("EZ{}", id.as_simple()), None, now);
        assert_eq!(since.as_millis(), 1_700_000_000_000 - 600_000);
        assert_eq!(until, Some(Timestamp::from_millis(1_700_000_000_000).plus(LATER)));
        let (since, until) = around("order-17", Some(Timestamp::from_millis(5_000_000)), now);
        assert_eq!((since.as_millis(), until.is_some()), (4_400_000, true));
        assert_eq!(around("order-17", None, now).1, None);
        let first = Timestamp::from_millis(i64::MIN);
        assert_eq!(around("order-17", Some(first), now).0, first, "no time is too early");
    }
}
