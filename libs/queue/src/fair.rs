//! Shares one read between partitions: every partition gets its part, and what some leave goes to those that
//! have more. Bounded in chunks and, by what chunks were like lately, in bytes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use millrace_domain::Partition;

use crate::{Entry, EntryId, READ_LIMIT};

/// About how many bytes one read should bring.
const READ_BYTES: u64 = 8 * 1024 * 1024;
/// What a chunk is taken to be before one was seen.
const FIRST_GUESS_BYTES: u64 = 64 * 1024;

/// What is remembered from one read to the next.
#[derive(Debug)]
pub(crate) struct Shares {
    chunk_bytes: AtomicU64,
    turn: AtomicUsize,
}

impl Default for Shares {
    fn default() -> Self {
        Self { chunk_bytes: AtomicU64::new(FIRST_GUESS_BYTES), turn: AtomicUsize::new(0) }
    }
}

impl Shares {
    /// Starts a read after `cursors`. Each time another partition comes first, so that none is always cut off.
    pub(crate) fn plan(&self, cursors: &[(Partition, EntryId)]) -> Plan {
        let mut cursors = cursors.to_vec();
        if !cursors.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % cursors.len();
            cursors.rotate_left(turn);
        }
        let fitting = READ_BYTES / self.chunk_bytes.load(Ordering::Relaxed).max(1);
        let room = usize::try_from(fitting).unwrap_or(READ_LIMIT).clamp(1, READ_LIMIT);
        Plan { cursors, room, count: 0, found: Vec::new() }
    }

    /// Ends a read: remembers how large its chunks were, slow to forget large ones.
    pub(crate) fn finish(&self, plan: Plan) -> Vec<(Partition, Entry)> {
        let bytes: u64 = plan.found.iter().map(|(_, entry)| entry.chunk.len() as u64).sum();
        if let Some(mean) = bytes.checked_div(plan.found.len() as u64) {
            let before = self.chunk_bytes.load(Ordering::Relaxed);
            self.chunk_bytes.store(mean.max(before - before / 8).max(1), Ordering::Relaxed);
        }
        plan.found
    }
}

/// One read under way.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What to read after next.
    pub(crate) cursors: Vec<(Partition, EntryId)>,
    room: usize,
    count: usize,
    found: Vec<(Partition, Entry)>,
}

impl Plan {
    /// How many chunks to ask for of each partition; `None`: the read is done.
    pub(crate) fn next_count(&mut self) -> Option<usize> {
        if self.cursors.is_empty() || self.room == 0 {
            return None;
        }
        self.cursors.truncate(READ_LIMIT);
        self.count = (self.room / self.cursors.len()).max(1);
        Some(self.count)
    }

    /// Takes what the partitions asked gave, each in order; goes on with those that may have more.
    pub(crate) fn take(&mut self, answer: Vec<(Partition, Vec<Entry>)>) {
        self.cursors.clear();
        for (partition, entries) in answer {
            if entries.len() >= self.count
                && let Some(last) = entries.last()
            {
                self.cursors.push((partition, last.id));
            }
            self.room = self.room.saturating_sub(entries.len());
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

    /// Reads partition 0, which has no end, beside 63 that have nothing.
    fn read_one_busy(shares: &Shares, bytes: usize) -> usize {
        let cursors: Vec<_> = (0..64).map(|p| (Partition(p), EntryId::default())).collect();
        let mut plan = shares.plan(&cursors);
        while let Some(count) = plan.next_count() {
            let answer = plan
                .cursors
                .iter()
                .filter(|(partition, _)| partition.0 == 0)
                .map(|(partition, after)| (*partition, entries(*after, count as u64, bytes)))
                .collect();
            plan.take(answer);
        }
        shares.finish(plan).len()
    }

    #[test]
    fn a_busy_partition_gets_what_the_others_leave() {
        let shares = Shares::default();
        shares.chunk_bytes.store(1, Ordering::Relaxed);
        assert_eq!(read_one_busy(&shares, 100), READ_LIMIT);
    }

    #[test]
    fn large_chunks_are_read_a_few_at_a_time() {
        let shares = Shares::default();
        read_one_busy(&shares, 1024 * 1024);
        assert_eq!(read_one_busy(&shares, 1024 * 1024), 8);
    }
}
