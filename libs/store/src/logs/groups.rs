//! Problems counted by sink and code, and sinks that fail: small tables that replicas share, each row under its lock.

use std::collections::HashMap;

use millrace_domain::{
    AccountSid, SinkSid, Timestamp,
    error_group::{ErrorGroup, QUIET, TELL_AFTER},
};
use sqlx::{Any, Transaction, any::AnyRow};

use super::{
    ErrorCount, ErrorNotice, FailingSink, SqlLogs,
    query::{self, Argument, Statement},
    sql::Rows,
};
use crate::sql::Fault;

/// Most groups that one look tells of.
const DUE_MAX: i64 = 1_000;
const COLUMNS: &str = "SELECT sink, code, account, count, told, told_at, last_at FROM error_groups";

fn sid(sid: u128) -> Argument {
    Argument::Bytes(sid.to_be_bytes().to_vec())
}

impl SqlLogs {
    /// Begins to change; what it reads then is locked.
    async fn change(&self) -> Result<Transaction<'static, Any>, Fault> {
        Ok(match self.rows {
            Rows::Postgres(_) => self.kept.begin().await?,
            Rows::Sqlite(_) => self.kept.begin_with("BEGIN IMMEDIATE").await?,
        })
    }

    /// Ends a statement that reads what is to be changed. Others' rows are waited for, or left out.
    fn lock(&self, statement: &mut Statement, skips: bool) {
        if matches!(self.rows, Rows::Postgres(_)) {
            statement.say(if skips { " FOR UPDATE SKIP LOCKED" } else { " FOR UPDATE" });
        }
    }
}

