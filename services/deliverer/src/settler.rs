//! The settler of a tenure: turns finished chunks into settlements, as many in one as have come.
//!
//! What was delivered is settled at the same instants by all partitions of a process, every 10 ms, so that many chunks cost what one
//! does, and one write to the queue is of many partitions; where the process has little in hand, every 40 ms, which gathers as much as a
//! busy one does in 10; where somebody waits for it, at once. After a crash as much more comes again.
//! What has to be parked is gathered for up to a second, so that parked chunks are worth compressing; but where a lane was too full for it
//! and waits for more now, it is parked at once, to be loaded. A chunk and all its parks are always in one settlement.

use std::{collections::HashSet, mem, sync::Arc, time::Duration};

use millrace_domain::SinkSid;
use millrace_proto::internal::AttemptReports;
use millrace_queue::{Error, ParkedId, Settlement};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use crate::{
    backlog::{self, Backlogs, Gathered, Given},
    ledger::Finished,
    parcel::{Fate, Leftover, Source},
    tenure::Tenure,
};

/// How often what was delivered is settled.
const TURN: Duration = Duration::from_millis(10);
/// How often where that is little: a multiple of [`TURN`], so that the turns of both are the same.
const LONG_TURN: Duration = Duration::from_millis(40);
/// Most finished chunks in one settlement: what a script does without holding up the queue.
const SETTLE_MAX_CHUNKS: usize = 256;
/// Bytes of events that one settlement parks or reports: a script must be short, and its answer come in time.
const SETTLE_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Tries of a settlement that the queue refuses for good, before its partition is given up.
const REFUSALS_MAX: u32 = 10;
/// Parked bytes from which on there is no more gathering.
const GATHER_MAX_BYTES: usize = 512 * 1024;

/// Settles until the tenure is drained or aborted.
pub(crate) async fn run(tenure: Arc<Tenure>, backlogs: Backlogs) {
    let mut settler = Settler {
        tenure,
        backlogs,
        parking: Vec::new(),
        parking_for: HashSet::new(),
        dirty: HashSet::new(),
        flush_at: None,
    };
    let aborted = settler.tenure.aborted.clone();
    // Cancelled between two settlements or inside one: what was not settled is found by the next owner.
    aborted.run_until_cancelled(settler.settle_all()).await;
}

struct Settler {
    tenure: Arc<Tenure>,
    backlogs: Backlogs,
    /// Finished chunks that wait for others to be parked with.
    parking: Vec<Finished>,
    /// Sinks that those of `ready` are parked for. What was parked before never hurries: it would be loaded and parked again.
    parking_for: HashSet<SinkSid>,
    dirty: HashSet<SinkSid>,
    flush_at: Option<Instant>,
}

impl Settler {
    async fn settle_all(&mut self) {
        loop {
            self.wait().await;
            self.linger().await;
            let (parking, plain): (Vec<_>, Vec<_>) = self
                .tenure
                .ledger
                .take()
                .into_iter()
                .partition(|chunk| !chunk.leftovers.is_empty() && !chunk.untouched);
            self.parking_for.extend(parking.iter().flat_map(new_in_backlog));
            self.parking.extend(parking);
            self.dirty.extend(self.tenure.take_dirty());
            if self.flush_at.is_none() && self.has_gathered() {
                self.flush_at = Some(Instant::now() + self.tenure.cx.delivery.gather);
            }
            // How sinks are goes along with what is settled.
            let along = !plain.is_empty();
            self.settle(plain, along).await;
            if self.must_flush() {
                let parking = mem::take(&mut self.parking);
                self.parking_for.clear();
                self.settle(parking, true).await;
            } else {
                let wanted = self.take_wanted();
                self.settle(wanted, false).await;
            }
            if !self.has_gathered() {
                self.flush_at = None;
            }
            if self.tenure.take_trust() {
                self.put(&Settlement { trusted: true, ..Settlement::default() }).await;
            }
            if self.tenure.is_drained() {
                return;
            }
        }
    }

    /// Waits for work, at most until what is gathered has to go.
    async fn wait(&self) {
        let changed = self.tenure.ledger.changed();
        match self.flush_at {
            Some(at) => drop(timeout_at(at, changed).await),
            None => changed.await,
        }
    }

    /// Has what is finished wait for its turn, while nobody waits for it.
    async fn linger(&self) {
        let Tenure { ledger, cx, .. } = &*self.tenure;
        if self.must_flush() {
            return;
        }
        let mut turn = next_turn(cx.began, Instant::now(), LONG_TURN);
        while self.may_linger() {
            let now = Instant::now();
            if now >= turn {
                return;
            }
            if !cx.unsettled.is_little() {
                turn = turn.min(next_turn(cx.began, now, TURN));
            }
            if timeout_at(turn, ledger.changed()).await.is_err() {
                return;
            }
        }
    }

    fn may_linger(&self) -> bool {
        let Tenure { ledger, cx, stopping, .. } = &*self.tenure;
        let is_hungry = || !self.tenure.hungry_among(&self.parking_for).is_empty();
        !stopping.is_cancelled()
            && cx.unsettled.has_room()
            && ledger.may_linger()
            && (self.parking_for.is_empty() || !is_hungry())
    }

    fn must_flush(&self) -> bool {
        let bytes: usize = self.parking.iter().map(leftover_bytes).sum();
        self.tenure.stopping.is_cancelled()
            || bytes >= GATHER_MAX_BYTES
            || self.parking.iter().any(|chunk| chunk.share.is_waited_for())
            || self.flush_at.is_some_and(|at| at <= Instant::now())
    }

