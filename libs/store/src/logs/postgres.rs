//! What only PostgreSQL does: tables for each day, and many rows in one statement.

use std::collections::HashSet;

use millrace_domain::Timestamp;
use sqlx::{
    AssertSqlSafe, Executor as _, PgConnection, PgPool, Postgres, Row as _, Transaction,
    postgres::PgPoolOptions,
};

use super::{
    AttemptEntry, DropEntry, Entries, ErrorEntry, LogId, SqlLogs, Written,
    days::{self, LOGS, Log},
    query::{ID_SEPARATOR, cause_number, result_number},
    sql::Rows,
};
use crate::{
    OpenError, migrations,
    postgres::{Options, READ_SETTINGS, SETTINGS, connect},
    sql::Fault,
};

/// Key of the advisory lock under which days are made and dropped: "mrlogday" as ASCII bytes.
const DAYS_TURN: i64 = 0x6d72_6c6f_6764_6179;
/// Longest that a drop of a day waits for those who read.
const DROP_PATIENCE: &str = "200ms";
/// Connections that write: one at a time does, one more makes days.
const WRITERS: u32 = 2;
/// Connections that count, purge, and keep how sinks are: whoever reads does not keep them waiting.
const KEEPERS: u32 = 1;
/// Most rows a statement writes: some 5 ms of a processor, which others may be waiting for.
const ROWS_MAX: usize = 500;
/// Most bytes of events a statement writes, but for one event alone: they are copied as they are.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of events' ids a statement writes, but for one row alone: they are taken apart one by one (2,000 of them in 0.6 ms).
const ID_BYTES_MAX: usize = 64 * 1024;

/// Opens the logs in the database at `url`, which must be migrated; `options` bound what reads.
///
/// # Errors
/// [`OpenError::NotMigrated`] says to run `millrace migrate`; [`OpenError::Connect`].
pub async fn open(url: &str, options: &Options) -> Result<SqlLogs, OpenError> {
    let pool = connect(url, options, READ_SETTINGS).await?;
    migrations::check(&pool, migrations::POSTGRES).await?;
    let writers = PgPoolOptions::new()
        .max_connections(WRITERS)
        .acquire_timeout(options.acquire_timeout)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(SETTINGS).await.map(drop) })
        })
        .connect_lazy(url)
        .map_err(|error| OpenError::Connect { source: error.into() })?;
    let few = Options { max_connections: KEEPERS, ..options.clone() };
    let kept = connect(url, &few, SETTINGS).await?;
    Ok(SqlLogs { pool, kept, rows: Rows::Postgres(writers) })
}

/// Makes the days that are missing, and then drops those that are over; callers take turns.
pub(super) async fn keep_days(pool: &PgPool, now: Timestamp) -> Result<(), Fault> {
    let mut over = Vec::new();
    for log in LOGS {
        let there = make_days(pool, log, now).await?;
        let oldest = log.table_of(log.oldest(now));
        let mut old: Vec<_> = there.into_iter().filter(|name| *name < oldest).collect();
        old.sort();
        over.push(old);
    }
    for tables in over {
        drop_days(pool, tables).await?;
    }
    Ok(())
}

/// Begins a transaction that no other one of these is beside: who drops a day while another does may find it half gone ("could not
/// find tuple for parent of relation").
async fn in_turn(pool: &PgPool) -> Result<Transaction<'static, Postgres>, Fault> {
    let mut transaction = pool.begin().await?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(DAYS_TURN);
    lock.execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Makes the days of a log that are missing; tells which tables were there.
