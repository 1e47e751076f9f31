//! Sinks and their tombstones.

use millrace_domain::{
    AccountSid, ConfigVersion, Secret, Sink, SinkConfiguration, SinkSid, SinkStatus, SinkUpdate,
    Timestamp, sink::Headers,
};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{
    Fault, SqlStore, accounts,
    rows::{self, already_exists, not_found},
    transaction::Write,
};
use crate::{Changed, Error, Keyring, Page, Resource, SinkFilter};

/// What of a sink is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    configuration: SinkConfiguration,
    #[serde(default)]
    headers: Headers,
    signing_secret: Secret,
}

fn select(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT sid, account, description, status, delivery, sealed, created, updated
           FROM sinks {rest}"
    ))
}

fn place(sid: SinkSid) -> String {
    format!("sinks/{sid}")
}

fn sink_of(row: &AnyRow, keyring: &Keyring) -> Result<Sink, Fault> {
    let sid = rows::parsed(row, "sid")?;
    let place = place(sid);
    let sealed: &[u8] = row.try_get("sealed")?;
    let Sealed { configuration, headers, signing_secret } =
        rows::opened(&place, &keyring.open(&place, sealed)?)?;
    Ok(Sink {
        sid,
        account: rows::parsed(row, "account")?,
        description: row.try_get("description")?,
        configuration,
        headers,
        delivery: rows::json(row, "delivery")?,
        status: rows::word(row, "status")?,
        signing_secret,
        created: rows::time(row, "created")?,
        updated: rows::time(row, "updated")?,
    })
}

pub(super) async fn create(
    store: &SqlStore,
    sink: &Sink,
    limit: u32,
) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    let sid = sink.sid.to_string();
    if rows::exists(write.connection(), "SELECT 1 FROM sinks WHERE sid = $1", &sid).await? {
        return Err(already_exists(sink.sid).into());
    }
    accounts::must_be_open(write.connection(), sink.account).await?;
    let count = "SELECT count(*) AS n FROM sinks WHERE account = $1 AND deleted IS NULL";
    let row =
        sqlx::query(count).bind(sink.account.to_string()).fetch_one(write.connection()).await?;
    if rows::number::<i64>(&row, "n")? >= i64::from(limit) {
        return Err(Error::LimitReached { limit }.into());
    }
    insert(store, &mut write, sink).await?;
    write.record(&Changed::Upserted(Resource::Sink(sink.clone()))).await?;
    write.commit().await
}

/// What of `sink` is sealed.
fn seal(sink: &Sink, keyring: &Keyring) -> Result<Vec<u8>, Fault> {
    let plain = rows::json_bytes(&Sealed {
        configuration: sink.configuration.clone(),
        headers: sink.headers.clone(),
        signing_secret: sink.signing_secret.clone(),
    })?;
    Ok(keyring.seal(&place(sink.sid), &plain))
}

