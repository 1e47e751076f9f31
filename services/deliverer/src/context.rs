//! What all tenures and lanes of a process share: the seams, the budgets, the queue's clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use millrace_queue::Queue;
use millrace_runtime::Tasks;
use millrace_sinks::Drivers;
use millrace_watch::Watch;
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::{
    background::Background,
    budget::Budget,
    clock::QueueClock,
    config::{DeliverySettings, LogsSettings},
    living::Living,
    parking::ParkingRoom,
    probation::{Gate, Held},
};

/// What all tenures and lanes share.
pub(crate) struct Context {
    pub(crate) tasks: Tasks,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) drivers: Drivers,
    pub(crate) watch: Watch,
    pub(crate) delivery: DeliverySettings,
    pub(crate) logs: LogsSettings,
    pub(crate) clock: QueueClock,
    /// When this process began: its partitions settle at instants that are counted from there.
    pub(crate) began: Instant,
    /// Where backlogs are worked off.
    pub(crate) background: Background,
    /// Places for requests, of the process.
    pub(crate) in_flight: Arc<Budget>,
    pub(crate) unsettled: Arc<Unsettled>,
    pub(crate) parked: ParkedBudget,
    pub(crate) parking: ParkingRoom,
    /// A partition that was not to be read is to be read again.
    pub(crate) more_to_read: Notify,
    pub(crate) living: Living,
    /// Lets suspects in; see [`crate::probation`].
    pub(crate) suspects: Arc<Gate>,
    /// How long a suspect is held back before it is run alone.
    pub(crate) quiet: Duration,
}

/// What bounds the memory that parked chunks take while they are drained: a budget of their own, so that a backlog never keeps
/// fresh chunks from being read.
#[derive(Debug)]
pub(crate) struct ParkedBudget {
    pub(crate) unsettled: Arc<Unsettled>,
    /// Lanes that load at once: by so many chunks the budget may be passed.
    loads: Semaphore,
}

/// Lanes that load parked chunks at once.
const LOADS_MAX: usize = 8;

impl ParkedBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { unsettled: Unsettled::new(limit), loads: Semaphore::new(LOADS_MAX) }
    }

    /// Waits for the turn to load; `None` where there is no room for what is loaded.
    pub(crate) async fn loading(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.loads.acquire().await.ok()?;
        self.unsettled.has_room().then_some(turn)
    }
}

/// So many chunks, and bytes, are little: what a busy process has in hand at any time (in the benchmark's case `scale`, one deliverer
/// takes 4,500 small chunks a second, which is 45 in 10 ms; in `batched` 120 MB a second, which is 1.2 MB).
const LITTLE_CHUNKS: usize = 40;
const LITTLE_BYTES: usize = 512 * 1024;

/// Bytes of chunks that are read and not settled: what bounds the memory of a deliverer.
#[derive(Debug)]
pub(crate) struct Unsettled {
    bytes: AtomicUsize,
    chunks: AtomicUsize,
    limit: usize,
    less: Notify,
}

impl Unsettled {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            chunks: AtomicUsize::new(0),
            limit,
            less: Notify::new(),
        })
    }

    /// Counts a chunk until the share is dropped. May pass the limit by what was read already.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Share {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.chunks.fetch_add(1, Ordering::Relaxed);
        Share { of: Arc::clone(self), bytes, held: None }
    }

    /// Waits until there is room for more.
    pub(crate) async fn room(&self) {
        loop {
            let less = self.less.notified();
            if self.has_room() {
                return;
            }
            less.await;
        }
    }

    /// Tells whether there is room for more.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.limit
    }

    /// Tells whether it is little: less than what comes again anyway when a busy process crashes.
    pub(crate) fn is_little(&self) -> bool {
        let (chunks, bytes) = self.open();
        chunks <= LITTLE_CHUNKS && bytes <= LITTLE_BYTES
    }

    /// Chunks and bytes that are open.
    pub(crate) fn open(&self) -> (usize, usize) {
        (self.chunks.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// The share of one chunk in [`Unsettled`].
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Unsettled>,
    bytes: usize,
    held: Option<Held>,
}

impl Share {
    /// Makes it the share of a suspect, which keeps its place on probation as long.
    pub(crate) fn on_probation(mut self, held: impl Into<Option<Held>>) -> Self {
        self.held = held.into();
        self
    }

    /// Tells whether something was noted of the chunk.
    pub(crate) fn is_on_probation(&self) -> bool {
        self.held.is_some()
    }

    /// Tells whether other suspects wait until the chunk is settled.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.held.as_ref().is_some_and(Held::is_waited_for)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.chunks.fetch_sub(1, Ordering::Relaxed);
        self.of.less.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_room_again_when_a_share_is_dropped() {
        let unsettled = Unsettled::new(10);
        let share = unsettled.take(10);
        assert!(tokio::time::timeout(Duration::from_millis(10), unsettled.room()).await.is_err());
        drop(share);
        unsettled.room().await;
        assert_eq!(unsettled.open(), (0, 0));
    }

    #[test]
    fn many_chunks_or_bytes_are_not_little() {
        let unsettled = Unsettled::new(usize::MAX);
        let shares: Vec<_> = (0..LITTLE_CHUNKS).map(|_| unsettled.take(1)).collect();
        assert!(unsettled.is_little());
        let one_more = unsettled.take(1);
        assert!(!unsettled.is_little());
        drop((shares, one_more));
        let large = unsettled.take(LITTLE_BYTES);
        assert!(unsettled.is_little());
        let one_more = unsettled.take(1);
        assert!(!unsettled.is_little());
        drop((large, one_more));
    }
}
