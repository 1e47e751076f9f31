//! What only SQLite does: a file of its own, days by a column, several rows a statement.

use std::{
    collections::HashSet,
    path::{self, Path},
};

use millrace_domain::Timestamp;
use sqlx::{AnyPool, ConnectOptions as _, Row as _, any::AnyRow, sqlite::SqliteConnectOptions};
use tokio::sync::Mutex;

use super::{
    Entries, LogId, SqlLogs, Written,
    days::{self, LOGS},
    query::{Argument, ID_SEPARATOR, Statement, cause_number, result_number},
    sql::Rows,
};
use crate::{
    OpenError, migrations,
    sql::Fault,
    sqlite::{CONNECTIONS, pool, probe},
};

/// Most rows a statement writes: 13 arguments each, of 32,766
/// (<https://www.sqlite.org/limits.html#max_variable_number>).
const ROWS_MAX: usize = 500;

/// Opens the logs in the file `path`, makes it if need be, and migrates it.
///
/// # Errors
/// [`OpenError::Connect`], [`OpenError::Migrate`].
pub async fn open(path: &Path) -> Result<SqlLogs, OpenError> {
    let path = path::absolute(path).map_err(|error| OpenError::Connect { source: error.into() })?;
    // sqlx unescapes `%` in a path and forgets to escape it.
    let path = path.to_string_lossy().replace('%', "%25");
    let url = SqliteConnectOptions::new().filename(path).create_if_missing(true).to_url_lossy();
    probe(url.as_str()).await.map_err(|error| OpenError::Connect { source: error.into() })?;
    on(pool(url.as_str(), CONNECTIONS).await?).await
}

/// Opens new logs in memory; they are gone with it.
///
/// # Errors
/// [`OpenError::Connect`], [`OpenError::Migrate`].
pub async fn open_ephemeral() -> Result<SqlLogs, OpenError> {
    on(pool("sqlite::memory:", 1).await?).await
}

async fn on(pool: AnyPool) -> Result<SqlLogs, OpenError> {
    let acquired = pool.acquire().await;
    let mut connection = acquired.map_err(|error| OpenError::Connect { source: error.into() })?;
    migrations::apply(&mut connection, migrations::SQLITE_LOGS).await?;
    drop(connection);
    Ok(SqlLogs { kept: pool.clone(), pool, rows: Rows::Sqlite(Mutex::default()) })
}

/// Forgets the days that are over.
pub(super) async fn keep_days(pool: &AnyPool, now: Timestamp) -> Result<(), Fault> {
    for log in LOGS {
        let mut delete = Statement::new(format!("DELETE FROM {}", log.table));
        delete.push(" WHERE day < ?", Argument::Number(log.oldest(now)));
        delete.query().execute(pool).await?;
    }
    Ok(())
}

/// Writes all entries in one transaction. SQLite refuses no row.
pub(super) async fn put(
    pool: &AnyPool,
    entries: &Entries,
    now: Timestamp,
    written: &mut Written,
) -> Result<(), Fault> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let (mut attempts, mut errors, mut drops) = (HashSet::new(), HashSet::new(), HashSet::new());
    for rows in entries.attempts.chunks(ROWS_MAX) {
        let mut insert = Statement::new(
            "INSERT INTO delivery_attempts (day, id, account, sink, duration_ms, outcome, http_status,
               error_code, attempt, detail, event_ids) VALUES"
                .to_owned(),
        );
        each(&mut insert, rows, |row| {
            vec![
                Argument::Number(days::ATTEMPTS.day_of(row.reported, now)),
                Argument::Bytes(row.id.to_vec()),
                sid(row.account.as_u128()),
                sid(row.sink.as_u128()),
                Argument::Number(i64::try_from(row.duration.as_millis()).unwrap_or(i64::MAX)),
                Argument::Number(result_number(row.result)),
                Argument::Number(i64::from(row.http_status)),
                Argument::Number(i64::from(row.error_code)),
                Argument::Number(i64::from(row.attempt)),
                Argument::Text(row.detail.clone()),
                Argument::Text(row.event_ids.join(&ID_SEPARATOR.to_string())),
            ]
        });
        note(&mut attempts, insert.query().fetch_all(&mut *transaction).await?)?;
    }
    for rows in entries.errors.chunks(ROWS_MAX) {
        let mut insert = Statement::new(
            "INSERT INTO error_logs (day, id, account, sink, error_code, http_status, attempt, detail,
               event_ids) VALUES"
                .to_owned(),
        );
        each(&mut insert, rows, |row| {
            vec![
                Argument::Number(days::ERRORS.day_of(row.reported, now)),
                Argument::Bytes(row.id.to_vec()),
                sid(row.account.as_u128()),
                sid(row.sink.as_u128()),
                Argument::Number(i64::from(row.error_code)),
                Argument::Number(i64::from(row.http_status)),
                Argument::Number(i64::from(row.attempt)),
                Argument::Text(row.detail.clone()),
                Argument::Text(row.event_ids.join(&ID_SEPARATOR.to_string())),
            ]
        });
        note(&mut errors, insert.query().fetch_all(&mut *transaction).await?)?;
    }
    for rows in entries.drops.chunks(ROWS_MAX) {
        let mut insert = Statement::new(
            "INSERT INTO dropped_events (day, id, account, sink, event_id, event_type, accepted, reason,
               error_code, schema_version, size, event) VALUES"
                .to_owned(),
        );
        each(&mut insert, rows, |row| {
            vec![
                Argument::Number(days::DROPS.day_of(row.reported, now)),
                Argument::Bytes(row.id.to_vec()),
                sid(row.account.as_u128()),
                sid(row.sink.as_u128()),
                Argument::Text(row.event_id.clone()),
                Argument::Text(row.event_type.clone()),
                Argument::Number(row.accepted.as_millis()),
                Argument::Number(cause_number(row.cause)),
                Argument::Number(i64::from(row.error_code)),
                Argument::Number(i64::from(row.schema_version)),
                Argument::Number(i64::from(row.size)),
                row.event
                    .as_ref()
                    .map_or(Argument::Nothing, |event| Argument::Bytes(event.to_vec())),
            ]
        });
        note(&mut drops, insert.query().fetch_all(&mut *transaction).await?)?;
    }
    transaction.commit().await?;
    written.attempts += attempts.len() as u64;
    written.errors.extend(errors);
    written.drops.extend(drops);
    Ok(())
}

/// Adds the arguments of each row in brackets, and that what is there stays.
fn each<T>(insert: &mut Statement, rows: &[T], arguments: impl Fn(&T) -> Vec<Argument>) {
    for (index, row) in rows.iter().enumerate() {
        insert.say(if index == 0 { " (" } else { ", (" });
        for (index, argument) in arguments(row).into_iter().enumerate() {
            insert.push(if index == 0 { "?" } else { ", ?" }, argument);
        }
        insert.say(")");
    }
    insert.say(" ON CONFLICT DO NOTHING RETURNING id");
}

fn sid(sid: u128) -> Argument {
    Argument::Bytes(sid.to_be_bytes().to_vec())
}

fn note(new: &mut HashSet<LogId>, rows: Vec<AnyRow>) -> Result<(), Fault> {
    for row in rows {
        let id: Vec<u8> = row.try_get("id")?;
        new.extend(LogId::from_slice(&id));
    }
    Ok(())
}
