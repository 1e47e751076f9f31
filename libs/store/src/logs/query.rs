//! SQL whose conditions depend on what is asked: text and arguments side by side.

use bytes::Bytes;
use millrace_domain::{AccountSid, SinkSid, Timestamp};
use sqlx::{
    Any, AssertSqlSafe, Row as _,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use super::{
    AttemptEntry, AttemptResult, DropCause, DropEntry, ErrorEntry, LogId, LogQuery,
    days::{self, Log},
};
use crate::{Page, sql::Fault};

/// Parts the ids in a text of several: ids have no control characters.
pub(super) const ID_SEPARATOR: char = '\u{1f}';

/// An argument.
pub(super) enum Argument {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// No bytes.
    Nothing,
}

/// A statement under way.
pub(super) struct Statement {
    sql: String,
    arguments: Vec<Argument>,
}

impl Statement {
    pub(super) fn new(sql: String) -> Self {
        Self { sql, arguments: Vec::new() }
    }

    /// Adds text; `?` in it is the argument.
    pub(super) fn push(&mut self, text: &str, argument: Argument) {
        self.arguments.push(argument);
        self.sql.push_str(&text.replace('?', &format!("${}", self.arguments.len())));
    }

    /// Adds text without an argument.
    pub(super) fn say(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    /// Adds a list of ids in brackets.
    pub(super) fn push_ids<'a>(&mut self, ids: impl IntoIterator<Item = &'a LogId>) {
        for (index, id) in ids.into_iter().enumerate() {
            self.push(if index == 0 { " (?" } else { ", ?" }, Argument::Bytes(id.to_vec()));
        }
        self.say(")");
    }

    /// Selects no more than the sizes of what it selects.
    pub(super) fn sizes(self) -> Self {
        let sql = format!("SELECT size FROM ({}) AS asked ORDER BY id", self.sql);
        Self { sql, ..self }
    }

    /// The statement, to be executed. Its text is ours, what was given is in its arguments.
    pub(super) fn query(self) -> Query<'static, Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(self.sql));
        self.arguments.into_iter().fold(query, |query, argument| match argument {
            Argument::Number(number) => query.bind(number),
            Argument::Text(text) => query.bind(text),
            Argument::Bytes(bytes) => query.bind(bytes),
            Argument::Nothing => query.bind(None::<Vec<u8>>),
        })
    }
}

/// Whether events are named by an array or by a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    Array,
    Text,
}

impl Ids {
    /// What is selected to read them.
    fn column(self) -> &'static str {
        match self {
            Self::Array => "array_to_string(event_ids, chr(31)) AS event_ids",
            Self::Text => "event_ids",
        }
    }

    /// The condition that one of them is `?`.
    fn contain(self) -> &'static str {
        match self {
            Self::Array => " AND ? = ANY(event_ids)",
            Self::Text => {
                " AND instr(char(31) || event_ids || char(31), char(31) || ? || char(31)) > 0"
            }
        }
    }
}

/// What all three logs are asked for.
fn conditions(statement: &mut Statement, asked: &LogQuery) {
    let bytes = |sid: u128| Argument::Bytes(sid.to_be_bytes().to_vec());
    statement.push(" WHERE account = ?", bytes(asked.account.as_u128()));
    if let Some(sink) = asked.sink {
        statement.push(" AND sink = ?", bytes(sink.as_u128()));
    }
    // A day before and after: what is reported just after midnight happened before.
    if let Some(since) = asked.since {
        statement.push(" AND id >= ?", Argument::Bytes(LogId::first_at(since).to_vec()));
        statement.push(" AND day >= ?", Argument::Number(days::day(since) - 1));
    }
    if let Some(until) = asked.until {
        statement.push(" AND id < ?", Argument::Bytes(LogId::first_at(until).to_vec()));
        statement.push(" AND day <= ?", Argument::Number(days::day(until) + 1));
    }
}

