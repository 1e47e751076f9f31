//! What became of events: attempts, problems and drops, each in tables by day; and when accounts are told of problems.
//!
//! The invariants: **an entry that is written again is ignored**, for its id is made of where its report stood; **a row that the
//! database refuses is set aside alone**; what is older than its retention goes with its day. An entry's day is that
//! of its report, by the queue's clock, brought into the days that exist: only a report that waited for longer than the
//! retention, or whose clock runs days ahead, and is read again after midnight, could be there twice.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_domain::{AccountSid, SinkSid, Timestamp, error_group::ErrorGroup};

use crate::{Page, Result};

mod days;
mod groups;
mod id;
mod periods;
mod postgres;
mod query;
mod sql;
mod sqlite;

pub use self::{
    id::{LogId, Place},
    periods::{ReportFate, ReportPeriod},
    postgres::open as open_postgres,
    sql::SqlLogs,
    sqlite::{open as open_sqlite, open_ephemeral as open_sqlite_ephemeral},
};

/// How long attempts are kept, in days.
pub const ATTEMPTS_DAYS: i64 = 7;
/// How long error logs are kept, in days (<https://www.twilio.com/docs/events/webhook-quickstart>).
pub const ERRORS_DAYS: i64 = 23;
/// How long dropped events are kept, in days.
pub const DROPS_DAYS: i64 = 7;

/// Most dropped events that [`LogStore::purge_dropped`] forgets at once.
pub const PURGE_MAX: u64 = 5_000;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptResult {
    /// The sink has the events.
    Delivered,
    /// They are tried again.
    Retry,
    /// They are dropped.
    Discard,
}

/// Why an event was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// The sink refused it for good.
    Rejected,
    /// Its window closed.
    Expired,
    /// Its sink was deleted.
    SinkDeleted,
    /// Its account was closed.
    AccountClosed,
    /// No request can be made of it.
    Undeliverable,
}

/// One request to one sink; when it started is in its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEntry {
    /// Its name.
    pub id: LogId,
    /// When it was reported, by the queue's clock: decides the day it is kept under.
    pub reported: Timestamp,
    /// Whose.
    pub account: AccountSid,
    /// To which sink.
    pub sink: SinkSid,
    /// How long it took.
    pub duration: Duration,
    /// What became of it.
    pub result: AttemptResult,
    /// Status of the answer; 0: none.
    pub http_status: u16,
    /// Event Streams error code; 0: none.
    pub error_code: u32,
    /// Which try it was for its first event, from 1.
    pub attempt: u32,
    /// What went wrong, or the start of the answer's body.
    pub detail: String,
    /// The events it carried.
    pub event_ids: Vec<String>,
}

/// A problem with a delivery; when it happened is in its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorEntry {
    /// Its name: `NO` and this is its SID.
    pub id: LogId,
    /// As in [`AttemptEntry`].
    pub reported: Timestamp,
    /// Whose.
    pub account: AccountSid,
    /// Which sink's.
    pub sink: SinkSid,
    /// Event Streams error code (913xx).
    pub error_code: u32,
    /// Status of the answer; 0: none.
    pub http_status: u16,
    /// Which try it was for its first event, from 1; 0: there was none.
    pub attempt: u32,
    /// What went wrong, or the start of the answer's body.
    pub detail: String,
    /// The events it is about.
    pub event_ids: Vec<String>,
}

/// An event that a sink did not get; when it was dropped is in its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropEntry {
    /// Its name.
    pub id: LogId,
    /// As in [`AttemptEntry`].
    pub reported: Timestamp,
    /// Whose.
    pub account: AccountSid,
    /// Which sink's.
    pub sink: SinkSid,
    /// CloudEvents `id`.
    pub event_id: String,
    /// CloudEvents `type`.
    pub event_type: String,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Why.
    pub cause: DropCause,
    /// Event Streams error code of the last failure; 0: none.
    pub error_code: u32,
    /// Its schema version.
    pub schema_version: u32,
    /// How large it is, in bytes.
    pub size: u32,
    /// Whether it is still there, whole.
    pub kept: bool,
    /// The event as it would have been delivered; none where it is not asked for, or not kept.
    pub event: Option<Bytes>,
    /// When it was last sent again.
    pub resent: Option<Timestamp>,
}

/// What is written in one go.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// Requests.
    pub attempts: Vec<AttemptEntry>,
    /// Problems.
    pub errors: Vec<ErrorEntry>,
    /// Drops.
    pub drops: Vec<DropEntry>,
}

/// What became of entries.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// How many attempts are new.
    pub attempts: u64,
    /// Problems that were not there before.
    pub errors: HashSet<LogId>,
    /// Drops that were not there before.
    pub drops: HashSet<LogId>,
    /// Entries that the database refuses, and why: they are nowhere.
    pub refused: Vec<(LogId, String)>,
}

/// Which entries of an account to list, newest first.
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// Whose.
    pub account: AccountSid,
    /// Only this sink's.
    pub sink: Option<SinkSid>,
    /// Only those about this event.
    pub event_id: Option<String>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before.
    pub until: Option<Timestamp>,
    /// Attempts: only these.
    pub result: Option<AttemptResult>,
    /// Drops: only these.
    pub cause: Option<DropCause>,
    /// Errors and attempts: only of this code.
    pub error_code: Option<u32>,
    /// Drops: only those that were, or were not, sent again.
    pub resent: Option<bool>,
}