async fn make_days(pool: &PgPool, log: Log, now: Timestamp) -> Result<HashSet<String>, Fault> {
    let mut transaction = in_turn(pool).await?;
    let there = days_of(&mut transaction, log).await?;
    for day in log.oldest(now)..=Log::newest(now) {
        let name = log.table_of(day);
        if !there.contains(&name) {
            // Made aside and attached, so that who reads and writes waits for nothing.
            let made = format!(
                "CREATE TABLE {name} (LIKE {parent} INCLUDING ALL);
                 ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({day}) TO ({})",
                day + 1,
                parent = log.table,
            );
            sqlx::raw_sql(AssertSqlSafe(made)).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await?;
    Ok(there)
}

/// Drops tables of one log. Each drop locks the whole log for a moment, and all queue behind who waits for that: while
/// somebody reads for long, the days stay until the next time.
async fn drop_days(pool: &PgPool, tables: Vec<String>) -> Result<(), Fault> {
    for name in tables {
        let mut transaction = in_turn(pool).await?;
        let patience = AssertSqlSafe(format!("SET LOCAL lock_timeout = '{DROP_PATIENCE}'"));
        sqlx::raw_sql(patience).execute(&mut *transaction).await?;
        let dropped = AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}"));
        match sqlx::raw_sql(dropped).execute(&mut *transaction).await {
            Ok(_) => transaction.commit().await?,
            Err(error) if is_in_use(&error) => {
                tracing::info!(table = name, "a day of logs is over and being read: it goes later");
                break;
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(table = name, "a day of logs is over its retention and dropped");
    }
    Ok(())
}

/// Whether it is a lock that could not be had.
fn is_in_use(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some("55P03")
}

/// Names of a log's tables.
async fn days_of(connection: &mut PgConnection, log: Log) -> Result<HashSet<String>, Fault> {
    let children = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = $1::text::regclass";
    let rows = sqlx::query(children).bind(log.table).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, sqlx::Error>>()?)
}

/// Writes all entries; makes days first where one is missing.
pub(super) async fn put(
    pool: &PgPool,
    entries: &Entries,
    now: Timestamp,
    written: &mut Written,
) -> Result<(), Fault> {
    match put_all(pool, entries, now, written).await {
        Err(error) if lacks_day(&error) => {
            keep_days(pool, now).await?;
            written.refused.clear();
            Ok(put_all(pool, entries, now, written).await?)
        }
        done => Ok(done?),
    }
}

async fn put_all(
    pool: &PgPool,
    entries: &Entries,
    now: Timestamp,
    written: &mut Written,
) -> Result<(), sqlx::Error> {
    put_rows(pool, &entries.attempts, now, written).await?;
    put_rows(pool, &entries.errors, now, written).await?;
    put_rows(pool, &entries.drops, now, written).await
}

/// A row of one of the logs.
trait Entry: Sized + Sync {
    const LOG: Log;
    /// Most bytes of a statement.
    const BYTES_MAX: usize;
    fn id(&self) -> LogId;
    fn reported(&self) -> Timestamp;
    /// How much of a statement's bytes it takes; what is short beside that counts as nothing.
    fn bytes(&self) -> usize;
    /// Counts a new one.
    fn note(id: LogId, written: &mut Written);
    /// Inserts rows in one statement; gives the ids of those that are new.
    fn insert(
        pool: &PgPool,
        rows: &[Self],
        days: Vec<i32>,
        ids: Vec<Vec<u8>>,
    ) -> impl Future<Output = sqlx::Result<Vec<sqlx::postgres::PgRow>>> + Send;
}

/// Writes rows; of those that the database refuses, halves are tried again until each is alone. What a statement wrote is
/// noted before the next one: it is not told of again.
async fn put_rows<E: Entry>(
    pool: &PgPool,
    rows: &[E],
    now: Timestamp,
    written: &mut Written,
) -> Result<(), sqlx::Error> {
    let mut left: Vec<&[E]> = groups(rows);
    while let Some(group) = left.pop() {
        let days = group.iter().map(|row| small(E::LOG.day_of(row.reported(), now)));
        let ids = group.iter().map(|row| row.id().to_vec());
        match E::insert(pool, group, days.collect(), ids.collect()).await {
            Ok(new) => {
                for row in new {
                    let id: &[u8] = row.try_get(0)?;
                    if let Some(id) = LogId::from_slice(id) {
                        E::note(id, written);
                    }
                }
            }
            Err(error) if !refuses_row(&error) => return Err(error),
            Err(error) if group.len() == 1 => {
                written.refused.push((group[0].id(), error.to_string()));
            }
            Err(_) => {
                let (first, second) = group.split_at(group.len() / 2);
                left.extend([second, first]);
            }
        }
    }
    Ok(())
}

/// Cuts rows into groups for a statement each, the last one first.
fn groups<E: Entry>(rows: &[E]) -> Vec<&[E]> {
    let mut groups = Vec::new();
    let mut rest = rows;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take(ROWS_MAX).take_while(|row| {
            bytes += row.bytes();
            bytes <= E::BYTES_MAX
        });
        let (group, others) = rest.split_at(fitting.count().max(1));
        groups.push(group);
        rest = others;
    }
    groups.reverse();
    groups
}

/// Whether it is a row that is wrong, not the database: data exceptions, broken constraints, program limits
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn refuses_row(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        && !lacks_day(error)
}

fn lacks_day(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| {
        error.code().as_deref() == Some("23514") && error.message().contains("no partition")
    })
}

