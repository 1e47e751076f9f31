//! The queue between routers and deliverers: append, own, read, settle, park, drain, report.
//!
//! A partition is an ordered stream of chunks that are not settled yet (`ready`), and, for each sink
//! that cannot take its events now, a durable backlog and a set of delayed chunks. One deliverer owns a partition
//! at a time, under a lease and a token; every call that changes a partition compares the token and
//! changes nothing if it is stale.
//!
//! The invariant: **a chunk leaves `ready` only in the call that records what became of it** ([`Queue::settle`]).
//! What the events mean, and when to try again, is the deliverer's business.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_domain::{AccountSid, Partition, SinkSid, Timestamp};
use millrace_proto::internal::{AttemptReports, BacklogState, DropReports};
use uuid::Uuid;

mod backlog;
pub mod chunk;
mod compress;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
mod fair;
mod place;
pub mod redis;
pub mod sqlite;

use self::chunk::MarkedChunk;

pub use self::{
    error::Error,
    place::{Inheritance, NoPlace, Place, Quarantined},
    redis::{RedisOptions, RedisQueue},
    sqlite::{SqliteOptions, SqliteQueue},
};

/// The result of a call of the queue.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How many chunks one [`Queue::read`] gives at most, over all partitions.
pub const READ_LIMIT: usize = 256;

/// How much longer than its window a parked chunk is kept: a lane that was paused may look late.
const KEPT_AFTER_WINDOW: Duration = Duration::from_hours(24);

/// Where a chunk stands in `ready`: milliseconds of the queue's clock at its append (its acceptance), and a
/// number within that millisecond. Ids of a partition ascend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// When it was accepted, by the queue's clock.
    pub ms: u64,
    /// Tells entries of one millisecond apart.
    pub seq: u64,
}

impl EntryId {
    /// When the chunk was accepted.
    pub fn accepted(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.ms).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// A chunk of `ready`, as it was appended.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it stands.
    pub id: EntryId,
    /// The encoded chunk.
    pub chunk: Bytes,
}

/// What proves ownership of a partition: made anew for each acquisition, never used again. The last eight bytes are those of
/// all tokens of a process, and of no other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub Uuid);

/// A deliverer that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id: unique for each start of a process.
    pub id: String,
    /// Where its gRPC is.
    pub address: String,
}

/// Which of a sink's two sets a parked chunk is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The sink is down, full or paused: by age, oldest first.
    Backlog,
    /// The events failed on their own: by when they are due.
    Delayed,
}

/// Names a parked chunk. A UUIDv7 made by the owner, so that a repeated park is the same park.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParkedId(pub Uuid);

/// A chunk to park. All its events go to one sink.
#[derive(Clone, Debug)]
pub struct Park {
    /// Whose backlog.
    pub sink: SinkSid,
    /// Its name.
    pub id: ParkedId,
    /// Which set.
    pub class: Class,
    /// The order in the set: backlog: accepted-at of the newest event; delayed: when it is due.
    pub at: Timestamp,
    /// When the last window in it closes; the queue may forget the chunk a day after.
    pub expires: Timestamp,
    /// The encoded chunk, not compressed: the queue compresses it as it stores it.
    pub chunk: Bytes,
}

/// A parked chunk, as [`Queue::parked`] gives it.
#[derive(Clone, Debug)]
pub struct ParkedChunk {
    /// Its name.
    pub id: ParkedId,
    /// As in [`Park::at`].
    pub at: Timestamp,
    /// The encoded chunk, decompressed; damaged bytes are given as they are stored, and do not decode. `None`: the
    /// queue forgot it (it expired); settle it as consumed.
    pub chunk: Option<Bytes>,
}

/// Consumed chunks and what became of their events: one step, whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// Entries of `ready` that are done with.
    pub entries: Vec<EntryId>,
    /// Parked chunks that are done with.
    pub unparked: Vec<(SinkSid, Class, ParkedId)>,
    /// What has to wait.
    pub parks: Vec<Park>,
    /// Chunks that nobody can read or survives, and why: moved to quarantine, raw.
    pub quarantined: Vec<(Place, String)>,
    /// New state of the sinks concerned; `None`: nothing of the sink is parked any more. Where something is, all the
    /// same, its state is left; where it has none, it gets the default. A sink of `unparked` that is not named here counts as `None`.
    pub backlogs: Vec<(SinkSid, Option<BacklogState>)>,
    /// What was attempted; empty: nothing is appended.
    pub attempts: AttemptReports,
    /// What was given up; empty: nothing is appended.
    pub drops: DropReports,
    /// Chunks of which nothing is noted any more.
    pub acquitted: Vec<Place>,
    /// Says that this owner survived what stood when it took over: nobody need wonder any more how the one before ended.
    pub trusted: bool,
}