impl LogQuery {
    /// Everything of an account.
    pub fn of(account: AccountSid) -> Self {
        Self {
            account,
            sink: None,
            event_id: None,
            since: None,
            until: None,
            result: None,
            cause: None,
            error_code: None,
            resent: None,
        }
    }
}

/// New problems of a sink with one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCount {
    /// Whose.
    pub account: AccountSid,
    /// Which sink's.
    pub sink: SinkSid,
    /// Event Streams error code.
    pub code: u32,
    /// How many.
    pub more: u64,
}

/// That an account is to be told of a sink's problems now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorNotice {
    /// Whom.
    pub account: AccountSid,
    /// Which sink.
    pub sink: SinkSid,
    /// Event Streams error code.
    pub code: u32,
    /// The problems so far.
    pub group: ErrorGroup,
}

/// A sink whose breaker opened and has not closed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailingSink {
    /// Which.
    pub sink: SinkSid,
    /// Whose.
    pub account: AccountSid,
    /// Since when.
    pub since: Timestamp,
}

/// The logs. Object-safe: control-plane holds `Arc<dyn LogStore>`. Times are the caller's.
#[async_trait]
pub trait LogStore: Send + Sync + 'static {
    /// Makes the days that may be written, up to the day after tomorrow, and drops those that are over. Safe for any number
    /// of callers at once; a repeat does nothing.
    async fn keep_days(&self, now: Timestamp) -> Result<()>;

    /// Writes entries, in few statements, and adds to `written` what became of them. An entry that is there is ignored; one
    /// that the database refuses is set aside. After an error, some may be written: a repeat of the whole, with the same
    /// `written`, writes the rest and adds it.
    async fn write_into(
        &self,
        entries: &Entries,
        now: Timestamp,
        written: &mut Written,
    ) -> Result<()>;

    /// Writes entries once, as [`Self::write_into`].
    async fn write(&self, entries: &Entries, now: Timestamp) -> Result<Written> {
        let mut written = Written::default();
        self.write_into(entries, now, &mut written).await?;
        Ok(written)
    }

    /// Lists requests, newest first.
    async fn attempts(&self, query: &LogQuery, page: &Page<LogId>) -> Result<Vec<AttemptEntry>>;
    /// The newest request, for this process itself: who lists attempts does not hold it up.
    async fn last_attempt(&self, query: &LogQuery) -> Result<Option<AttemptEntry>>;
    /// Lists problems, newest first.
    async fn errors(&self, query: &LogQuery, page: &Page<LogId>) -> Result<Vec<ErrorEntry>>;
    /// Lists drops, newest first, without the events themselves.
    async fn drops(&self, query: &LogQuery, page: &Page<LogId>) -> Result<Vec<DropEntry>>;
    /// Lists drops whose events are kept, oldest first, with them: up to `limit`, and up to `bytes` of events but for the first one.
    async fn kept_drops(
        &self,
        query: &LogQuery,
        page: &Page<LogId>,
        bytes: u64,
    ) -> Result<Vec<DropEntry>>;
    /// Notes that drops of a sink were sent again.
    async fn mark_resent(
        &self,
        account: AccountSid,
        sink: SinkSid,
        ids: &[LogId],
        at: Timestamp,
    ) -> Result<()>;
    /// Forgets the events of an account's oldest drops, until what is kept is at most `events` and `bytes`, but no more than
    /// [`PURGE_MAX`]: after so many, a repeat forgets more. Tells how many. The entries stay.
    async fn purge_dropped(&self, account: AccountSid, bytes: u64, events: u64) -> Result<u64>;

    /// Counts new problems, and tells of which the accounts are to be told. One caller is told of each, whoever else counts.
    async fn count_errors(&self, found: &[ErrorCount], now: Timestamp) -> Result<Vec<ErrorNotice>>;
    /// Tells of which problems the accounts are to be told because it is long ago that they were; forgets those that are quiet.
    async fn due_errors(&self, now: Timestamp) -> Result<Vec<ErrorNotice>>;

    /// Notes that a sink's breaker opened. A repeat changes nothing; one at a later time begins anew.
    async fn sink_fails(&self, failing: FailingSink) -> Result<()>;
    /// Notes that a sink answers. A repeat does nothing.
    async fn sink_answers(&self, sinks: &[SinkSid]) -> Result<()>;
    /// Sinks that fail.
    async fn failing_sinks(&self) -> Result<Vec<FailingSink>>;

    /// Notes what becomes of reports. A period that is known grows; a repeat changes nothing.
    async fn note_report_periods(&self, periods: &[ReportPeriod], now: Timestamp) -> Result<()>;
    /// Periods that have some of the time `during` (from the first to the second, both included), in the order in which they began: an
    /// account's own, those of all accounts that have none, and what was trimmed.
    async fn report_periods(
        &self,
        account: AccountSid,
        during: (Timestamp, Timestamp),
    ) -> Result<Vec<ReportPeriod>>;
}
