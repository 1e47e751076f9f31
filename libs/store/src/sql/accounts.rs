//! Accounts: a family of a parent and its subaccounts lives and ends together.

use millrace_domain::{
    Account, AccountSid, AccountStatus, AccountUpdate, ConfigVersion, Timestamp,
};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{
    Fault, SqlStore, api_keys,
    rows::{self, already_exists, not_found},
    sinks, subscriptions,
    transaction::Write,
};
use crate::{AccountFilter, Changed, Error, Keyring, Page, Resource};

fn select(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT sid, parent, friendly_name, status, sealed, sealed_secondary, created, updated
         FROM accounts {rest}"
    ))
}

fn place(sid: AccountSid) -> String {
    format!("accounts/{sid}")
}

fn secondary_place(sid: AccountSid) -> String {
    format!("accounts/{sid}/secondary")
}

fn account_of(row: &AnyRow, keyring: &Keyring) -> Result<Account, Fault> {
    let sid = rows::parsed(row, "sid")?;
    let (place, secondary_place) = (place(sid), secondary_place(sid));
    let sealed: &[u8] = row.try_get("sealed")?;
    let secondary: Option<&[u8]> = row.try_get("sealed_secondary")?;
    let secondary = match secondary {
        Some(sealed) => {
            Some(rows::opened(&secondary_place, &keyring.open(&secondary_place, sealed)?)?)
        }
        None => None,
    };
    Ok(Account {
        sid,
        parent: rows::parsed_or_none(row, "parent")?,
        friendly_name: row.try_get("friendly_name")?,
        status: rows::word(row, "status")?,
        auth_token: rows::opened(&place, &keyring.open(&place, sealed)?)?,
        secondary_auth_token: secondary,
        created: rows::time(row, "created")?,
        updated: rows::time(row, "updated")?,
    })
}

fn sealed_secondary(account: &Account, keyring: &Keyring) -> Result<Option<Vec<u8>>, Fault> {
    let Some(secondary) = &account.secondary_auth_token else { return Ok(None) };
    let place = secondary_place(account.sid);
    Ok(Some(keyring.seal(&place, &rows::json_bytes(secondary)?)))
}

/// Refuses work for an account that is not there, or closed.
pub(super) async fn must_be_open(
    connection: &mut AnyConnection,
    sid: AccountSid,
) -> Result<(), Fault> {
    let row = sqlx::query("SELECT status FROM accounts WHERE sid = $1")
        .bind(sid.to_string())
        .fetch_optional(connection)
        .await?;
    match rows::word(&row.ok_or_else(|| not_found(sid))?, "status")? {
        AccountStatus::Closed => Err(closed(sid).into()),
        AccountStatus::Active | AccountStatus::Suspended => Ok(()),
    }
}

fn closed(sid: AccountSid) -> Error {
    Error::Closed { what: format!("account {sid}") }
}