/// What a settlement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// All of it is in place.
    Done,
    /// It consumes something, and nothing of that was left: an earlier call, whose answer was lost, did it.
    Already,
}

/// Which stream of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportKind {
    /// [`AttemptReports`]; bounded, the oldest go first.
    Attempts,
    /// [`DropReports`]; kept until acknowledged.
    Drops,
}

/// An entry of a stream of reports.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which partition's stream.
    pub partition: Partition,
    /// Where it stands there.
    pub id: EntryId,
    /// The encoded message of its [`ReportKind`].
    pub body: Bytes,
}

/// How much room the queue has, over all partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes that are taken.
    pub used_bytes: u64,
    /// Bytes that may be; `None`: as many as there are.
    pub max_bytes: Option<u64>,
}

impl Pressure {
    /// `percent` of what may be taken: above that, only what makes room should be written. `None`: there is no bound.
    pub fn mark_bytes(&self, percent: u8) -> Option<u64> {
        self.max_bytes.map(|max| max / 100 * u64::from(percent))
    }

    /// Whether more than `percent` of what may be taken is.
    pub fn is_over(&self, percent: u8) -> bool {
        self.mark_bytes(percent).is_some_and(|mark| self.used_bytes > mark)
    }
}

/// Who owns a partition now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The token given: the lease is new.
    Held,
    /// Another token, or nobody.
    Lost,
    /// Whoever: the part of the queue that knows does not answer now. The others are told of all the same.
    Unknown,
}

