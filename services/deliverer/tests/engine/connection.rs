//! What one deliverer sees of the queue: calls that fail, calls whose answer is lost, calls that take their time. Once it is
//! killed, none of its calls reaches the queue any more, and none is answered.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use millrace_domain::{AccountSid, Partition, SinkSid, Timestamp};
use millrace_proto::internal::BacklogState;
use millrace_queue::{
    Class, Entry, EntryId, Error, Inheritance, Member, Ownership, ParkedChunk, ParkedQuery, Place,
    Pressure, Quarantined, Queue, Report, ReportKind, Result, Settled, Settlement, Token,
    chunk::MarkedChunk,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::memory::MemoryQueue;

/// The troubles of all connections, which a test changes.
#[derive(Debug)]
pub(crate) struct Troubles {
    /// Of a thousand calls, how many fail; half of them after they were done.
    pub(crate) failing: AtomicU32,
    /// The longest that a call takes, in milliseconds.
    pub(crate) slow_ms: AtomicU32,
    /// Settlements that are refused for good.
    pub(crate) refused: AtomicU32,
    rng: Mutex<Rng>,
}

impl Troubles {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            failing: AtomicU32::new(0),
            slow_ms: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            rng: Mutex::new(Rng::with_seed(seed)),
        })
    }

    fn fails(&self) -> bool {
        let failing = self.failing.load(Ordering::Relaxed);
        self.rng.lock().expect("no test panics with it").u32(0..2_000) < failing
    }

    fn wait(&self) -> Duration {
        let slow = self.slow_ms.load(Ordering::Relaxed);
        let wait = self.rng.lock().expect("no test panics with it").u32(0..=slow);
        Duration::from_millis(u64::from(wait))
    }
}

pub(crate) struct Connection {
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) troubles: Arc<Troubles>,
    pub(crate) dead: CancellationToken,
}

impl Connection {
    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let broken =
            || Error::Unavailable { operation: "talk".into(), source: "on purpose".into() };
        let wait = self.troubles.wait();
        if !wait.is_zero() {
            sleep(wait).await;
        }
        self.unless_dead().await;
        if self.troubles.fails() {
            return Err(broken());
        }
        let answer = call.await;
        self.unless_dead().await;
        if self.troubles.fails() { Err(broken()) } else { answer }
    }

    async fn unless_dead(&self) {
        if self.dead.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Queue for Connection {
    async fn append(&self, partition: Partition, chunk: Bytes) -> Result<EntryId> {
        self.call(self.queue.append(partition, chunk)).await
    }

    async fn append_new(
        &self,
        partition: Partition,
        chunk: MarkedChunk,
        keep: Duration,
    ) -> Result<Vec<usize>> {
        self.call(self.queue.append_new(partition, chunk, keep)).await
    }

    async fn announce(&self, member: &Member, lease: Duration) -> Result<Vec<Member>> {
        self.call(self.queue.announce(member, lease)).await
    }

    async fn withdraw(&self, member_id: &str) -> Result<()> {
        self.call(self.queue.withdraw(member_id)).await
    }

    async fn acquire(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<Vec<Ownership>> {
        self.call(self.queue.acquire(partitions, token, lease)).await
    }

    async fn renew(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<(Vec<Ownership>, Timestamp)> {
        self.call(self.queue.renew(partitions, token, lease)).await
    }

    async fn release(&self, partitions: &[Partition], token: Token) -> Result<()> {
        self.call(self.queue.release(partitions, token)).await
    }

    async fn owner_of(&self, partition: Partition) -> Result<Option<String>> {
        self.call(self.queue.owner_of(partition)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.call(self.queue.now()).await
    }

    async fn read(
        &self,
        cursors: &[(Partition, EntryId)],
        wait: Duration,
    ) -> Result<Vec<(Partition, Entry)>> {
        self.call(self.queue.read(cursors, wait)).await
    }

    async fn settle(
        &self,
        partition: Partition,
        token: Token,
        settlement: &Settlement,
    ) -> Result<Settled> {
        let refused = &self.troubles.refused;
        let left = refused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if left.is_ok() {
            return Err(Error::Refused("on purpose".into()));
        }
        self.call(self.queue.settle(partition, token, settlement)).await
    }

    async fn backlogs(&self, partition: Partition) -> Result<Vec<(SinkSid, BacklogState)>> {
        self.call(self.queue.backlogs(partition)).await
    }

    async fn parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
        query: ParkedQuery<'_>,
    ) -> Result<Vec<ParkedChunk>> {
        self.call(self.queue.parked(partition, sink, class, query)).await
    }

    async fn first_parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
    ) -> Result<Option<Timestamp>> {
        self.call(self.queue.first_parked(partition, sink, class)).await
    }

    async fn inherit(&self, partition: Partition) -> Result<Inheritance> {
        self.call(self.queue.inherit(partition)).await
    }

    async fn note(&self, partition: Partition, token: Token, notes: &[(Place, u32)]) -> Result<()> {
        self.call(self.queue.note(partition, token, notes)).await
    }

    async fn quarantined(&self, partition: Partition) -> Result<Vec<Quarantined>> {
        self.call(self.queue.quarantined(partition)).await
    }

    async fn quarantined_chunk(&self, partition: Partition, place: Place) -> Result<Option<Bytes>> {
        self.call(self.queue.quarantined_chunk(partition, place)).await
    }

    async fn redrive(&self, partition: Partition, places: &[Place]) -> Result<u64> {
        self.call(self.queue.redrive(partition, places)).await
    }

    async fn discard(&self, partition: Partition, places: &[Place]) -> Result<u64> {
        self.call(self.queue.discard(partition, places)).await
    }

    async fn reports(&self, kind: ReportKind, consumer: &str, limit: usize) -> Result<Vec<Report>> {
        self.call(self.queue.reports(kind, consumer, limit)).await
    }

    async fn acknowledge(&self, kind: ReportKind, reports: &[(Partition, EntryId)]) -> Result<()> {
        self.call(self.queue.acknowledge(kind, reports)).await
    }

    async fn depth(&self) -> Result<u64> {
        self.call(self.queue.depth()).await
    }

    async fn pressure(&self) -> Result<Pressure> {
        self.call(self.queue.pressure()).await
    }

    async fn set_full(&self, accounts: &[AccountSid], lasting: Duration) -> Result<()> {
        self.call(self.queue.set_full(accounts, lasting)).await
    }

    async fn full_accounts(&self) -> Result<Vec<AccountSid>> {
        self.call(self.queue.full_accounts()).await
    }
}