    /// Takes of what is gathered what lanes wait for; the rest, of sinks that are down, is still worth gathering.
    fn take_wanted(&mut self) -> Vec<Finished> {
        let hungry = self.tenure.hungry_among(&self.parking_for);
        if hungry.is_empty() {
            return Vec::new();
        }
        self.parking_for.retain(|sink| !hungry.contains(sink));
        let wanted =
            |chunk: &mut Finished| new_in_backlog(chunk).any(|sink| hungry.contains(&sink));
        self.parking.extract_if(.., wanted).collect()
    }

    fn has_gathered(&self) -> bool {
        !self.parking.is_empty() || !self.dirty.is_empty()
    }

    async fn settle(&mut self, mut finished: Vec<Finished>, with_dirty: bool) {
        let mut dirty = if with_dirty { mem::take(&mut self.dirty) } else { HashSet::new() };
        while !finished.is_empty() || !dirty.is_empty() {
            let rest = finished.split_off(fitting(&finished));
            self.settle_one(finished, &mem::take(&mut dirty)).await;
            finished = rest;
        }
    }

    /// Settles in one call, repeated until it is known to be in place.
    async fn settle_one(&mut self, mut finished: Vec<Finished>, dirty: &HashSet<SinkSid>) {
        let cx = Arc::clone(&self.tenure.cx);
        // Held until it is parked: what only settles takes none.
        let room = cx.parking.take(finished.iter().map(leftover_bytes).sum()).await;
        let (breakers, emptied) = (self.tenure.breakers(), self.tenure.take_emptied());
        let given = Given {
            now: cx.clock.now(),
            breakers: &breakers,
            emptied: &emptied,
            new_id: &mut || ParkedId(Uuid::now_v7()),
        };
        let Gathered { mut settlement, parked, closed } =
            self.backlogs.gather(&mut finished, dirty, given);
        for (sink, state) in &settlement.backlogs {
            self.tenure.parked.note(*sink, state.as_ref());
        }
        settlement.attempts = AttemptReports { attempts: self.tenure.take_reports() };
        settlement.drops.sinks = self.tenure.take_turns();
        if !backlog::is_empty(&settlement) {
            self.put(&settlement).await;
            self.tenure.tally.settled(&settlement, cx.clock.now());
        }
        drop((settlement, room));
        self.tenure.cursor.settled(finished.iter().filter_map(|chunk| match chunk.source {
            Source::Ready(id) => Some(id),
            Source::Parked { .. } => None,
        }));
        self.tenure.ledger.settled(finished.len());
        self.tenure.tell_lanes(parked, closed);
    }

    /// Repeats a settlement until it is in place. Gives the partition up where it is another's, or where the queue refuses for good.
    async fn put(&self, settlement: &Settlement) {
        let Tenure { partition, token, cx, .. } = &*self.tenure;
        let (mut pause, mut told, mut refusals) = (Duration::from_millis(20), false, 0);
        loop {
            let error = match cx.queue.settle(*partition, *token, settlement).await {
                Ok(_) => return,
                Err(Error::Stale) => return self.lost("another deliverer owns it").await,
                Err(error) => error,
            };
            if !mem::replace(&mut told, true) {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(partition = partition.0, error, "cannot settle, will try again");
            }
            refusals += u32::from(matches!(error, Error::Refused(_) | Error::Corrupt { .. }));
            if refusals >= REFUSALS_MAX {
                return self.lost("the queue refuses to settle it").await;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Stops everything of this tenure, and never returns: the next owner finds what is not settled.
    async fn lost(&self, why: &str) {
        tracing::warn!(partition = self.tenure.partition.0, "stops serving a partition: {why}");
        self.tenure.abort();
        std::future::pending().await
    }
}

/// When it is the next turn to settle, one each `every`, of all partitions of a process that `began` then.
fn next_turn(began: Instant, now: Instant, every: Duration) -> Instant {
    let past = now.duration_since(began).as_nanos() % every.as_nanos();
    now + every - Duration::from_nanos(u64::try_from(past).unwrap_or(0))
}

/// How many of the first chunks go into one settlement; at least one.
fn fitting(finished: &[Finished]) -> usize {
    let mut bytes = 0;
    let within = finished.iter().take(SETTLE_MAX_CHUNKS).take_while(|chunk| {
        bytes += leftover_bytes(chunk);
        bytes <= SETTLE_MAX_BYTES
    });
    within.count().max(1).min(finished.len())
}

/// Sinks that a chunk of `ready` adds to the backlogs of.
fn new_in_backlog(chunk: &Finished) -> impl Iterator<Item = SinkSid> {
    let is_new = matches!(chunk.source, Source::Ready(_));
    let waits = move |left: &&Leftover| is_new && matches!(left.fate, Fate::Backlog);
    chunk.leftovers.iter().filter(waits).map(|left| left.sink)
}

fn leftover_bytes(chunk: &Finished) -> usize {
    chunk.leftovers.iter().map(|left| left.event.variants[left.variant].event.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_the_same_for_all() {
        let began = Instant::now();
        let turn_at =
            |micros, every| next_turn(began, began + Duration::from_micros(micros), every) - began;
        assert_eq!(turn_at(0, TURN), TURN);
        assert_eq!(turn_at(9_999, TURN), TURN);
        assert_eq!(turn_at(10_000, TURN), 2 * TURN);
        assert_eq!(turn_at(3_600_000_001, TURN), Duration::from_secs(3_600) + TURN);
        assert_eq!(turn_at(30_001, TURN), turn_at(30_001, LONG_TURN));
    }
}