pub(super) async fn create(
    store: &SqlStore,
    account: &Account,
    limit: Option<u32>,
) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    let sid = account.sid.to_string();
    if rows::exists(write.connection(), "SELECT 1 FROM accounts WHERE sid = $1", &sid).await? {
        return Err(already_exists(account.sid).into());
    }
    if let Some(parent) = account.parent {
        must_be_open(write.connection(), parent).await?;
        if let Some(limit) = limit {
            check_limit(write.connection(), parent, limit).await?;
        }
    }
    let sealed = store.keyring.seal(&place(account.sid), &rows::json_bytes(&account.auth_token)?);
    sqlx::query(
        "INSERT INTO accounts
             (sid, parent, friendly_name, status, sealed, sealed_secondary, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(sid)
    .bind(account.parent.map(|parent| parent.to_string()))
    .bind(account.friendly_name.clone())
    .bind(account.status.as_str())
    .bind(sealed)
    .bind(sealed_secondary(account, &store.keyring)?)
    .bind(account.created.as_millis())
    .bind(account.updated.as_millis())
    .execute(write.connection())
    .await?;
    write.record(&Changed::Upserted(Resource::Account(account.clone()))).await?;
    write.commit().await
}

async fn check_limit(
    connection: &mut AnyConnection,
    parent: AccountSid,
    limit: u32,
) -> Result<(), Fault> {
    let count = "SELECT count(*) AS n FROM accounts WHERE parent = $1 AND status <> 'closed'";
    let row = sqlx::query(count).bind(parent.to_string()).fetch_one(connection).await?;
    match rows::number::<i64>(&row, "n")? >= i64::from(limit) {
        true => Err(Error::LimitReached { limit }.into()),
        false => Ok(()),
    }
}

pub(super) async fn get(store: &SqlStore, sid: AccountSid) -> Result<Account, Fault> {
    let mut connection = store.pool.acquire().await?;
    one(&mut connection, &store.keyring, sid).await
}

async fn one(
    connection: &mut AnyConnection,
    keyring: &Keyring,
    sid: AccountSid,
) -> Result<Account, Fault> {
    let row = sqlx::query(select("WHERE sid = $1"))
        .bind(sid.to_string())
        .fetch_optional(connection)
        .await?;
    account_of(&row.ok_or_else(|| not_found(sid))?, keyring)
}

/// The account, unless it is closed.
pub(super) async fn open_one(
    connection: &mut AnyConnection,
    keyring: &Keyring,
    sid: AccountSid,
) -> Result<Account, Fault> {
    let account = one(connection, keyring, sid).await?;
    match account.status {
        AccountStatus::Closed => Err(closed(sid).into()),
        AccountStatus::Active | AccountStatus::Suspended => Ok(account),
    }
}

pub(super) async fn list(
    store: &SqlStore,
    filter: &AccountFilter,
    page: &Page<AccountSid>,
) -> Result<Vec<Account>, Fault> {
    let rows = sqlx::query(select(
        "WHERE ($1 IS NULL OR sid = $1 OR parent = $1) AND sid > $2
             AND ($3 IS NULL OR friendly_name = $3) AND ($4 IS NULL OR status = $4)
         ORDER BY sid LIMIT $5",
    ))
    .bind(filter.family.map(|sid| sid.to_string()))
    .bind(page.after.map_or_else(String::new, |sid| sid.to_string()))
    .bind(filter.friendly_name.clone())
    .bind(filter.status.map(|status| status.as_str().to_owned()))
    .bind(i64::from(page.limit))
    .fetch_all(&store.pool)
    .await?;
    rows.iter().map(|row| account_of(row, &store.keyring)).collect()
}

pub(super) async fn update(
    store: &SqlStore,
    sid: AccountSid,
    update: &AccountUpdate,
    now: Timestamp,
) -> Result<(Account, ConfigVersion), Fault> {
    let mut write = store.write().await?;
    let mut account = open_one(write.connection(), &store.keyring, sid).await?;
    if let Some(name) = &update.friendly_name {
        name.clone_into(&mut account.friendly_name);
    }
    account.status = update.status.unwrap_or(account.status);
    account.updated = now;
    if account.status == AccountStatus::Closed {
        for mut child in open_children(write.connection(), &store.keyring, sid).await? {
            child.updated = now;
            close(&mut write, &store.keyring, &mut child).await?;
        }
        close(&mut write, &store.keyring, &mut account).await?;
    } else {
        replace(&mut write, &store.keyring, &account).await?;
    }
    Ok((account, write.commit().await?))
}

async fn open_children(
    connection: &mut AnyConnection,
    keyring: &Keyring,
    parent: AccountSid,
) -> Result<Vec<Account>, Fault> {
    let rows = sqlx::query(select("WHERE parent = $1 AND status <> 'closed' ORDER BY sid"))
        .bind(parent.to_string())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| account_of(row, keyring)).collect()
}

/// Closes an account with all it has. Its change comes first: who follows the changes knows, when a sink goes, why.
async fn close(
    write: &mut Write<'_>,
    keyring: &Keyring,
    account: &mut Account,
) -> Result<(), Fault> {
    account.status = AccountStatus::Closed;
    account.secondary_auth_token = None;
    replace(write, keyring, account).await?;
    subscriptions::delete_all(write, account.sid).await?;
    sinks::delete_all(write, account.sid, account.updated).await?;
    api_keys::delete_all(write, account.sid).await
}

/// Writes an account over what it was.
pub(super) async fn replace(
    write: &mut Write<'_>,
    keyring: &Keyring,
    account: &Account,
) -> Result<(), Fault> {
    let sealed = keyring.seal(&place(account.sid), &rows::json_bytes(&account.auth_token)?);
    sqlx::query(
        "UPDATE accounts SET friendly_name = $2, status = $3, sealed = $4, sealed_secondary = $5,
             updated = $6
         WHERE sid = $1",
    )
    .bind(account.sid.to_string())
    .bind(account.friendly_name.clone())
    .bind(account.status.as_str())
    .bind(sealed)
    .bind(sealed_secondary(account, keyring)?)
    .bind(account.updated.as_millis())
    .execute(write.connection())
    .await?;
    write.record(&Changed::Upserted(Resource::Account(account.clone()))).await
}

/// Every account.
pub(super) async fn all(
    connection: &mut AnyConnection,
    keyring: &Keyring,
) -> Result<Vec<Resource>, Fault> {
    let accounts = sqlx::query(select("ORDER BY sid")).fetch_all(connection).await?;
    accounts.iter().map(|row| account_of(row, keyring).map(Resource::Account)).collect()
}
