//! Shares one read between partitions: every partition gets its part, and what some leave goes to those that
//! have more. Bounded in chunks, and about bounded in bytes: a read asks for few chunks first, and for more as long
//! as what comes is small.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use millrace_domain::Partition;

use crate::{Entry, EntryId, READ_LIMIT};

/// About how many bytes one read should bring.
const READ_BYTES: u64 = 8 * 1024 * 1024;
/// How many chunks a read asks for at first, whatever chunks were like lately.
const FIRST_STEP: usize = 8;
/// How many times as many it asks for at each step after that.
const GROWTH: usize = 4;
/// What a wait may bring and still be called calm: after more, reads look first, in steps that are bounded.
const CALM_BYTES: usize = 1024 * 1024;
/// How long it stays calm while nobody reads: longer, and much may have gathered.
const CALM_FOR: Duration = Duration::from_millis(100);
/// A wait that ends sooner and brings more than this is of a queue that gets one large publish after the other. (In the benchmark's case
/// `batched` a read brings 100 kB or more, and the next one follows within 2 ms.)
const BUSY: (Duration, usize) = (Duration::from_millis(2), 32 * 1024);
/// What a chunk is taken to be before one was seen.
const FIRST_GUESS_BYTES: u64 = 64 * 1024;

/// What is remembered from one read to the next.
#[derive(Debug)]
pub(crate) struct Shares {
    chunk_bytes: AtomicU64,
    /// The partition that comes first next time.
    first: AtomicU16,
    /// When the last read ended, if it waited, did not bring much, and there was not more; and how the next one begins.
    calm: Mutex<Option<(Instant, Start)>>,
}

/// How a read begins that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// By looking what is there, in steps: it may be much.
    Looking,
    /// By waiting: a wait that finds something does not last, and brings it.
    Waiting,
    /// By resting a little before it waits: reads cost less an event the more they bring.
    Resting,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            chunk_bytes: AtomicU64::new(FIRST_GUESS_BYTES),
            first: AtomicU16::new(0),
            calm: Mutex::default(),
        }
    }
}

impl Shares {
    /// Starts a read after `cursors`, with the partitions that the last one did not come to.
    pub(crate) fn plan(&self, cursors: &[(Partition, EntryId)]) -> Plan {
        let mut waiting = cursors.to_vec();
        waiting.sort_unstable_by_key(|(partition, _)| *partition);
        let first = Partition(self.first.load(Ordering::Relaxed));
        let turn = waiting.partition_point(|(partition, _)| *partition < first);
        waiting.rotate_left(turn);
        Plan {
            cursors: Vec::new(),
            first: waiting.first().map(|(partition, _)| *partition),
            unasked: waiting.len(),
            waiting: waiting.into(),
            step: FIRST_STEP,
            chunk_bytes: self.chunk_bytes.load(Ordering::Relaxed),
            count: 0,
            bytes: 0,
            found: Vec::new(),
        }
    }

    /// How a read begins that may wait. Asked once a read: after one that was given up or failed, the next one looks.
    pub(crate) fn start(&self, now: Instant) -> Start {
        let calm = self.calm.lock().unwrap_or_else(PoisonError::into_inner).take();
        match calm {
            Some((since, start)) if now.duration_since(since) <= CALM_FOR => start,
            _ => Start::Looking,
        }
    }

    /// Notes when a wait ended, how long it took, the bytes it brought, and whether there was more.
    pub(crate) fn note_wait(&self, now: Instant, took: Duration, bytes: usize, more: bool) {
        let is_calm = !more && bytes <= CALM_BYTES;
        let is_busy = took < BUSY.0 && bytes > BUSY.1;
        let start = if is_busy { Start::Resting } else { Start::Waiting };
        *self.calm.lock().unwrap_or_else(PoisonError::into_inner) = is_calm.then_some((now, start));
    }

    /// Ends a read: remembers where it stopped, and how large its chunks were, slow to forget large ones.
    pub(crate) fn finish(&self, mut plan: Plan) -> Vec<(Partition, Entry)> {
        let next = match plan.waiting.front() {
            Some((partition, _)) if plan.unasked > 0 => partition.0,
            _ => plan.first.map_or(0, |partition| partition.0.wrapping_add(1)),
        };
        self.first.store(next, Ordering::Relaxed);
        if let Some(mean) = plan.mean() {
            let before = self.chunk_bytes.load(Ordering::Relaxed);
            self.chunk_bytes.store(mean.max(before - before / 8).max(1), Ordering::Relaxed);
        }
        plan.found.truncate(READ_LIMIT);
        plan.found
    }
}

/// One read under way.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What to read after next.
    pub(crate) cursors: Vec<(Partition, EntryId)>,
    first: Option<Partition>,
    /// What to read after later; first come those that were not asked yet.
    waiting: VecDeque<(Partition, EntryId)>,
    unasked: usize,
    step: usize,
    chunk_bytes: u64,
    count: usize,
    bytes: u64,
    found: Vec<(Partition, Entry)>,
}

