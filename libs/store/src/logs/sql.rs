//! The logs in an SQL database: what reads and changes them is one text for both; what writes many rows at once is the database's own.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use millrace_domain::{AccountSid, SinkSid, Timestamp};
use sqlx::{AnyPool, PgPool};
use tokio::sync::Mutex;

use super::{
    AttemptEntry, DropEntry, Entries, ErrorCount, ErrorEntry, ErrorNotice, FailingSink, LogId,
    LogQuery, LogStore, PURGE_MAX, ReportPeriod, Written, groups, periods, postgres,
    query::{self, Argument, Ids, Statement},
    sqlite,
};
use crate::{
    Page, Result,
    sql::{CALL_TIMEOUT, Fault, within},
};

/// Longest that days are made and dropped: at first there are dozens.
const DAYS_TIMEOUT: Duration = Duration::from_secs(60);
/// Most ids that one statement names.
const IDS_MAX: usize = 1_000;

/// A [`LogStore`] in an SQL database; made by [`super::open_postgres`], [`super::open_sqlite`].
pub struct SqlLogs {
    /// Reads what callers ask for.
    pub(super) pool: AnyPool,
    /// Reads and changes what this process keeps of itself.
    pub(super) kept: AnyPool,
    pub(super) rows: Rows,
}

/// What writes many rows at once.
pub(super) enum Rows {
    /// Arrays, on connections of their own.
    Postgres(PgPool),
    /// Several rows a statement; writers of this process take turns.
    Sqlite(Mutex<()>),
}

impl fmt::Debug for SqlLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlLogs").finish_non_exhaustive()
    }
}

impl SqlLogs {
    fn ids(&self) -> Ids {
        match self.rows {
            Rows::Postgres(_) => Ids::Array,
            Rows::Sqlite(_) => Ids::Text,
        }
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T> {
        within(CALL_TIMEOUT, operation, work).await
    }

    async fn put(
        &self,
        entries: &Entries,
        now: Timestamp,
        written: &mut Written,
    ) -> Result<(), Fault> {
        // What was refused is refused again.
        written.refused.clear();
        match &self.rows {
            Rows::Postgres(pool) => postgres::put(pool, entries, now, written).await,
            Rows::Sqlite(turn) => {
                let _turn = turn.lock().await;
                sqlite::put(&self.pool, entries, now, written).await
            }
        }
    }

    async fn drops_of(&self, statement: Statement, whole: bool) -> Result<Vec<DropEntry>, Fault> {
        let rows = statement.query().fetch_all(&self.pool).await?;
        rows.iter().map(|row| query::drop_of(row, whole)).collect()
    }

    /// Drops with their events, but none after those that fill `bytes`: sizes are read before events.
    async fn kept(
        &self,
        asked: &LogQuery,
        page: &Page<LogId>,
        bytes: u64,
    ) -> Result<Vec<DropEntry>, Fault> {
        let sizes = query::drops(asked, page, true).sizes();
        let (mut total, mut fitting) = (0_u64, 0_u32);
        for row in sizes.query().fetch_all(&self.pool).await? {
            total = total.saturating_add(query::number(&row, "size")?);
            if fitting > 0 && total > bytes {
                break;
            }
            fitting += 1;
        }
        let page = Page { after: page.after, limit: fitting };
        self.drops_of(query::drops(asked, &page, true), true).await
    }

    async fn resent(
        &self,
        (account, sink): (AccountSid, SinkSid),
        ids: &[LogId],
        at: Timestamp,
    ) -> Result<(), Fault> {
        for ids in ids.chunks(IDS_MAX) {
            let mut update = Statement::new("UPDATE dropped_events".to_owned());
            update.push(" SET resent = ?", Argument::Number(at.as_millis()));
            let bytes = |sid: u128| Argument::Bytes(sid.to_be_bytes().to_vec());
            update.push(" WHERE account = ?", bytes(account.as_u128()));
            update.push(" AND sink = ? AND id IN", bytes(sink.as_u128()));
            update.push_ids(ids);
            update.query().execute(&self.pool).await?;
        }
        Ok(())
    }

    async fn purge(&self, account: AccountSid, bytes: u64, events: u64) -> Result<u64, Fault> {
        let account = || Argument::Bytes(account.as_u128().to_be_bytes().to_vec());
        let most = |most: u64| Argument::Number(i64::try_from(most).unwrap_or(i64::MAX));
        let mut purge = Statement::new(
            "WITH kept AS (SELECT day, sink, id,
                CAST(sum(size) OVER (ORDER BY id DESC, sink) AS BIGINT) AS bytes,
                row_number() OVER (ORDER BY id DESC, sink) AS events
              FROM dropped_events"
                .to_owned(),
        );
        purge.push(" WHERE account = ? AND event IS NOT NULL), ", account());
        purge.push("excess AS (SELECT day, sink, id FROM kept WHERE bytes > ?", most(bytes));
        purge.push(" OR events > ?", most(events));
        purge.push(" ORDER BY id, sink LIMIT ?) ", most(PURGE_MAX));
        purge.push(
            "UPDATE dropped_events SET event = NULL FROM excess WHERE account = ?",
            account(),
        );
        purge.say(
            " AND dropped_events.day = excess.day AND dropped_events.sink = excess.sink
              AND dropped_events.id = excess.id",
        );
        Ok(purge.query().execute(&self.kept).await?.rows_affected())
    }
}

#[async_trait]
impl LogStore for SqlLogs {
    async fn keep_days(&self, now: Timestamp) -> Result<()> {
        within(DAYS_TIMEOUT, "make and drop days of logs", async {
            match &self.rows {
                Rows::Postgres(pool) => postgres::keep_days(pool, now).await,
                Rows::Sqlite(_) => sqlite::keep_days(&self.pool, now).await,
            }
        })
        .await
    }

