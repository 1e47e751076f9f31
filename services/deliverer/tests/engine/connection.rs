//! What one deliverer sees of the queue: calls that fail, calls whose answer is lost, calls that take their time. Once it is
//! killed, none of its calls reaches the queue any more, and none is answered.

use std::{
    collections::BTreeSet,
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
    /// How long it takes in addition to read what is parked, in milliseconds.
    pub(crate) unparking_ms: AtomicU32,
    /// After so many notes one is done and never answered; 0: all are.
    pub(crate) unanswered_note: AtomicU32,
    /// Settlements that are refused for good.
    pub(crate) refused: AtomicU32,
    /// Partitions whose server does not answer.
    silent: Mutex<BTreeSet<Partition>>,
    /// Partitions of which nobody says what is parked.
    unknown: Mutex<BTreeSet<Partition>>,
    rng: Mutex<Rng>,
}

impl Troubles {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            failing: AtomicU32::new(0),
            slow_ms: AtomicU32::new(0),
            unparking_ms: AtomicU32::new(0),
            unanswered_note: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            silent: Mutex::default(),
            unknown: Mutex::default(),
            rng: Mutex::new(Rng::with_seed(seed)),
        })
    }

    /// From now on the servers of these do not answer, and all others do.
    pub(crate) fn silence(&self, partitions: impl IntoIterator<Item = Partition>) {
        *self.silent.lock().expect("no test panics with it") = partitions.into_iter().collect();
    }

    /// From now on nobody says what is parked of these, and of these only.
    pub(crate) fn hide(&self, partitions: impl IntoIterator<Item = Partition>) {
        *self.unknown.lock().expect("no test panics with it") = partitions.into_iter().collect();
    }

    fn is_silent(&self, partition: Partition) -> bool {
        self.silent.lock().expect("no test panics with it").contains(&partition)
    }

    fn hides(&self, partition: Partition) -> bool {
        self.unknown.lock().expect("no test panics with it").contains(&partition)
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

/// How long a call waits for a server that does not answer.
const SILENCE: Duration = Duration::from_secs(2);

fn broken() -> Error {
    Error::Unavailable { operation: "talk".into(), source: "on purpose".into() }
}

impl Connection {
    /// A call about a partition.
    async fn call_of<T>(
        &self,
        partition: Partition,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if self.troubles.is_silent(partition) {
            sleep(SILENCE).await;
            self.unless_dead().await;
            return Err(broken());
        }
        self.call(call).await
    }

    /// A call about leases, whose answer tells of each that it was asked of.
    async fn leases<T>(
        &self,
        partitions: &[Partition],
        call: impl AsyncFnOnce(&[Partition]) -> Result<(Vec<Ownership>, T)>,
    ) -> Result<(Vec<Ownership>, T)> {
        let silent = |partition: &Partition| self.troubles.is_silent(*partition);
        if !partitions.is_empty() && partitions.iter().all(silent) {
            sleep(SILENCE).await;
            return Err(broken());
        }
        if partitions.iter().any(silent) {
            sleep(SILENCE).await;
        }
        let asked: Vec<_> = partitions.iter().copied().filter(|of| !silent(of)).collect();
        let (told, more) = self.call(call(&asked)).await?;
        let mut told = told.into_iter();
        let of = |partition: &Partition| match silent(partition) {
            true => Ownership::Unknown,
            false => told.next().expect("an answer for each"),
        };
        Ok((partitions.iter().map(of).collect(), more))
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
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
        let acquire =
            async |asked: &[Partition]| Ok((self.queue.acquire(asked, token, lease).await?, ()));
        self.leases(partitions, acquire).await.map(|(told, ())| told)
    }

    async fn renew(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<(Vec<Ownership>, Timestamp)> {
        self.leases(partitions, async |asked| self.queue.renew(asked, token, lease).await).await
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
        let answers = cursors.iter().filter(|(of, _)| !self.troubles.is_silent(*of));
        let cursors: Vec<_> = answers.copied().collect();
        let mut found = self.call(self.queue.read(&cursors, wait)).await?;
        found.retain(|(of, _)| !self.troubles.is_silent(*of));
        Ok(found)
    }

    async fn standing(&self, partition: Partition, ids: &[EntryId]) -> Result<Vec<Entry>> {
        self.call_of(partition, self.queue.standing(partition, ids)).await
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
        self.call_of(partition, self.queue.settle(partition, token, settlement)).await
    }

    async fn backlogs(&self, partition: Partition) -> Result<Vec<(SinkSid, BacklogState)>> {
        if self.troubles.hides(partition) {
            return Err(broken());
        }
        self.call_of(partition, self.queue.backlogs(partition)).await
    }

    async fn parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
        query: ParkedQuery<'_>,
    ) -> Result<Vec<ParkedChunk>> {
        let takes = self.troubles.unparking_ms.load(Ordering::Relaxed);
        if takes > 0 {
            sleep(Duration::from_millis(takes.into())).await;
        }
        self.call_of(partition, self.queue.parked(partition, sink, class, query)).await
    }

    async fn first_parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
    ) -> Result<Option<Timestamp>> {
        self.call_of(partition, self.queue.first_parked(partition, sink, class)).await
    }

    async fn inherit(&self, partition: Partition) -> Result<Inheritance> {
        self.call_of(partition, self.queue.inherit(partition)).await
    }

    async fn note(&self, partition: Partition, token: Token, notes: &[(Place, u32)]) -> Result<()> {
        let noted = self.call_of(partition, self.queue.note(partition, token, notes)).await;
        let left = &self.troubles.unanswered_note;
        let left = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if left == Ok(1) {
            std::future::pending::<()>().await;
        }
        noted
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