fn newest_first(statement: &mut Statement, page: &Page<LogId>) {
    if let Some(after) = page.after {
        statement.push(" AND id < ?", Argument::Bytes(after.to_vec()));
    }
    statement.push(" ORDER BY id DESC LIMIT ?", Argument::Number(i64::from(page.limit)));
}

fn select(columns: &str, log: Log) -> Statement {
    Statement::new(format!("SELECT {columns} FROM {}", log.table))
}

/// Requests, newest first.
pub(super) fn attempts(asked: &LogQuery, page: &Page<LogId>, ids: Ids) -> Statement {
    let columns =
        "day, id, account, sink, duration_ms, outcome, http_status, error_code, attempt, detail";
    let mut statement = select(&format!("{columns}, {}", ids.column()), days::ATTEMPTS);
    conditions(&mut statement, asked);
    if let Some(result) = asked.result {
        statement.push(" AND outcome = ?", Argument::Number(result_number(result)));
    }
    if let Some(code) = asked.error_code {
        statement.push(" AND error_code = ?", Argument::Number(i64::from(code)));
    }
    if let Some(id) = &asked.event_id {
        statement.push(ids.contain(), Argument::Text(id.clone()));
    }
    newest_first(&mut statement, page);
    statement
}

/// Problems, newest first.
pub(super) fn errors(asked: &LogQuery, page: &Page<LogId>, ids: Ids) -> Statement {
    let columns = "day, id, account, sink, http_status, error_code, attempt, detail";
    let mut statement = select(&format!("{columns}, {}", ids.column()), days::ERRORS);
    conditions(&mut statement, asked);
    if let Some(code) = asked.error_code {
        statement.push(" AND error_code = ?", Argument::Number(i64::from(code)));
    }
    if let Some(id) = &asked.event_id {
        statement.push(ids.contain(), Argument::Text(id.clone()));
    }
    newest_first(&mut statement, page);
    statement
}

/// Drops: newest first, or, with their events, oldest first and only those that are kept.
pub(super) fn drops(asked: &LogQuery, page: &Page<LogId>, with_events: bool) -> Statement {
    let columns = "day, id, account, sink, event_id, event_type, accepted, reason, error_code, schema_version, size,
        CASE WHEN event IS NULL THEN 0 ELSE 1 END AS kept, resent";
    let mut statement = if with_events {
        select(&format!("{columns}, event"), days::DROPS)
    } else {
        select(columns, days::DROPS)
    };
    conditions(&mut statement, asked);
    if let Some(cause) = asked.cause {
        statement.push(" AND reason = ?", Argument::Number(cause_number(cause)));
    }
    if let Some(code) = asked.error_code {
        statement.push(" AND error_code = ?", Argument::Number(i64::from(code)));
    }
    if let Some(id) = &asked.event_id {
        statement.push(" AND event_id = ?", Argument::Text(id.clone()));
    }
    match asked.resent {
        Some(true) => statement.say(" AND resent IS NOT NULL"),
        Some(false) => statement.say(" AND resent IS NULL"),
        None => {}
    }
    if with_events {
        if let Some(after) = page.after {
            statement.push(" AND id > ?", Argument::Bytes(after.to_vec()));
        }
        statement.say(" AND event IS NOT NULL");
        statement.push(" ORDER BY id LIMIT ?", Argument::Number(i64::from(page.limit)));
    } else {
        newest_first(&mut statement, page);
    }
    statement
}

pub(super) fn attempt_of(row: &AnyRow) -> Result<AttemptEntry, Fault> {
    Ok(AttemptEntry {
        id: id(row)?,
        reported: reported(row)?,
        account: AccountSid::from_u128(sid(row, "account")?),
        sink: SinkSid::from_u128(sid(row, "sink")?),
        duration: std::time::Duration::from_millis(number(row, "duration_ms")?),
        result: match number::<i64>(row, "outcome")? {
            1 => AttemptResult::Delivered,
            2 => AttemptResult::Retry,
            _ => AttemptResult::Discard,
        },
        http_status: number(row, "http_status")?,
        error_code: number(row, "error_code")?,
        attempt: number(row, "attempt")?,
        detail: row.try_get("detail")?,
        event_ids: event_ids(row)?,
    })
}

