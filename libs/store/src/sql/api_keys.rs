//! API keys of accounts.

use millrace_domain::{
    AccountSid, ApiKey, ApiKeySid, ConfigVersion, Timestamp, secret::SecretHash,
};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{
    Fault, SqlStore, accounts,
    rows::{self, already_exists, not_found},
    transaction::Write,
};
use crate::{Changed, Error, Page, Resource};

fn select(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT sid, account, friendly_name, secret_hash, access, created, updated
         FROM api_keys {rest}"
    ))
}

fn key_of(row: &AnyRow) -> Result<ApiKey, Fault> {
    let hash = SecretHash::from_bytes(row.try_get("secret_hash")?);
    let (created, updated) = (rows::time(row, "created")?, rows::time(row, "updated")?);
    Ok(ApiKey {
        sid: rows::parsed(row, "sid")?,
        account: rows::parsed(row, "account")?,
        friendly_name: row.try_get("friendly_name")?,
        secret_hash: hash.ok_or_else(|| sqlx::Error::Decode("not a SHA-256".into()))?,
        access: rows::word(row, "access")?,
        created,
        // What was made before this column has 0 in it.
        updated: updated.max(created),
    })
}

pub(super) async fn create(
    store: &SqlStore,
    key: &ApiKey,
    limit: u32,
) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    let (sid, account) = (key.sid.to_string(), key.account.to_string());
    if rows::exists(write.connection(), "SELECT 1 FROM api_keys WHERE sid = $1", &sid).await? {
        return Err(already_exists(key.sid).into());
    }
    accounts::must_be_open(write.connection(), key.account).await?;
    let count = "SELECT count(*) AS n FROM api_keys WHERE account = $1";
    let row = sqlx::query(count).bind(account.clone()).fetch_one(write.connection()).await?;
    if rows::number::<i64>(&row, "n")? >= i64::from(limit) {
        return Err(Error::LimitReached { limit }.into());
    }
    sqlx::query(
        "INSERT INTO api_keys (sid, account, friendly_name, secret_hash, access, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(sid)
    .bind(account)
    .bind(key.friendly_name.clone())
    .bind(key.secret_hash.as_bytes().to_vec())
    .bind(key.access.as_str())
    .bind(key.created.as_millis())
    .bind(key.updated.as_millis())
    .execute(write.connection())
    .await?;
    write.record(&Changed::Upserted(Resource::ApiKey(key.clone()))).await?;
    write.commit().await
}

pub(super) async fn get(store: &SqlStore, sid: ApiKeySid) -> Result<ApiKey, Fault> {
    let mut connection = store.pool.acquire().await?;
    one(&mut connection, None, sid).await
}

/// The key, unless it is another account's.
async fn one(
    connection: &mut AnyConnection,
    account: Option<AccountSid>,
    sid: ApiKeySid,
) -> Result<ApiKey, Fault> {
    let row = sqlx::query(select("WHERE sid = $1"))
        .bind(sid.to_string())
        .fetch_optional(connection)
        .await?;
    let key = key_of(&row.ok_or_else(|| not_found(sid))?)?;
    match account.is_none_or(|account| account == key.account) {
        true => Ok(key),
        false => Err(not_found(sid).into()),
    }
}

pub(super) async fn list(
    store: &SqlStore,
    account: AccountSid,
    page: &Page<ApiKeySid>,
) -> Result<Vec<ApiKey>, Fault> {
    let rows = sqlx::query(select("WHERE account = $1 AND sid > $2 ORDER BY sid LIMIT $3"))
        .bind(account.to_string())
        .bind(page.after.map_or_else(String::new, |sid| sid.to_string()))
        .bind(i64::from(page.limit))
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(key_of).collect()
}

pub(super) async fn rename(
    store: &SqlStore,
    (account, sid): (AccountSid, ApiKeySid),
    friendly_name: &str,
    now: Timestamp,
) -> Result<(ApiKey, ConfigVersion), Fault> {
    let mut write = store.write().await?;
    let mut key = one(write.connection(), Some(account), sid).await?;
    (key.friendly_name, key.updated) = (friendly_name.to_owned(), now);
    sqlx::query("UPDATE api_keys SET friendly_name = $2, updated = $3 WHERE sid = $1")
        .bind(sid.to_string())
        .bind(key.friendly_name.clone())
        .bind(now.as_millis())
        .execute(write.connection())
        .await?;
    write.record(&Changed::Upserted(Resource::ApiKey(key.clone()))).await?;
    Ok((key, write.commit().await?))
}

pub(super) async fn delete(
    store: &SqlStore,
    (account, sid): (AccountSid, ApiKeySid),
) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    one(write.connection(), Some(account), sid).await?;
    sqlx::query("DELETE FROM api_keys WHERE sid = $1")
        .bind(sid.to_string())
        .execute(write.connection())
        .await?;
    write.record(&Changed::ApiKeyDeleted(sid, account)).await?;
    write.commit().await
}

/// Deletes every API key of an account.
pub(super) async fn delete_all(write: &mut Write<'_>, account: AccountSid) -> Result<(), Fault> {
    let sql = "DELETE FROM api_keys WHERE account = $1 RETURNING sid";
    let deleted = sqlx::query(sql).bind(account.to_string()).fetch_all(write.connection()).await?;
    for row in &deleted {
        write.record(&Changed::ApiKeyDeleted(rows::parsed(row, "sid")?, account)).await?;
    }
    Ok(())
}

/// Every API key.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<Resource>, Fault> {
    let keys = sqlx::query(select("ORDER BY sid")).fetch_all(connection).await?;
    keys.iter().map(|row| key_of(row).map(Resource::ApiKey)).collect()
}
