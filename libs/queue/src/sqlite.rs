//! The queue in one SQLite file, or in memory: for one process that has all of Millrace in it.
//!
//! One writer gathers what waits into a transaction and answers once it is on disk (WAL, `synchronous=FULL`); reads
//! go on beside it. Leases and members live in memory: the data directory's lock says that there is one process, so
//! opening the file is the end of every earlier lease.

mod clock;
mod failure;
mod job;
mod leases;
mod marks;
mod open;
mod quarantine;
mod reading;
mod recovery;
mod reports;
mod settle;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_domain::{AccountSid, Partition, SinkSid, Timestamp};
use millrace_proto::internal::BacklogState;
use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    clock::{Clock, Ids, ms_of},
    failure::{Failure, during},
    job::{AppendNew, Ask, Job, TakeReports},
    leases::{Change, Leases},
    open::Database,
    writer::Writer,
};
use crate::{
    Class, Entry, EntryId, Error, Inheritance, Member, Ownership, ParkedChunk, ParkedQuery, Place,
    Pressure, Quarantined, Queue, Report, ReportKind, Result, Settled, Settlement, Token, backlog,
    chunk::MarkedChunk, compress::compress_parks, fair::Shares,
};

/// Work that may wait for the writer.
const WAITING_JOBS: usize = 1_024;

/// Where the embedded queue is.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file, in a directory that exists and that no other process uses. `None`: in memory, gone with the process.
    pub path: Option<PathBuf>,
    /// P, how many partitions there are; fixed when the file is first used.
    pub partitions: u16,
    /// About how many settlements' reports of attempts are kept for each partition until they are read.
    pub attempts_max: u64,
    /// Bytes that may be taken, for [`Queue::pressure`]; more are written all the same. `None`: as many as the disk has.
    pub max_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { path: None, partitions: 64, attempts_max: 10_000, max_bytes: None }
    }
}

/// The queue in SQLite.
pub struct SqliteQueue {
    jobs: mpsc::Sender<Job>,
    reader: SqlitePool,
    appended: watch::Receiver<u64>,
    clock: Arc<Clock>,
    members: Mutex<BTreeMap<String, (String, i64)>>,
    /// Where who announced itself last is.
    address: Mutex<Arc<str>>,
    /// Accounts that are full, and until when.
    full: Mutex<HashMap<AccountSid, i64>>,
    max_bytes: Option<u64>,
    shares: Shares,
    trimmed: Arc<AtomicU64>,
}

impl SqliteQueue {
    /// Opens the file, or makes it. Every lease of an earlier life is over, and reports are in nobody's hands.
    ///
    /// # Errors
    /// [`Error::Refused`]: made with another P or by another format; [`Error::Corrupt`]: no such file of ours;
    /// [`Error::Unavailable`]: it cannot be opened.
    pub async fn open(options: SqliteOptions) -> Result<Self> {
        let database = Database::open(options.path.as_deref(), options.partitions).await?;
        let clock = Arc::new(Clock::starting_at(ms_of(database.last_id)));
        let (appended, seen) = watch::channel(0);
        let (jobs, waiting) = mpsc::channel(WAITING_JOBS);
        let trimmed = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            pool: database.writer,
            clock: Arc::clone(&clock),
            ids: Ids::after(database.last_id),
            leases: Leases::default(),
            appended,
            attempts_max: options.attempts_max,
            untrimmed: HashMap::new(),
            trimmed: Arc::clone(&trimmed),
            next_sweep_ms: 0,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the queue, when nobody can ask"
        )]
        tokio::spawn(writer.run(waiting));
        Ok(Self {
            jobs,
            reader: database.reader,
            appended: seen,
            clock,
            members: Mutex::default(),
            address: Mutex::default(),
            full: Mutex::default(),
            max_bytes: options.max_bytes,
            shares: Shares::default(),
            trimmed,
        })
    }

    /// Waits until the queue is dropped, and all that was asked of it before is on disk or refused.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut appended = self.appended.clone();
        async move { while appended.changed().await.is_ok() {} }
    }

    /// Has the writer do a job; returns when it is on disk.
    async fn ask<W, T>(
        &self,
        work: W,
        job: impl FnOnce(Ask<W, T>) -> Job,
        operation: impl FnOnce() -> String,
    ) -> Result<T> {
        let (ask, told) = Ask::new(work);
        let sent = self.jobs.send(job(ask)).await;
        let outcome = match sent {
            Ok(()) => told.await.unwrap_or_else(|_: oneshot::error::RecvError| Err(ended())),
            Err(_) => Err(ended()),
        };
        outcome.map_err(|failure| during(failure, operation))
    }

    async fn change_leases(
        &self,
        partitions: &[Partition],
        token: Token,
        change: Change,
    ) -> Result<Vec<Ownership>> {
        let work = (partitions.to_vec(), token, change);
        self.ask(work, Job::Leases, || "change leases".into()).await
    }
}

/// The writer is gone: its runtime is shutting down.
fn ended() -> Failure {
    sqlx::Error::WorkerCrashed.into()
}

