//! The configuration as it was: what the change log tells of a time, and how it is shortened.

use millrace_domain::{AccountSid, Timestamp, schema::EventType};
use sqlx::Row as _;

use super::{Fault, SqlStore, changes};
use crate::{Changed, Past, Resource};

/// The last change of each resource of an account up to a time.
const ACCOUNT: &str = "SELECT c.seq, c.sealed FROM changes AS c
     WHERE c.kind IN ('account', 'sink', 'subscription') AND c.at <= $2
       AND (c.kind, c.key) IN (SELECT kind, key FROM changes
             WHERE account = $1 AND kind IN ('account', 'sink', 'subscription'))
       AND NOT EXISTS (SELECT 1 FROM changes AS newer
             WHERE newer.kind = c.kind AND newer.key = c.key AND newer.seq > c.seq AND newer.at <= $2)
     ORDER BY c.seq";
const EVENT_TYPE: &str = "SELECT seq, sealed FROM changes
     WHERE kind = 'event_type' AND key = $1 AND at <= $2 ORDER BY seq DESC LIMIT 1";
/// Changes that tell nothing of any time since `$1`: a newer one of the same resource was in force then, or it was gone.
const NEEDLESS: &str = "changes.at < $1 AND (changes.removed = 1 OR EXISTS
     (SELECT 1 FROM changes AS newer WHERE newer.kind = changes.kind AND newer.key = changes.key
         AND newer.seq > changes.seq AND newer.at < $1))";

pub(super) async fn account_at(
    store: &SqlStore,
    account: AccountSid,
    at: Timestamp,
) -> Result<Past, Fault> {
    let query = sqlx::query(ACCOUNT).bind(account.to_string()).bind(at.as_millis());
    let rows = query.fetch_all(&store.pool).await?;
    let mut past = Past::default();
    for row in &rows {
        let change = changes::change_of(row, &store.keyring)?;
        past.seq = past.seq.max(change.seq);
        if let Changed::Upserted(resource) = change.changed {
            past.resources.push(resource);
        }
    }
    Ok(past)
}

pub(super) async fn event_type_at(
    store: &SqlStore,
    name: &str,
    at: Timestamp,
) -> Result<Option<EventType>, Fault> {
    let query = sqlx::query(EVENT_TYPE).bind(name.to_owned()).bind(at.as_millis());
    let Some(row) = query.fetch_optional(&store.pool).await? else { return Ok(None) };
    match changes::change_of(&row, &store.keyring)?.changed {
        Changed::Upserted(Resource::EventType(event_type)) => Ok(Some(event_type)),
        _ => Ok(None),
    }
}

pub(super) async fn compact(store: &SqlStore, before: Timestamp, limit: u32) -> Result<u64, Fault> {
    // Looked for without a turn, which writers would wait for.
    let find = format!("SELECT seq FROM changes WHERE {NEEDLESS} ORDER BY seq LIMIT $2");
    let found = sqlx::query(sqlx::AssertSqlSafe(find))
        .bind(before.as_millis())
        .bind(i64::from(limit))
        .fetch_all(&store.pool)
        .await?;
    let Some(last) = found.last() else { return Ok(0) };
    let last: i64 = last.try_get("seq")?;
    let mut write = store.write().await?;
    let delete = format!("DELETE FROM changes WHERE seq <= $2 AND {NEEDLESS}");
    let delete = sqlx::query(sqlx::AssertSqlSafe(delete)).bind(before.as_millis()).bind(last);
    let gone = delete.execute(write.connection()).await?.rows_affected();
    sqlx::query("UPDATE meta SET compacted_through = $1 WHERE compacted_through < $1")
        .bind(last)
        .execute(write.connection())
        .await?;
    write.commit_quietly().await?;
    Ok(gone)
}

pub(super) async fn is_compacted(store: &SqlStore) -> Result<bool, Fault> {
    let row = sqlx::query("SELECT compacted_through FROM meta").fetch_one(&store.pool).await?;
    Ok(row.try_get::<i64, _>("compacted_through")? > 0)
}
