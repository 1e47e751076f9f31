//! The queue on Redis 7.0 or later, or Valkey 8 or later.
//!
//! What changes a partition is one Lua script each, which compares the owner's token first. Scripts that settle,
//! park and lease work when Redis is full; only `append` does not. Calls are gathered by the connection they share:
//! what has come while one write was under way goes out in the next. Nothing is sent twice of its own accord.

mod cluster;
mod entries;
mod failure;
mod keys;
mod link;
mod node;
mod owner;
mod quarantine;
mod reading;
mod recovery;
mod replicated;
mod reports;
mod room;
mod script;
mod sentinel;
mod settle;
mod setup;
mod slots;
mod target;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use metrics::{counter, histogram};
use millrace_domain::{AccountSid, Partition, SinkSid, Timestamp};
use millrace_proto::internal::BacklogState;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use self::{
    cluster::Reads, failure::Failure, keys::Keys, link::Link, node::Terms, reports::Progress,
    setup::Setup, target::Target,
};
use crate::{
    Class, Entry, EntryId, Inheritance, Member, Ownership, ParkedChunk, ParkedQuery, Place,
    Pressure, Quarantined, Queue, Report, ReportKind, Result, Settled, Settlement, Token,
    chunk::MarkedChunk, fair::Shares,
};

/// How to reach and use Redis.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user[:password]@]host[:port][/database]`; `redis+cluster://[…@]host[:port],…`: some nodes of a
    /// cluster; `redis+sentinel://[…@]host[:port],…/name[/database]`: sentinels, and what they call the primary.
    /// `rediss` in place of `redis`: over TLS.
    pub url: String,
    /// The password of the sentinels; empty: they ask for none.
    pub sentinel_password: String,
    /// Whom to trust over TLS, in place of whom the system trusts: certificates, PEM.
    pub tls_ca: Option<Vec<u8>>,
    /// How many replicas must have a chunk before it counts as appended; 0: it is not asked for.
    pub wait_replicas: u32,
    /// Longest wait for them.
    pub wait_timeout: Duration,
    /// P, how many partitions there are; fixed when Redis is first used.
    pub partitions: u16,
    /// What the names of keys begin with; another one than `mr` is for tests that share a server.
    pub prefix: String,
    /// How long a call may take. Well under the lease, so that a stuck renewal can be tried again in time.
    pub response_timeout: Duration,
    /// Whether what is appended is compressed where that saves something. Read are both: off for as long as a deliverer runs that
    /// knows of no compression.
    pub compress_ready: bool,
    /// About how many settlements' reports of attempts are kept for each partition until they are read.
    pub attempts_max: u64,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            sentinel_password: String::new(),
            tls_ca: None,
            wait_replicas: 0,
            wait_timeout: Duration::from_secs(1),
            partitions: 64,
            prefix: "mr".to_owned(),
            response_timeout: Duration::from_secs(4),
            compress_ready: true,
            attempts_max: 10_000,
        }
    }
}

/// All but what may hold a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("wait_replicas", &self.wait_replicas)
            .field("wait_timeout", &self.wait_timeout)
            .field("partitions", &self.partitions)
            .field("prefix", &self.prefix)
            .field("response_timeout", &self.response_timeout)
            .field("compress_ready", &self.compress_ready)
            .field("attempts_max", &self.attempts_max)
            .finish_non_exhaustive()
    }
}

/// Looks whether `url` names a Redis as [`RedisOptions::url`] must; asks nobody.
///
/// # Errors
/// [`Error::Refused`](crate::Error::Refused): it does not, and why; without the URL, which may hold a password.
pub fn check_url(url: &str) -> Result<()> {
    match Target::parse(url, "") {
        Ok(_) => Ok(()),
        Err(error) => Err(crate::Error::Refused(error.to_string())),
    }
}

/// The queue on Redis.
pub struct RedisQueue {
    link: Link,
    keys: Keys,
    partitions: u16,
    compress_ready: bool,
    attempts_max: u64,
    shares: Shares,
    /// In a cluster: the reads that wait.
    reads: AsyncMutex<Reads>,
    progress: AsyncMutex<HashMap<(ReportKind, String), Progress>>,
    /// Where the member announced last is: written beside its token into the leases it takes.
    address: Mutex<String>,
    trimmed: AtomicU64,
}

impl RedisQueue {
    /// Connects, checks that the server is one to work with, and writes P and the format if it is new.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused): too old, evicting, set up with another P or by another format;
    /// [`Error::Unavailable`](crate::Error::Unavailable): not there now.
    pub async fn connect(options: RedisOptions) -> Result<Self> {
        let during = |failure: Failure| failure.during(|| "connect to Redis".into());
        let target = Target::parse(&options.url, &options.sentinel_password)
            .map_err(|error| during(error.into()))?;
        let keys = Keys::new(&options.prefix);
        let terms = Terms {
            setup: Setup::new(keys.clone(), options.partitions),
            response_timeout: options.response_timeout,
            wait_replicas: options.wait_replicas,
            wait_timeout: options.wait_timeout,
            tls_ca: options.tls_ca,
        };
        let link = Link::open(target, terms).await.map_err(during)?;
        Ok(Self {
            link,
            keys,
            partitions: options.partitions,
            compress_ready: options.compress_ready,
            attempts_max: options.attempts_max,
            shares: Shares::default(),
            reads: AsyncMutex::default(),
            progress: AsyncMutex::default(),
            address: Mutex::default(),
            trimmed: AtomicU64::new(0),
        })
    }

