//! Rotation of auth tokens: a secondary is added, then promoted or given up.

use millrace_domain::{Account, AccountSid, ConfigVersion, SecondaryAuthToken, Timestamp};

use super::{Fault, SqlStore, accounts};
use crate::Error;

pub(super) async fn add(
    store: &SqlStore,
    sid: AccountSid,
    secondary: &SecondaryAuthToken,
) -> Result<(Account, ConfigVersion), Fault> {
    rotate(store, sid, |account| {
        if account.secondary_auth_token.is_some() {
            return Err(Error::AlreadyExists { what: of(sid) });
        }
        account.secondary_auth_token = Some(secondary.clone());
        account.updated = secondary.created;
        Ok(())
    })
    .await
}

pub(super) async fn remove(
    store: &SqlStore,
    sid: AccountSid,
    now: Timestamp,
) -> Result<(Account, ConfigVersion), Fault> {
    rotate(store, sid, |account| {
        let removed = account.secondary_auth_token.take();
        account.updated = now;
        removed.map(drop).ok_or_else(|| Error::NotFound { what: of(sid) })
    })
    .await
}

pub(super) async fn promote(
    store: &SqlStore,
    sid: AccountSid,
    now: Timestamp,
) -> Result<(Account, ConfigVersion), Fault> {
    rotate(store, sid, |account| {
        let promoted = account.secondary_auth_token.take();
        account.auth_token = promoted.ok_or_else(|| Error::NotFound { what: of(sid) })?.token;
        account.updated = now;
        Ok(())
    })
    .await
}

async fn rotate(
    store: &SqlStore,
    sid: AccountSid,
    change: impl FnOnce(&mut Account) -> Result<(), Error> + Send,
) -> Result<(Account, ConfigVersion), Fault> {
    let mut write = store.write().await?;
    let mut account = accounts::open_one(write.connection(), &store.keyring, sid).await?;
    change(&mut account)?;
    accounts::replace(&mut write, &store.keyring, &account).await?;
    Ok((account, write.commit().await?))
}

fn of(sid: AccountSid) -> String {
    format!("the secondary auth token of account {sid}")
}