pub(super) async fn count(
    logs: &SqlLogs,
    found: &[ErrorCount],
    now: Timestamp,
) -> Result<Vec<ErrorNotice>, Fault> {
    let mut found: Vec<_> = found.iter().collect();
    // All callers lock in the same order.
    found.sort_by_key(|count| (count.sink, count.code));
    let mut transaction = logs.change().await?;
    let mut notices = Vec::new();
    for counts in found.chunks(500) {
        let groups = locked(logs, &mut transaction, counts).await?;
        let mut put = upsert();
        for (index, count) in counts.iter().enumerate() {
            let mut group = groups.get(&(count.sink, count.code)).copied().unwrap_or_default();
            if group.add(count.more, now) {
                notices.push(ErrorNotice {
                    account: count.account,
                    sink: count.sink,
                    code: count.code,
                    group,
                });
            }
            push_group(&mut put, index, count, group);
        }
        put.say(
            " ON CONFLICT (sink, code) DO UPDATE SET count = excluded.count, told = excluded.told,
              told_at = excluded.told_at, last_at = excluded.last_at",
        );
        put.query().execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(notices)
}

fn upsert() -> Statement {
    Statement::new(
        "INSERT INTO error_groups (sink, code, account, count, told, told_at, last_at) VALUES"
            .to_owned(),
    )
}

fn push_group(to: &mut Statement, index: usize, count: &ErrorCount, group: ErrorGroup) {
    let number = |n: u64| Argument::Number(i64::try_from(n).unwrap_or(i64::MAX));
    to.say(if index == 0 { " (" } else { ", (" });
    to.push("?", sid(count.sink.as_u128()));
    to.push(", ?", Argument::Number(i64::from(count.code)));
    to.push(", ?", sid(count.account.as_u128()));
    to.push(", ?", number(group.count));
    to.push(", ?", number(group.told));
    to.push(", ?", Argument::Number(group.told_at.as_millis()));
    to.push(", ?", Argument::Number(group.last_at.as_millis()));
    to.say(")");
}

/// The groups as they are, locked; those that are not there are made, so that they can be.
async fn locked(
    logs: &SqlLogs,
    transaction: &mut Transaction<'static, Any>,
    counts: &[&ErrorCount],
) -> Result<HashMap<(SinkSid, u32), ErrorGroup>, Fault> {
    let mut make = upsert();
    for (index, count) in counts.iter().enumerate() {
        push_group(&mut make, index, count, ErrorGroup::default());
    }
    make.say(" ON CONFLICT (sink, code) DO NOTHING");
    make.query().execute(&mut **transaction).await?;
    let mut select = Statement::new(COLUMNS.to_owned());
    for (index, count) in counts.iter().enumerate() {
        let word = if index == 0 { " WHERE (sink = ?" } else { " OR (sink = ?" };
        select.push(word, sid(count.sink.as_u128()));
        select.push(" AND code = ?)", Argument::Number(i64::from(count.code)));
    }
    select.say(" ORDER BY sink, code");
    logs.lock(&mut select, false);
    let rows = select.query().fetch_all(&mut **transaction).await?;
    let notices = rows.iter().map(notice_of);
    notices.map(|notice| notice.map(|n| ((n.sink, n.code), n.group))).collect()
}

pub(super) async fn due(logs: &SqlLogs, now: Timestamp) -> Result<Vec<ErrorNotice>, Fault> {
    let ago = |time: std::time::Duration| {
        Argument::Number(now.as_millis() - i64::try_from(time.as_millis()).unwrap_or(0))
    };
    let mut transaction = logs.change().await?;
    let mut select = Statement::new(COLUMNS.to_owned());
    select.push(" WHERE count > told AND told_at <= ?", ago(TELL_AFTER));
    select.push(" LIMIT ?", Argument::Number(DUE_MAX));
    logs.lock(&mut select, true);
    let mut notices = Vec::new();
    for row in select.query().fetch_all(&mut *transaction).await? {
        let mut notice = notice_of(&row)?;
        if notice.group.tell(now) {
            let mut update = Statement::new("UPDATE error_groups".to_owned());
            update.push(" SET told = count, told_at = ?", Argument::Number(now.as_millis()));
            update.push(" WHERE sink = ?", sid(notice.sink.as_u128()));
            update.push(" AND code = ?", Argument::Number(i64::from(notice.code)));
            update.query().execute(&mut *transaction).await?;
            notices.push(notice);
        }
    }
    let mut quiet = Statement::new("DELETE FROM error_groups WHERE count = told".to_owned());
    quiet.push(" AND last_at < ?", ago(QUIET));
    quiet.query().execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(notices)
}

fn notice_of(row: &AnyRow) -> Result<ErrorNotice, Fault> {
    Ok(ErrorNotice {
        account: AccountSid::from_u128(query::sid(row, "account")?),
        sink: SinkSid::from_u128(query::sid(row, "sink")?),
        code: query::number(row, "code")?,
        group: ErrorGroup {
            count: query::number(row, "count")?,
            told: query::number(row, "told")?,
            told_at: Timestamp::from_millis(query::number(row, "told_at")?),
            last_at: Timestamp::from_millis(query::number(row, "last_at")?),
        },
    })
}

pub(super) async fn fails(logs: &SqlLogs, failing: FailingSink) -> Result<(), Fault> {
    let mut put = Statement::new("INSERT INTO failing_sinks (sink, account, since)".to_owned());
    put.push(" VALUES (?", sid(failing.sink.as_u128()));
    put.push(", ?", sid(failing.account.as_u128()));
    put.push(", ?)", Argument::Number(failing.since.as_millis()));
    put.say(" ON CONFLICT (sink) DO UPDATE SET since = excluded.since WHERE failing_sinks.since < excluded.since");
    put.query().execute(&logs.kept).await?;
    Ok(())
}

pub(super) async fn answers(logs: &SqlLogs, sinks: &[SinkSid]) -> Result<(), Fault> {
    for sinks in sinks.chunks(1_000) {
        let mut delete = Statement::new("DELETE FROM failing_sinks WHERE sink IN".to_owned());
        for (index, sink) in sinks.iter().enumerate() {
            delete.push(if index == 0 { " (?" } else { ", ?" }, sid(sink.as_u128()));
        }
        delete.say(")");
        delete.query().execute(&logs.kept).await?;
    }
    Ok(())
}

pub(super) async fn failing(logs: &SqlLogs) -> Result<Vec<FailingSink>, Fault> {
    let rows = sqlx::query("SELECT sink, account, since FROM failing_sinks ORDER BY since")
        .fetch_all(&logs.kept)
        .await?;
    let of = |row: &AnyRow| {
        Ok(FailingSink {
            sink: SinkSid::from_u128(query::sid(row, "sink")?),
            account: AccountSid::from_u128(query::sid(row, "account")?),
            since: Timestamp::from_millis(query::number(row, "since")?),
        })
    };
    rows.iter().map(of).collect()
}