    /// As [`Self::connect`], but waits for a Redis that does not answer yet, with one log line.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused).
    pub async fn connect_when_up(options: RedisOptions) -> Result<Self> {
        let (mut wait, mut told) = (Duration::from_millis(100), false);
        loop {
            match Self::connect(options.clone()).await {
                Err(crate::Error::Unavailable { operation, source }) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(
                            error = &*source as &dyn std::error::Error,
                            "cannot {operation}, will try again"
                        );
                    }
                }
                connected => return connected,
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }

    fn count_trimmed(&self, trimmed: i64) {
        self.trimmed.fetch_add(u64::try_from(trimmed).unwrap_or(0), Ordering::Relaxed);
    }

    fn all_partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.partitions).map(Partition)
    }

    fn set_address(&self, address: &str) {
        let mut kept = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept != address {
            address.clone_into(&mut kept);
        }
    }

    fn address(&self) -> String {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Times a call, and counts it where the queue did not do it. What a caller had no right to is no failure of the queue.
async fn timed<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let started = Instant::now();
    let done = call.await;
    histogram!("millrace_queue_seconds", "operation" => operation).record(started.elapsed());
    if done.as_ref().is_err_and(|error| !matches!(error, crate::Error::Stale)) {
        counter!("millrace_queue_errors_total", "operation" => operation).increment(1);
    }
    done
}

#[async_trait]
impl Queue for RedisQueue {
    async fn append(&self, partition: Partition, chunk: Bytes) -> Result<EntryId> {
        timed("append", self.append_chunk(partition, chunk)).await
    }

    async fn append_new(
        &self,
        partition: Partition,
        chunk: MarkedChunk,
        keep: Duration,
    ) -> Result<Vec<usize>> {
        timed("append_new", self.append_unseen(partition, chunk, keep)).await
    }

    async fn announce(&self, member: &Member, lease: Duration) -> Result<Vec<Member>> {
        self.announce_member(member, lease).await
    }

    async fn withdraw(&self, member_id: &str) -> Result<()> {
        self.withdraw_member(member_id).await
    }

    async fn acquire(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<Vec<Ownership>> {
        timed("acquire", self.acquire_leases(partitions, token, lease)).await
    }

    async fn renew(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<(Vec<Ownership>, Timestamp)> {
        timed("renew", self.renew_leases(partitions, token, lease)).await
    }

    async fn release(&self, partitions: &[Partition], token: Token) -> Result<()> {
        timed("release", self.release_leases(partitions, token)).await
    }

    async fn inherit(&self, partition: Partition) -> Result<Inheritance> {
        self.inherited(partition).await
    }

    async fn note(&self, partition: Partition, token: Token, notes: &[(Place, u32)]) -> Result<()> {
        timed("note", self.note_places(partition, token, notes)).await
    }

    async fn owner_of(&self, partition: Partition) -> Result<Option<String>> {
        self.address_of_owner(partition).await
    }

    fn attempts_trimmed(&self) -> u64 {
        self.trimmed.load(Ordering::Relaxed)
    }

    async fn now(&self) -> Result<Timestamp> {
        self.time().await
    }

    async fn read(
        &self,
        cursors: &[(Partition, EntryId)],
        wait: Duration,
    ) -> Result<Vec<(Partition, Entry)>> {
        self.read_ready(cursors, wait).await
    }

    async fn standing(&self, partition: Partition, ids: &[EntryId]) -> Result<Vec<Entry>> {
        self.read_standing(partition, ids).await
    }

    async fn settle(
        &self,
        partition: Partition,
        token: Token,
        settlement: &Settlement,
    ) -> Result<Settled> {
        timed("settle", self.settle_in(partition, token, settlement)).await
    }

    async fn backlogs(&self, partition: Partition) -> Result<Vec<(SinkSid, BacklogState)>> {
        self.all_backlogs(partition).await
    }

    async fn parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
        query: ParkedQuery<'_>,
    ) -> Result<Vec<ParkedChunk>> {
        timed("parked", self.parked_chunks(partition, sink, class, query)).await
    }

    async fn first_parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
    ) -> Result<Option<Timestamp>> {
        self.first_parked_at(partition, sink, class).await
    }

    async fn quarantined(&self, partition: Partition) -> Result<Vec<Quarantined>> {
        self.all_quarantined(partition).await
    }

    async fn quarantined_chunk(&self, partition: Partition, place: Place) -> Result<Option<Bytes>> {
        self.one_quarantined(partition, place).await
    }

    async fn redrive(&self, partition: Partition, places: &[Place]) -> Result<u64> {
        self.redrive_places(partition, places).await
    }

    async fn discard(&self, partition: Partition, places: &[Place]) -> Result<u64> {
        self.discard_places(partition, places).await
    }

    async fn reports(&self, kind: ReportKind, consumer: &str, limit: usize) -> Result<Vec<Report>> {
        self.read_reports(kind, consumer, limit).await
    }

    async fn acknowledge(&self, kind: ReportKind, reports: &[(Partition, EntryId)]) -> Result<()> {
        timed("acknowledge", self.remove_reports(kind, reports)).await
    }

    async fn depth(&self) -> Result<u64> {
        let mut lengths = ::redis::pipe();
        for partition in self.all_partitions() {
            lengths.cmd("XLEN").arg(self.keys.ready(partition));
        }
        let lengths: Vec<u64> = self
            .link
            .pipeline(&lengths)
            .await
            .map_err(|failure| failure.during(|| "measure the queue".into()))?;
        Ok(lengths.into_iter().sum())
    }

    async fn pressure(&self) -> Result<Pressure> {
        self.memory().await
    }

    async fn set_full(&self, accounts: &[AccountSid], lasting: Duration) -> Result<()> {
        self.say_full(accounts, lasting).await
    }

    async fn full_accounts(&self) -> Result<Vec<AccountSid>> {
        self.all_full().await
    }
}