fn small(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

fn joined(ids: &[String]) -> String {
    ids.join(&ID_SEPARATOR.to_string())
}

fn column<E, T>(rows: &[E], value: impl Fn(&E) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

impl Entry for AttemptEntry {
    const LOG: Log = days::ATTEMPTS;
    const BYTES_MAX: usize = ID_BYTES_MAX;

    fn id(&self) -> LogId {
        self.id
    }

    fn reported(&self) -> Timestamp {
        self.reported
    }

    fn bytes(&self) -> usize {
        self.event_ids.iter().map(String::len).sum()
    }

    fn note(_: LogId, written: &mut Written) {
        written.attempts += 1;
    }

    async fn insert(
        pool: &PgPool,
        rows: &[Self],
        days: Vec<i32>,
        ids: Vec<Vec<u8>>,
    ) -> sqlx::Result<Vec<sqlx::postgres::PgRow>> {
        let insert = "INSERT INTO delivery_attempts (day, id, account, sink, duration_ms, outcome,
              http_status, error_code, attempt, detail, event_ids)
            SELECT day, id, account, sink, duration_ms, outcome, http_status, error_code, attempt, detail,
              string_to_array(event_ids, chr(31))
            FROM UNNEST($1::int[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[], $6::int[],
              $7::int[], $8::int[], $9::bigint[], $10::text[], $11::text[])
              AS t (day, id, account, sink, duration_ms, outcome, http_status, error_code, attempt, detail, event_ids)
            ON CONFLICT DO NOTHING RETURNING id";
        sqlx::query(insert)
            .bind(days)
            .bind(ids)
            .bind(column(rows, |row| row.account.as_u128().to_be_bytes().to_vec()))
            .bind(column(rows, |row| row.sink.as_u128().to_be_bytes().to_vec()))
            .bind(column(rows, |row| i64::try_from(row.duration.as_millis()).unwrap_or(i64::MAX)))
            .bind(column(rows, |row| small(result_number(row.result))))
            .bind(column(rows, |row| i32::from(row.http_status)))
            .bind(column(rows, |row| small(row.error_code)))
            .bind(column(rows, |row| i64::from(row.attempt)))
            .bind(column(rows, |row| row.detail.clone()))
            .bind(column(rows, |row| joined(&row.event_ids)))
            .fetch_all(pool)
            .await
    }
}

impl Entry for ErrorEntry {
    const LOG: Log = days::ERRORS;
    const BYTES_MAX: usize = ID_BYTES_MAX;

    fn id(&self) -> LogId {
        self.id
    }

    fn reported(&self) -> Timestamp {
        self.reported
    }

    fn bytes(&self) -> usize {
        self.event_ids.iter().map(String::len).sum()
    }

    fn note(id: LogId, written: &mut Written) {
        written.errors.insert(id);
    }

    async fn insert(
        pool: &PgPool,
        rows: &[Self],
        days: Vec<i32>,
        ids: Vec<Vec<u8>>,
    ) -> sqlx::Result<Vec<sqlx::postgres::PgRow>> {
        let insert = "INSERT INTO error_logs (day, id, account, sink, error_code, http_status,
              attempt, detail, event_ids)
            SELECT day, id, account, sink, error_code, http_status, attempt, detail,
              string_to_array(event_ids, chr(31))
            FROM UNNEST($1::int[], $2::bytea[], $3::bytea[], $4::bytea[], $5::int[], $6::int[],
              $7::bigint[], $8::text[], $9::text[])
              AS t (day, id, account, sink, error_code, http_status, attempt, detail, event_ids)
            ON CONFLICT DO NOTHING RETURNING id";
        sqlx::query(insert)
            .bind(days)
            .bind(ids)
            .bind(column(rows, |row| row.account.as_u128().to_be_bytes().to_vec()))
            .bind(column(rows, |row| row.sink.as_u128().to_be_bytes().to_vec()))
            .bind(column(rows, |row| small(row.error_code)))
            .bind(column(rows, |row| i32::from(row.http_status)))
            .bind(column(rows, |row| i64::from(row.attempt)))
            .bind(column(rows, |row| row.detail.clone()))
            .bind(column(rows, |row| joined(&row.event_ids)))
            .fetch_all(pool)
            .await
    }
}

impl Entry for DropEntry {
    const LOG: Log = days::DROPS;
    const BYTES_MAX: usize = EVENT_BYTES_MAX;

    fn id(&self) -> LogId {
        self.id
    }

    fn reported(&self) -> Timestamp {
        self.reported
    }

    fn bytes(&self) -> usize {
        self.event.as_ref().map_or(0, bytes::Bytes::len)
    }

    fn note(id: LogId, written: &mut Written) {
        written.drops.insert(id);
    }

    async fn insert(
        pool: &PgPool,
        rows: &[Self],
        days: Vec<i32>,
        ids: Vec<Vec<u8>>,
    ) -> sqlx::Result<Vec<sqlx::postgres::PgRow>> {
        let insert = "INSERT INTO dropped_events (day, id, account, sink, event_id, event_type,
              accepted, reason, error_code, schema_version, size, event)
            SELECT * FROM UNNEST($1::int[], $2::bytea[], $3::bytea[], $4::bytea[], $5::text[], $6::text[],
              $7::bigint[], $8::int[], $9::int[], $10::bigint[], $11::bigint[], $12::bytea[])
            ON CONFLICT DO NOTHING RETURNING id";
        sqlx::query(insert)
            .bind(days)
            .bind(ids)
            .bind(column(rows, |row| row.account.as_u128().to_be_bytes().to_vec()))
            .bind(column(rows, |row| row.sink.as_u128().to_be_bytes().to_vec()))
            .bind(column(rows, |row| row.event_id.clone()))
            .bind(column(rows, |row| row.event_type.clone()))
            .bind(column(rows, |row| row.accepted.as_millis()))
            .bind(column(rows, |row| small(cause_number(row.cause))))
            .bind(column(rows, |row| small(row.error_code)))
            .bind(column(rows, |row| i64::from(row.schema_version)))
            .bind(column(rows, |row| i64::from(row.size)))
            .bind(column(rows, |row| row.event.as_ref().map(|event| event.to_vec())))
            .fetch_all(pool)
            .await
    }
}

#[cfg(test)]
mod tests;