pub(super) fn error_of(row: &AnyRow) -> Result<ErrorEntry, Fault> {
    Ok(ErrorEntry {
        id: id(row)?,
        reported: reported(row)?,
        account: AccountSid::from_u128(sid(row, "account")?),
        sink: SinkSid::from_u128(sid(row, "sink")?),
        error_code: number(row, "error_code")?,
        http_status: number(row, "http_status")?,
        attempt: number(row, "attempt")?,
        detail: row.try_get("detail")?,
        event_ids: event_ids(row)?,
    })
}

pub(super) fn drop_of(row: &AnyRow, with_events: bool) -> Result<DropEntry, Fault> {
    let event: Option<Vec<u8>> = if with_events { row.try_get("event")? } else { None };
    let resent: Option<i64> = row.try_get("resent")?;
    Ok(DropEntry {
        id: id(row)?,
        reported: reported(row)?,
        account: AccountSid::from_u128(sid(row, "account")?),
        sink: SinkSid::from_u128(sid(row, "sink")?),
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        accepted: Timestamp::from_millis(row.try_get("accepted")?),
        cause: match number::<i64>(row, "reason")? {
            1 => DropCause::Rejected,
            2 => DropCause::Expired,
            3 => DropCause::SinkDeleted,
            4 => DropCause::AccountClosed,
            _ => DropCause::Undeliverable,
        },
        error_code: number(row, "error_code")?,
        schema_version: number(row, "schema_version")?,
        size: number(row, "size")?,
        kept: number::<i64>(row, "kept")? == 1,
        event: event.map(Bytes::from),
        resent: resent.map(Timestamp::from_millis),
    })
}

/// How a result is stored.
pub(super) fn result_number(result: AttemptResult) -> i64 {
    match result {
        AttemptResult::Delivered => 1,
        AttemptResult::Retry => 2,
        AttemptResult::Discard => 3,
    }
}

/// How a cause is stored.
pub(super) fn cause_number(cause: DropCause) -> i64 {
    match cause {
        DropCause::Rejected => 1,
        DropCause::Expired => 2,
        DropCause::SinkDeleted => 3,
        DropCause::AccountClosed => 4,
        DropCause::Undeliverable => 5,
    }
}

pub(super) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<T, Fault>
where
    T::Error: Into<sqlx::error::BoxDynError>,
{
    let number: i64 = row.try_get(column)?;
    number.try_into().map_err(|error: T::Error| broken(column, error))
}

pub(super) fn sid(row: &AnyRow, column: &str) -> Result<u128, Fault> {
    let bytes: Vec<u8> = row.try_get(column)?;
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| broken(column, "is not 16 bytes"))?;
    Ok(u128::from_be_bytes(bytes))
}

pub(super) fn id(row: &AnyRow) -> Result<LogId, Fault> {
    let bytes: Vec<u8> = row.try_get("id")?;
    LogId::from_slice(&bytes).ok_or_else(|| broken("id", "is not 16 bytes"))
}

/// When an entry was reported is not kept, but for the day.
fn reported(row: &AnyRow) -> Result<Timestamp, Fault> {
    let day: i64 = row.try_get("day")?;
    Ok(Timestamp::from_millis(day * 24 * 3600 * 1000))
}

fn event_ids(row: &AnyRow) -> Result<Vec<String>, Fault> {
    let text: String = row.try_get("event_ids")?;
    let ids = text.split(ID_SEPARATOR).filter(|id| !id.is_empty());
    Ok(ids.map(str::to_owned).collect())
}

fn broken(column: &str, source: impl Into<sqlx::error::BoxDynError>) -> Fault {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: source.into() }.into()
}
