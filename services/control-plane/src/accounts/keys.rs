//! What the operations on API keys do.

use millrace_domain::{AccountSid, ApiKey, ApiKeySid, KeyAccess, Secret};
use millrace_store::{Error, Page};

use super::{Accounts, check_name, of_store};
use crate::{
    auth::Caller,
    commit::Committed,
    random,
    status::{About, Failure, Kind},
};

/// An API key as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    /// Empty: its SID.
    pub(crate) friendly_name: String,
    /// `None`: standard.
    pub(crate) access: Option<KeyAccess>,
}

impl Accounts {
    /// Makes an API key; its secret is in the answer and nowhere after.
    pub(crate) async fn create_api_key(
        &self,
        caller: Caller,
        account: Option<AccountSid>,
        new: NewKey,
    ) -> Result<Committed<(ApiKey, Secret)>, Failure> {
        check_name(&new.friendly_name)?;
        let account = self.managed(caller, "account_sid", account).await?;
        let (sid, secret, now) = (random::sid(), random::api_key_secret(), random::now());
        let key = ApiKey {
            sid,
            account: account.sid,
            friendly_name: match new.friendly_name {
                name if name.is_empty() => sid.to_string(),
                name => name,
            },
            secret_hash: secret.sha256(),
            access: new.access.unwrap_or(KeyAccess::Standard),
            created: now,
            updated: now,
        };
        let created = self.store.create_api_key(&key, self.keys_limit).await;
        let version = created.map_err(|error| Failure::of_store(error, About::ApiKey))?;
        Ok(self.commits.answer((key, secret), version).await)
    }

    /// Gives an API key that the caller manages; with an account, one of that account.
    pub(crate) async fn fetch_api_key(
        &self,
        caller: Caller,
        account: Option<AccountSid>,
        sid: ApiKeySid,
    ) -> Result<ApiKey, Failure> {
        if account.is_some() {
            self.managed(caller, "account_sid", account).await?;
        }
        let key = self.store.api_key(sid).await.map_err(of_store)?;
        let missing = || of_store(Error::NotFound { what: format!("API key {sid}") });
        if account.is_some_and(|account| account != key.account) {
            return Err(missing());
        }
        // Of a key of somebody else, not even whose it is.
        match self.managed(caller, "account_sid", Some(key.account)).await {
            Err(failure) if failure.kind == Kind::NotFound => Err(missing()),
            managed => managed.map(|_| key),
        }
    }

    /// Lists up to `limit` API keys of an account after `after`.
    pub(crate) async fn api_keys(
        &self,
        account: AccountSid,
        after: Option<ApiKeySid>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, Failure> {
        self.store.api_keys(account, &Page { after, limit }).await.map_err(of_store)
    }

    /// Changes an API key's name.
    pub(crate) async fn rename_api_key(
        &self,
        caller: Caller,
        (account, sid): (Option<AccountSid>, ApiKeySid),
        name: &str,
    ) -> Result<Committed<ApiKey>, Failure> {
        check_name(name)?;
        let key = self.fetch_api_key(caller, account, sid).await?;
        let renamed = self.store.rename_api_key(key.account, sid, name, random::now()).await;
        let (key, version) = renamed.map_err(of_store)?;
        Ok(self.commits.answer(key, version).await)
    }

    /// Deletes an API key.
    pub(crate) async fn delete_api_key(
        &self,
        caller: Caller,
        account: Option<AccountSid>,
        sid: ApiKeySid,
    ) -> Result<Committed<()>, Failure> {
        let key = self.fetch_api_key(caller, account, sid).await?;
        let version = self.store.delete_api_key(key.account, sid).await.map_err(of_store)?;
        Ok(self.commits.answer((), version).await)
    }
}