async fn insert(store: &SqlStore, write: &mut Write<'_>, sink: &Sink) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO sinks
           (sid, account, description, sink_type, status, delivery, sealed, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(sink.sid.to_string())
    .bind(sink.account.to_string())
    .bind(sink.description.clone())
    .bind(sink.configuration.sink_type().as_str())
    .bind(sink.status.as_str())
    .bind(rows::json_text(&sink.delivery)?)
    .bind(seal(sink, &store.keyring)?)
    .bind(sink.created.as_millis())
    .bind(sink.updated.as_millis())
    .execute(write.connection())
    .await?;
    Ok(())
}

pub(super) async fn get(
    store: &SqlStore,
    account: Option<AccountSid>,
    sid: SinkSid,
) -> Result<Sink, Fault> {
    let mut connection = store.pool.acquire().await?;
    one(&mut connection, &store.keyring, account, sid).await
}

/// The status of an account's sink, unless it is deleted. Needs no key.
pub(super) async fn status(
    connection: &mut AnyConnection,
    account: AccountSid,
    sid: SinkSid,
) -> Result<SinkStatus, Fault> {
    let sql = "SELECT status FROM sinks WHERE sid = $1 AND account = $2 AND deleted IS NULL";
    let query = sqlx::query(sql).bind(sid.to_string()).bind(account.to_string());
    let row = query.fetch_optional(connection).await?;
    rows::word(&row.ok_or_else(|| not_found(sid))?, "status")
}

/// The sink, unless it is deleted or another account's.
async fn one(
    connection: &mut AnyConnection,
    keyring: &Keyring,
    account: Option<AccountSid>,
    sid: SinkSid,
) -> Result<Sink, Fault> {
    let row = sqlx::query(select("WHERE sid = $1 AND deleted IS NULL"))
        .bind(sid.to_string())
        .fetch_optional(connection)
        .await?;
    let sink = sink_of(&row.ok_or_else(|| not_found(sid))?, keyring)?;
    match account.is_none_or(|account| account == sink.account) {
        true => Ok(sink),
        false => Err(not_found(sid).into()),
    }
}

pub(super) async fn list(
    store: &SqlStore,
    account: AccountSid,
    filter: &SinkFilter,
    page: &Page<SinkSid>,
) -> Result<Vec<Sink>, Fault> {
    let rows = sqlx::query(select(
        "WHERE account = $1 AND deleted IS NULL AND sid > $2
           AND ($3 IS NULL OR status = $3)
           AND ($4 IS NULL OR ($4 = 1) = EXISTS
                 (SELECT 1 FROM subscriptions WHERE subscriptions.sink = sinks.sid))
         ORDER BY sid LIMIT $5",
    ))
    .bind(account.to_string())
    .bind(page.after.map_or_else(String::new, |sid| sid.to_string()))
    .bind(filter.status.map(SinkStatus::as_str))
    .bind(filter.in_use.map(i64::from))
    .bind(i64::from(page.limit))
    .fetch_all(&store.pool)
    .await?;
    rows.iter().map(|row| sink_of(row, &store.keyring)).collect()
}

pub(super) async fn update(
    store: &SqlStore,
    (account, sid): (AccountSid, SinkSid),
    update: &SinkUpdate,
    now: Timestamp,
) -> Result<(Sink, ConfigVersion), Fault> {
    let mut write = store.write().await?;
    let mut sink = one(write.connection(), &store.keyring, Some(account), sid).await?;
    update.apply(&mut sink, now);
    sqlx::query(
        "UPDATE sinks SET description = $2, status = $3, delivery = $4, sealed = $5, updated = $6
         WHERE sid = $1",
    )
    .bind(sid.to_string())
    .bind(sink.description.clone())
    .bind(sink.status.as_str())
    .bind(rows::json_text(&sink.delivery)?)
    .bind(seal(&sink, &store.keyring)?)
    .bind(now.as_millis())
    .execute(write.connection())
    .await?;
    write.record(&Changed::Upserted(Resource::Sink(sink.clone()))).await?;
    Ok((sink, write.commit().await?))
}

pub(super) async fn set_status(
    store: &SqlStore,
    (account, sid): (AccountSid, SinkSid),
    status: SinkStatus,
    now: Timestamp,
) -> Result<Option<ConfigVersion>, Fault> {
    let mut write = store.write().await?;
    let mut sink = one(write.connection(), &store.keyring, Some(account), sid).await?;
    if sink.status == status {
        return Ok(None);
    }
    (sink.status, sink.updated) = (status, now);
    sqlx::query("UPDATE sinks SET status = $2, updated = $3 WHERE sid = $1")
        .bind(sid.to_string())
        .bind(status.as_str())
        .bind(now.as_millis())
        .execute(write.connection())
        .await?;
    write.record(&Changed::Upserted(Resource::Sink(sink))).await?;
    write.commit().await.map(Some)
}

pub(super) async fn failed(store: &SqlStore) -> Result<Vec<SinkSid>, Fault> {
    let rows = sqlx::query("SELECT sid FROM sinks WHERE status = $1 AND deleted IS NULL")
        .bind(SinkStatus::Failed.as_str())
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(|row| rows::parsed(row, "sid")).collect()
}

pub(super) async fn delete(
    store: &SqlStore,
    (account, sid): (AccountSid, SinkSid),
    now: Timestamp,
) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    status(write.connection(), account, sid).await?;
    let used = "SELECT 1 FROM subscriptions WHERE sink = $1 LIMIT 1";
    if rows::exists(write.connection(), used, &sid.to_string()).await? {
        return Err(Error::InUse { what: format!("sink {sid}") }.into());
    }
    sqlx::query("UPDATE sinks SET deleted = $2, updated = $2, sealed = NULL WHERE sid = $1")
        .bind(sid.to_string())
        .bind(now.as_millis())
        .execute(write.connection())
        .await?;
    write.record(&Changed::Upserted(Resource::SinkTombstone(sid, account))).await?;
    write.commit().await
}

/// Deletes every sink of an account, whose subscriptions are gone; leaves tombstones.
pub(super) async fn delete_all(
    write: &mut Write<'_>,
    account: AccountSid,
    now: Timestamp,
) -> Result<(), Fault> {
    let deleted = sqlx::query(
        "UPDATE sinks SET deleted = $2, updated = $2, sealed = NULL
         WHERE account = $1 AND deleted IS NULL RETURNING sid",
    )
    .bind(account.to_string())
    .bind(now.as_millis())
    .fetch_all(write.connection())
    .await?;
    for row in &deleted {
        let tombstone = Resource::SinkTombstone(rows::parsed(row, "sid")?, account);
        write.record(&Changed::Upserted(tombstone)).await?;
    }
    Ok(())
}

pub(super) async fn forget(store: &SqlStore, before: Timestamp) -> Result<u64, Fault> {
    let mut write = store.write().await?;
    let rows = sqlx::query("DELETE FROM sinks WHERE deleted < $1 RETURNING sid")
        .bind(before.as_millis())
        .fetch_all(write.connection())
        .await?;
    let mut forgotten = 0;
    for row in &rows {
        write.record(&Changed::SinkForgotten(rows::parsed(row, "sid")?)).await?;
        forgotten += 1;
    }
    write.commit().await?;
    Ok(forgotten)
}

/// Every sink and tombstone.
pub(super) async fn all(
    connection: &mut AnyConnection,
    keyring: &Keyring,
) -> Result<Vec<Resource>, Fault> {
    let rows = sqlx::query(select("ORDER BY sid")).fetch_all(connection).await?;
    let resource = |row: &AnyRow| match row.try_get::<Option<&[u8]>, _>("sealed")? {
        Some(_) => sink_of(row, keyring).map(Resource::Sink),
        None => {
            Ok(Resource::SinkTombstone(rows::parsed(row, "sid")?, rows::parsed(row, "account")?))
        }
    };
    rows.iter().map(resource).collect()
}
