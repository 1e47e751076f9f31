//! Producers that publish without a break and note what was acknowledged, for tests that break things meanwhile.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use millrace_proto::v1::Event;
use tokio::task::JoinSet;

use crate::{Publisher, event, publisher::accepted_ids};

/// Events a batch.
const BATCH: usize = 20;
/// How often a producer publishes one: far below what the product takes, for tests share the machine.
const INTERVAL: Duration = Duration::from_millis(100);

/// Producers at work; they stop with [`Load::stop`], or when dropped.
pub struct Load {
    shared: Arc<Shared>,
    producers: JoinSet<()>,
}

/// What the producers noted.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// How many events were sent to a router.
    pub sent: usize,
    /// Ids that the router acknowledged.
    pub acknowledged: BTreeSet<String>,
    /// When they were sent.
    pub sent_at: HashMap<String, Instant>,
    /// Publishes that failed: their events may be kept or not.
    pub failures: usize,
    /// The longest publish that was acknowledged.
    pub slowest: Duration,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    next: AtomicUsize,
    published: Mutex<Published>,
}

impl Load {
    /// As [`Load::start`], with ids from another number on than the first: for a second load.
    pub fn start_from(first: usize, publishers: Vec<Publisher>, accounts: &[String]) -> Self {
        Self::producing(Shared { next: first.into(), ..Shared::default() }, publishers, accounts)
    }

    /// Starts a producer for each of `publishers`, which publishes a batch each 100 ms, of events of `accounts` in turn. Those of
    /// every other batch have 2 kB, so that some of their chunks are compressed and others are not.
    pub fn start(publishers: Vec<Publisher>, accounts: &[String]) -> Self {
        Self::producing(Shared::default(), publishers, accounts)
    }

    fn producing(shared: Shared, publishers: Vec<Publisher>, accounts: &[String]) -> Self {
        let shared = Arc::new(shared);
        let mut producers = JoinSet::new();
        for publisher in publishers {
            producers.spawn(produce(publisher, accounts.to_vec(), Arc::clone(&shared)));
        }
        Self { shared, producers }
    }

    /// What is noted by now.
    pub fn so_far(&self) -> Published {
        self.shared.published().clone()
    }

    /// How many events are acknowledged by now.
    pub fn acknowledged(&self) -> usize {
        self.shared.published().acknowledged.len()
    }

    /// Waits until `more` more events are acknowledged.
    ///
    /// # Panics
    /// After a minute.
    pub async fn progress(&self, more: usize) {
        let (wanted, started) = (self.acknowledged() + more, Instant::now());
        while self.acknowledged() < wanted {
            assert!(started.elapsed() < Duration::from_secs(60), "publishing makes no progress");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets the producers end their publish, and gives what all noted.
    ///
    /// # Panics
    /// If a producer did.
    pub async fn stop(mut self) -> Published {
        self.shared.stopping.store(true, Ordering::Relaxed);
        while let Some(ended) = self.producers.join_next().await {
            ended.expect("a producer ends well");
        }
        self.shared.published().clone()
    }
}

impl Shared {
    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn produce(publisher: Publisher, accounts: Vec<String>, shared: Arc<Shared>) {
    while !shared.stopping.load(Ordering::Relaxed) {
        let first = shared.next.fetch_add(BATCH, Ordering::Relaxed);
        let events = (first..first + BATCH).map(|number| {
            let account_sid = accounts[number % accounts.len()].clone();
            let mut event = event(&format!("e{number:07}"));
            if (first / BATCH).is_multiple_of(2) {
                let note = format!(r#"{{"note":"{}","#, "please leave the parcel ".repeat(80));
                event.data = event.data.replacen('{', &note, 1);
            }
            Event { account_sid, ..event }
        });
        let started = Instant::now();
        shared.published().sent += BATCH;
        let answer = publisher.publish(events.collect()).await;
        let took = started.elapsed();
        {
            let mut published = shared.published();
            match answer {
                Ok(response) => {
                    let ids = accepted_ids(&response).map(str::to_owned);
                    published.sent_at.extend(ids.map(|id| (id, started)));
                    published.acknowledged.extend(accepted_ids(&response).map(str::to_owned));
                    published.slowest = published.slowest.max(took);
                }
                Err(_) => published.failures += 1,
            }
        }
        tokio::time::sleep(INTERVAL.saturating_sub(took).max(Duration::from_millis(1))).await;
    }
}