/// A queue of P partitions. Object-safe: the services hold `Arc<dyn Queue>`.
///
/// Every call may be repeated after an error: what a repeat does is said at each. A future that is dropped
/// has done all of its call or nothing.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Appends a chunk to `ready` and gives its place, once it is as durable as the queue makes things. A chunk
    /// that was appended by a call whose answer was lost is there twice after a repeat.
    ///
    /// # Errors
    /// [`Error::Full`] where there is no room; [`Error::Unavailable`] where it is not known whether it is there.
    async fn append(&self, partition: Partition, chunk: Bytes) -> Result<EntryId>;

    /// Appends those events of a chunk whose marks are not in the partition, as one chunk, and puts their marks there for
    /// `keep`, all in one step; gives the places of the events that were left out, in order. Of events with one mark, the first
    /// counts. A repeat after a lost answer leaves out what the call had appended.
    ///
    /// # Errors
    /// As [`Queue::append`]: what is not appended is not marked.
    async fn append_new(
        &self,
        partition: Partition,
        chunk: MarkedChunk,
        keep: Duration,
    ) -> Result<Vec<usize>>;

    /// Says that `member` lives, for the next `lease`, and lists who lives, by id. A repeat renews.
    async fn announce(&self, member: &Member, lease: Duration) -> Result<Vec<Member>>;

    /// Says that the member is gone.
    async fn withdraw(&self, member_id: &str) -> Result<()>;

    /// Takes the lease of each partition that nobody holds; tells which of `partitions` are held by `token` after
    /// that. A repeat with the same token gives the same. Where the last holder was another process, and did not release
    /// the partition, that is remembered: see [`Queue::inherit`].
    async fn acquire(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<Vec<Ownership>>;

    /// Renews the leases of `token`, all in one go, and gives the queue's time.
    async fn renew(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<(Vec<Ownership>, Timestamp)>;

    /// Gives up partitions that `token` holds; what it does not hold is left alone.
    async fn release(&self, partitions: &[Partition], token: Token) -> Result<()>;

    /// What the owners before have left. For who has just acquired the partition.
    async fn inherit(&self, partition: Partition) -> Result<Inheritance>;

    /// Writes a number beside each chunk, which outlives this owner until the chunk is acquitted. A repeat writes the
    /// same again. Works when the queue is full.
    ///
    /// # Errors
    /// [`Error::Stale`] if `token` does not hold the partition: nothing is changed.
    async fn note(&self, partition: Partition, token: Token, notes: &[(Place, u32)]) -> Result<()>;

    /// Where the owner of a partition is: the address that its process had announced last when it took the lease. `None`: nobody
    /// owns it now.
    async fn owner_of(&self, partition: Partition) -> Result<Option<String>>;

    /// How many settlements' reports of attempts this process saw given up, unread, for their bound, since it began. A queue that trims
    /// nothing counts none.
    fn attempts_trimmed(&self) -> u64 {
        0
    }

    /// The queue's time, by which windows and due times run.
    async fn now(&self) -> Result<Timestamp>;

    /// Reads what stands in `ready` after each cursor (exclusive; the default id: from the start), at most
    /// [`READ_LIMIT`] chunks in all, in order within a partition. Where nothing does, waits up to `wait` for
    /// something to come; so it does where there are no cursors. Reading changes nothing, and may be given up at any time.
    async fn read(
        &self,
        cursors: &[(Partition, EntryId)],
        wait: Duration,
    ) -> Result<Vec<(Partition, Entry)>>;

    /// Reads those of `ids` that still stand in `ready`, in the order of their ids. How many and how large is the caller's to bound.
    /// Changes nothing.
    async fn standing(&self, partition: Partition, ids: &[EntryId]) -> Result<Vec<Entry>>;

    /// Removes what `settlement` consumed and records what became of it, in one step. A repeat changes nothing
    /// ([`Settled::Already`]) where the settlement consumes something, and writes the same again where it does not.
    ///
    /// # Errors
    /// [`Error::Stale`] if `token` does not hold the partition: nothing is changed. Works when the queue is full.
    async fn settle(
        &self,
        partition: Partition,
        token: Token,
        settlement: &Settlement,
    ) -> Result<Settled>;

    /// Every sink of the partition that has something parked, with the state its owner last settled; the default one
    /// where that is damaged.
    async fn backlogs(&self, partition: Partition) -> Result<Vec<(SinkSid, BacklogState)>>;

    /// The first `limit` parked chunks of a sink whose [`Park::at`] is at most `until`, in that order, those in `skip`
    /// left out. Changes nothing: a chunk stays parked until it is settled as unparked.
    async fn parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
        query: ParkedQuery<'_>,
    ) -> Result<Vec<ParkedChunk>>;

    /// [`Park::at`] of the first parked chunk of a sink.
    async fn first_parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
    ) -> Result<Option<Timestamp>>;

    /// Every chunk in quarantine of a partition, by where it stood.
    async fn quarantined(&self, partition: Partition) -> Result<Vec<Quarantined>>;

    /// The bytes of a chunk in quarantine: as it was encoded, or, if they are damaged, as they are stored.
    async fn quarantined_chunk(&self, partition: Partition, place: Place) -> Result<Option<Bytes>>;

    /// Moves chunks from quarantine to the end of `ready`, each in one step, in the order given: the events in them are
    /// accepted anew under the ids they had. Tells how many were there. A repeat moves none.
    ///
    /// # Errors
    /// [`Error::Full`] where there is no room: those not moved stay in quarantine.
    async fn redrive(&self, partition: Partition, places: &[Place]) -> Result<u64>;

    /// Deletes chunks from quarantine, for good. Tells how many were there. A repeat deletes none.
    async fn discard(&self, partition: Partition, places: &[Place]) -> Result<u64>;

    /// Reads up to `limit` reports of all partitions that no other `consumer` has in hand, oldest first within a partition.
    /// What a consumer read and did not acknowledge, it gets again when it asks again under its name after a restart or
    /// an error; what another has had in hand for over a minute, it takes over.
    async fn reports(&self, kind: ReportKind, consumer: &str, limit: usize) -> Result<Vec<Report>>;

    /// Removes reports. A repeat does nothing.
    async fn acknowledge(&self, kind: ReportKind, reports: &[(Partition, EntryId)]) -> Result<()>;

    /// How many chunks stand in `ready`, over all partitions.
    async fn depth(&self) -> Result<u64>;

    /// How much room there is.
    async fn pressure(&self) -> Result<Pressure>;

    /// Says that accounts have as much waiting as they may, for the next `lasting`. A repeat says it anew. Works when the
    /// queue is full.
    async fn set_full(&self, accounts: &[AccountSid], lasting: Duration) -> Result<()>;

    /// The accounts of which that was said and has not run out, in any order.
    async fn full_accounts(&self) -> Result<Vec<AccountSid>>;
}

/// Which parked chunks to give.
#[derive(Clone, Copy, Debug)]
pub struct ParkedQuery<'a> {
    /// At most this [`Park::at`].
    pub until: Timestamp,
    /// At most so many.
    pub limit: usize,
    /// Not these.
    pub skip: &'a [ParkedId],
}
