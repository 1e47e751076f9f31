//! Accounts and their API keys.

use millrace_domain::{Account, AccountSid, ApiKey, ApiKeySid, ConfigVersion, secret::SecretHash};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{
    Fault, SqlStore,
    rows::{self, already_exists, not_found},
};
use crate::{Changed, Keyring, Resource};

fn select_accounts(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT sid, parent, friendly_name, status, sealed, created, updated FROM accounts {rest}"
    ))
}

fn select_keys(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT sid, account, friendly_name, secret_hash, created FROM api_keys {rest}"
    ))
}

fn place(sid: AccountSid) -> String {
    format!("accounts/{sid}")
}

fn account_of(row: &AnyRow, keyring: &Keyring) -> Result<Account, Fault> {
    let sid = rows::parsed(row, "sid")?;
    let place = place(sid);
    let sealed: &[u8] = row.try_get("sealed")?;
    Ok(Account {
        sid,
        parent: rows::parsed_or_none(row, "parent")?,
        friendly_name: row.try_get("friendly_name")?,
        status: rows::word(row, "status")?,
        auth_token: rows::opened(&place, &keyring.open(&place, sealed)?)?,
        created: rows::time(row, "created")?,
        updated: rows::time(row, "updated")?,
    })
}

fn key_of(row: &AnyRow) -> Result<ApiKey, Fault> {
    let hash = SecretHash::from_bytes(row.try_get("secret_hash")?);
    Ok(ApiKey {
        sid: rows::parsed(row, "sid")?,
        account: rows::parsed(row, "account")?,
        friendly_name: row.try_get("friendly_name")?,
        secret_hash: hash.ok_or_else(|| sqlx::Error::Decode("not a SHA-256".into()))?,
        created: rows::time(row, "created")?,
    })
}

/// Refuses work for an account that is not there.
pub(super) async fn must_exist(
    connection: &mut AnyConnection,
    sid: AccountSid,
) -> Result<(), Fault> {
    let sql = "SELECT 1 FROM accounts WHERE sid = $1";
    match rows::exists(connection, sql, &sid.to_string()).await? {
        true => Ok(()),
        false => Err(not_found(sid).into()),
    }
}

pub(super) async fn create(store: &SqlStore, account: &Account) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    let sid = account.sid.to_string();
    if rows::exists(write.connection(), "SELECT 1 FROM accounts WHERE sid = $1", &sid).await? {
        return Err(already_exists(account.sid).into());
    }
    if let Some(parent) = account.parent {
        must_exist(write.connection(), parent).await?;
    }
    let sealed = store.keyring.seal(&place(account.sid), &rows::json_bytes(&account.auth_token)?);
    sqlx::query(
        "INSERT INTO accounts (sid, parent, friendly_name, status, sealed, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(sid)
    .bind(account.parent.map(|parent| parent.to_string()))
    .bind(account.friendly_name.clone())
    .bind(account.status.as_str())
    .bind(sealed)
    .bind(account.created.as_millis())
    .bind(account.updated.as_millis())
    .execute(write.connection())
    .await?;
    write.record(&Changed::Upserted(Resource::Account(account.clone()))).await?;
    write.commit().await
}

pub(super) async fn get(store: &SqlStore, sid: AccountSid) -> Result<Account, Fault> {
    let row = sqlx::query(select_accounts("WHERE sid = $1"))
        .bind(sid.to_string())
        .fetch_optional(&store.pool)
        .await?;
    account_of(&row.ok_or_else(|| not_found(sid))?, &store.keyring)
}

pub(super) async fn create_key(store: &SqlStore, key: &ApiKey) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    let sid = key.sid.to_string();
    if rows::exists(write.connection(), "SELECT 1 FROM api_keys WHERE sid = $1", &sid).await? {
        return Err(already_exists(key.sid).into());
    }
    must_exist(write.connection(), key.account).await?;
    sqlx::query(
        "INSERT INTO api_keys (sid, account, friendly_name, secret_hash, created)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(sid)
    .bind(key.account.to_string())
    .bind(key.friendly_name.clone())
    .bind(key.secret_hash.as_bytes().to_vec())
    .bind(key.created.as_millis())
    .execute(write.connection())
    .await?;
    write.record(&Changed::Upserted(Resource::ApiKey(key.clone()))).await?;
    write.commit().await
}

pub(super) async fn key(store: &SqlStore, sid: ApiKeySid) -> Result<ApiKey, Fault> {
    let row = sqlx::query(select_keys("WHERE sid = $1"))
        .bind(sid.to_string())
        .fetch_optional(&store.pool)
        .await?;
    key_of(&row.ok_or_else(|| not_found(sid))?)
}

/// Every account, then every API key.
pub(super) async fn all(
    connection: &mut AnyConnection,
    keyring: &Keyring,
) -> Result<Vec<Resource>, Fault> {
    let accounts = sqlx::query(select_accounts("ORDER BY sid")).fetch_all(&mut *connection).await?;
    let keys = sqlx::query(select_keys("ORDER BY sid")).fetch_all(connection).await?;
    let accounts = accounts.iter().map(|row| account_of(row, keyring).map(Resource::Account));
    accounts.chain(keys.iter().map(|row| key_of(row).map(Resource::ApiKey))).collect()
}