impl Plan {
    /// How many chunks to ask for of each of [`Plan::cursors`]; `None`: the read is done.
    pub(crate) fn next_count(&mut self) -> Option<usize> {
        let room = READ_LIMIT.saturating_sub(self.found.len());
        if self.waiting.is_empty() || room == 0 || self.bytes >= READ_BYTES {
            return None;
        }
        let fitting = (READ_BYTES - self.bytes) / self.mean().unwrap_or(self.chunk_bytes).max(1);
        let fitting = usize::try_from(fitting).unwrap_or(READ_LIMIT);
        let wanted = self.step.min(room).min(fitting).max(1);
        self.step = (self.step * GROWTH).min(READ_LIMIT);
        // Nobody gets more before all were asked.
        let round = if self.unasked > 0 { self.unasked } else { self.waiting.len() };
        let asked = round.min(wanted);
        self.unasked = self.unasked.saturating_sub(asked);
        self.cursors = self.waiting.drain(..asked).collect();
        self.count = (wanted / asked).max(1);
        Some(self.count)
    }

    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What a chunk of this read is like.
    fn mean(&self) -> Option<u64> {
        self.bytes.checked_div(self.found.len() as u64)
    }

    /// Takes what the partitions asked gave, each in order; goes on with those that may have more.
    pub(crate) fn take(&mut self, answer: Vec<(Partition, Vec<Entry>)>) {
        self.cursors.clear();
        for (partition, entries) in answer {
            if entries.len() >= self.count
                && let Some(last) = entries.last()
            {
                self.waiting.push_back((partition, last.id));
            }
            self.bytes += entries.iter().map(|entry| entry.chunk.len() as u64).sum::<u64>();
            self.found.extend(entries.into_iter().map(|entry| (partition, entry)));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entries(after: EntryId, count: u64, bytes: usize) -> Vec<Entry> {
        (1..=count)
            .map(|n| Entry {
                id: EntryId { ms: after.ms + n, seq: 0 },
                chunk: Bytes::from(vec![0; bytes]),
            })
            .collect()
    }

    /// Reads of `partitions` partitions, of which each that is `busy` has no end; tells who gave something, how often.
    fn read(
        shares: &Shares,
        partitions: u16,
        busy: impl Fn(u16) -> bool,
        bytes: usize,
    ) -> Vec<(u16, usize)> {
        let cursors: Vec<_> = (0..partitions).map(|p| (Partition(p), EntryId::default())).collect();
        let mut plan = shares.plan(&cursors);
        while let Some(count) = plan.next_count() {
            let answer = plan
                .cursors
                .iter()
                .filter(|(partition, _)| busy(partition.0))
                .map(|(partition, after)| (*partition, entries(*after, count as u64, bytes)))
                .collect();
            plan.take(answer);
        }
        let found = shares.finish(plan);
        assert!(found.len() <= READ_LIMIT, "{} chunks", found.len());
        let mut counts = std::collections::BTreeMap::new();
        for (partition, _) in found {
            *counts.entry(partition.0).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }

    #[test]
    fn looks_after_a_wait_that_brought_much_or_not_all_there_is() {
        let (shares, now) = (Shares::default(), Instant::now());
        assert_eq!(shares.start(now), Start::Looking);
        let (busy, busy_bytes) = BUSY;
        for (took, bytes, more, start) in [
            (busy, CALM_BYTES, false, Start::Waiting),
            (busy, CALM_BYTES + 1, false, Start::Looking),
            (busy, 0, true, Start::Looking),
            (busy, 0, false, Start::Waiting),
            (Duration::ZERO, busy_bytes, false, Start::Waiting),
            (Duration::ZERO, busy_bytes + 1, false, Start::Resting),
            (Duration::ZERO, busy_bytes + 1, true, Start::Looking),
            (Duration::ZERO, CALM_BYTES + 1, false, Start::Looking),
        ] {
            shares.note_wait(now, took, bytes, more);
            assert_eq!(shares.start(now), start, "{bytes} bytes in {took:?}, more: {more}");
            assert_eq!(shares.start(now), Start::Looking, "a read in between was given up");
        }
        for (later, start) in
            [(CALM_FOR, Start::Waiting), (CALM_FOR + Duration::from_millis(1), Start::Looking)]
        {
            shares.note_wait(now, busy, 0, false);
            assert_eq!(shares.start(now + later), start, "{later:?} without a read");
        }
    }

    #[test]
    fn a_busy_partition_gets_what_the_others_leave() {
        assert_eq!(read(&Shares::default(), 64, |p| p == 0, 100), [(0, READ_LIMIT)]);
    }

    #[test]
    fn busy_partitions_get_the_same() {
        let counts = read(&Shares::default(), 64, |_| true, 100);
        assert_eq!(counts.len(), 64);
        assert!(counts.iter().all(|(_, count)| (2..=6).contains(count)), "{counts:?}");
    }

    #[test]
    fn one_read_finds_the_only_chunk_among_all_partitions() {
        let shares = Shares::default();
        for busy in [0, 300, 4_095] {
            assert_eq!(read(&shares, 4_096, |p| p == busy, 100), [(busy, READ_LIMIT)]);
        }
    }

    #[test]
    fn reads_that_are_full_come_to_every_partition_in_turn() {
        let shares = Shares::default();
        let reads = (0..4_096 / READ_LIMIT).flat_map(|_| read(&shares, 4_096, |_| true, 100));
        let partitions: std::collections::BTreeSet<_> = reads.map(|(p, _)| p).collect();
        assert_eq!(partitions.len(), 4_096);
    }

    #[test]
    fn large_chunks_are_read_a_few_at_a_time_also_after_small_ones() {
        let shares = Shares::default();
        for _ in 0..100 {
            read(&shares, 256, |_| true, 100);
        }
        for _ in 0..2 {
            let counts = read(&shares, 256, |_| true, 1024 * 1024);
            assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), 8);
        }
    }
}