    async fn write_into(
        &self,
        entries: &Entries,
        now: Timestamp,
        written: &mut Written,
    ) -> Result<()> {
        self.call("write logs", self.put(entries, now, written)).await
    }

    async fn attempts(&self, asked: &LogQuery, page: &Page<LogId>) -> Result<Vec<AttemptEntry>> {
        self.call("list attempts", async {
            let statement = query::attempts(asked, page, self.ids());
            let rows = statement.query().fetch_all(&self.pool).await?;
            rows.iter().map(query::attempt_of).collect()
        })
        .await
    }

    async fn last_attempt(&self, asked: &LogQuery) -> Result<Option<AttemptEntry>> {
        self.call("find the last attempt", async {
            let newest = Page { after: None, limit: 1 };
            let statement = query::attempts(asked, &newest, self.ids());
            let row = statement.query().fetch_optional(&self.kept).await?;
            row.as_ref().map(query::attempt_of).transpose()
        })
        .await
    }

    async fn errors(&self, asked: &LogQuery, page: &Page<LogId>) -> Result<Vec<ErrorEntry>> {
        self.call("list error logs", async {
            let statement = query::errors(asked, page, self.ids());
            let rows = statement.query().fetch_all(&self.pool).await?;
            rows.iter().map(query::error_of).collect()
        })
        .await
    }

    async fn drops(&self, asked: &LogQuery, page: &Page<LogId>) -> Result<Vec<DropEntry>> {
        self.call("list dropped events", self.drops_of(query::drops(asked, page, false), false))
            .await
    }

    async fn kept_drops(
        &self,
        asked: &LogQuery,
        page: &Page<LogId>,
        bytes: u64,
    ) -> Result<Vec<DropEntry>> {
        self.call("read dropped events", self.kept(asked, page, bytes)).await
    }

    async fn mark_resent(
        &self,
        account: AccountSid,
        sink: SinkSid,
        ids: &[LogId],
        at: Timestamp,
    ) -> Result<()> {
        self.call("note what was sent again", self.resent((account, sink), ids, at)).await
    }

    async fn purge_dropped(&self, account: AccountSid, bytes: u64, events: u64) -> Result<u64> {
        self.call("purge dropped events", self.purge(account, bytes, events)).await
    }

    async fn count_errors(&self, found: &[ErrorCount], now: Timestamp) -> Result<Vec<ErrorNotice>> {
        self.call("count errors", groups::count(self, found, now)).await
    }

    async fn due_errors(&self, now: Timestamp) -> Result<Vec<ErrorNotice>> {
        self.call("look for errors to tell of", groups::due(self, now)).await
    }

    async fn sink_fails(&self, failing: FailingSink) -> Result<()> {
        self.call("note a failing sink", groups::fails(self, failing)).await
    }

    async fn sink_answers(&self, sinks: &[SinkSid]) -> Result<()> {
        self.call("note sinks that answer", groups::answers(self, sinks)).await
    }

    async fn failing_sinks(&self) -> Result<Vec<FailingSink>> {
        self.call("list failing sinks", groups::failing(self)).await
    }

    async fn note_report_periods(&self, periods: &[ReportPeriod], now: Timestamp) -> Result<()> {
        self.call("note what becomes of reports", periods::note(self, periods, now)).await
    }

    async fn report_periods(
        &self,
        account: AccountSid,
        during: (Timestamp, Timestamp),
    ) -> Result<Vec<ReportPeriod>> {
        self.call("look up what became of reports", periods::during(self, account, during)).await
    }
}