/// A JSON array, as `json_each` takes it: one parameter for any number of ids.
fn numbers(ids: impl IntoIterator<Item = i64>) -> String {
    let ids: Vec<_> = ids.into_iter().map(|id| id.to_string()).collect();
    format!("[{}]", ids.join(","))
}

/// A partition as it is stored.
fn partition_of(number: i64) -> Partition {
    Partition(u16::try_from(number).unwrap_or(u16::MAX))
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn append(&self, partition: Partition, chunk: Bytes) -> Result<EntryId> {
        let operation = || format!("append to partition {}", partition.0);
        self.ask((partition, chunk), Job::Append, operation).await
    }

    async fn append_new(
        &self,
        partition: Partition,
        chunk: MarkedChunk,
        keep: Duration,
    ) -> Result<Vec<usize>> {
        let operation = || format!("append to partition {}", partition.0);
        self.ask(AppendNew { partition, chunk, keep }, Job::AppendNew, operation).await
    }

    async fn announce(&self, member: &Member, lease: Duration) -> Result<Vec<Member>> {
        let now = self.clock.now();
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) =
            member.address.as_str().into();
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.insert(member.id.clone(), (member.address.clone(), now.plus(lease).as_millis()));
        members.retain(|_, (_, until)| *until > now.as_millis());
        let listed = members
            .iter()
            .map(|(id, (address, _))| Member { id: id.clone(), address: address.clone() });
        Ok(listed.collect())
    }

    async fn withdraw(&self, member_id: &str) -> Result<()> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).remove(member_id);
        Ok(())
    }

    async fn acquire(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<Vec<Ownership>> {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.change_leases(partitions, token, Change::Acquire(lease, address)).await
    }

    async fn renew(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<(Vec<Ownership>, Timestamp)> {
        let held = self.change_leases(partitions, token, Change::Renew(lease)).await?;
        Ok((held, self.clock.now()))
    }

    async fn release(&self, partitions: &[Partition], token: Token) -> Result<()> {
        self.change_leases(partitions, token, Change::Release).await?;
        Ok(())
    }

    async fn inherit(&self, partition: Partition) -> Result<Inheritance> {
        self.inherited(partition).await
    }

    async fn note(&self, partition: Partition, token: Token, notes: &[(Place, u32)]) -> Result<()> {
        let work = (partition, token, notes.to_vec());
        let noted = self.ask(work, Job::Note, || format!("note suspects of {}", partition.0));
        if noted.await? { Ok(()) } else { Err(Error::Stale) }
    }

    async fn owner_of(&self, partition: Partition) -> Result<Option<String>> {
        self.ask(partition, Job::Owner, || format!("find the owner of {}", partition.0)).await
    }

    fn attempts_trimmed(&self) -> u64 {
        self.trimmed.load(Ordering::Relaxed)
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
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
        let operation = || format!("settle in partition {}", partition.0);
        let compressed = compress_parks(&settlement.parks)
            .await
            .map_err(|error| Error::Unavailable { operation: operation(), source: error.into() })?;
        let mut settlement = settlement.clone();
        settlement.backlogs = backlog::named(&settlement);
        for (park, chunk) in settlement.parks.iter_mut().zip(compressed) {
            park.chunk = chunk;
        }
        let work = (partition, token, settlement);
        let settled = self.ask(work, |ask| Job::Settle(Box::new(ask)), operation).await?;
        settled.ok_or(Error::Stale)
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
        self.parked_chunks(partition, sink, class, query).await
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
        let operation = || format!("re-drive chunks of partition {}", partition.0);
        self.ask((partition, places.to_vec()), Job::Redrive, operation).await
    }

    async fn discard(&self, partition: Partition, places: &[Place]) -> Result<u64> {
        let operation = || format!("empty quarantine {}", partition.0);
        self.ask((partition, places.to_vec()), Job::Discard, operation).await
    }

    async fn reports(&self, kind: ReportKind, consumer: &str, limit: usize) -> Result<Vec<Report>> {
        let work = TakeReports { kind, consumer: consumer.to_owned(), limit };
        self.ask(work, Job::TakeReports, || "read reports".into()).await
    }

    async fn acknowledge(&self, kind: ReportKind, reports: &[(Partition, EntryId)]) -> Result<()> {
        let work = (kind, reports.to_vec());
        self.ask(work, Job::Acknowledge, || "acknowledge reports".into()).await
    }

    async fn depth(&self) -> Result<u64> {
        self.count_ready().await
    }

    async fn pressure(&self) -> Result<Pressure> {
        Ok(Pressure { used_bytes: self.used_bytes().await?, max_bytes: self.max_bytes })
    }

    async fn set_full(&self, accounts: &[AccountSid], lasting: Duration) -> Result<()> {
        let until = self.clock.now().plus(lasting).as_millis();
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.extend(accounts.iter().map(|account| (*account, until)));
        Ok(())
    }

    async fn full_accounts(&self) -> Result<Vec<AccountSid>> {
        let now_ms = self.clock.now_ms();
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.retain(|_, until| *until > now_ms);
        Ok(full.keys().copied().collect())
    }
}
