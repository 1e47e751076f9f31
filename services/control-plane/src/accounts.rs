//! What the operations on accounts and API keys do.

use std::sync::Arc;

use millrace_domain::{Account, AccountSid, AccountStatus, ApiKey, Secret};
use millrace_store::ResourceStore;

use crate::{
    auth::Caller,
    commit::{Commits, Committed},
    random,
    status::{About, Failure, code},
};

/// Longest friendly name, in bytes.
const NAME_MAX_BYTES: usize = 256;

/// The operations on accounts and API keys.
#[derive(Clone)]
pub(crate) struct Accounts {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) commits: Commits,
}

/// An account as it is asked for; what is `None` is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewAccount {
    pub(crate) friendly_name: String,
    pub(crate) parent: Option<AccountSid>,
    pub(crate) sid: Option<AccountSid>,
    pub(crate) auth_token: Option<Secret>,
}

impl Accounts {
    /// Makes an account or, with a parent, a subaccount.
    pub(crate) async fn create(
        &self,
        caller: Caller,
        new: NewAccount,
    ) -> Result<Committed<Account>, Failure> {
        caller.must_be_platform()?;
        check_name(&new.friendly_name)?;
        if let Some(token) = &new.auth_token {
            check_auth_token(token)?;
        }
        if let Some(parent) = new.parent {
            self.check_parent(parent).await?;
        }
        let (sid, now) = (new.sid.unwrap_or_else(random::sid), random::now());
        let account = Account {
            sid,
            parent: new.parent,
            friendly_name: named(new.friendly_name, &sid),
            status: AccountStatus::Active,
            auth_token: new.auth_token.unwrap_or_else(random::auth_token),
            created: now,
            updated: now,
        };
        let version = self.store.create_account(&account).await.map_err(of_store)?;
        Ok(self.commits.answer(account, version).await)
    }

    /// Gives an account; `None`: the caller's.
    pub(crate) async fn fetch(
        &self,
        caller: Caller,
        sid: Option<AccountSid>,
    ) -> Result<Account, Failure> {
        self.store.account(caller.account("sid", sid)?).await.map_err(of_store)
    }

    /// Makes an API key; its secret is in the answer and nowhere after.
    pub(crate) async fn create_api_key(
        &self,
        caller: Caller,
        account: Option<AccountSid>,
        friendly_name: String,
    ) -> Result<Committed<(ApiKey, Secret)>, Failure> {
        let account = caller.account("account_sid", account)?;
        check_name(&friendly_name)?;
        self.store.account(account).await.map_err(of_store)?;
        let (sid, secret) = (random::sid(), random::api_key_secret());
        let key = ApiKey {
            sid,
            account,
            friendly_name: named(friendly_name, &sid),
            secret_hash: secret.sha256(),
            created: random::now(),
        };
        let version = self.store.create_api_key(&key).await.map_err(of_store)?;
        Ok(self.commits.answer((key, secret), version).await)
    }

    /// A parent exists and is no subaccount itself: there are two levels, as with Twilio's accounts.
    async fn check_parent(&self, parent: AccountSid) -> Result<(), Failure> {
        let found = self.store.account(parent).await;
        let found = found.map_err(|error| of_store(error).at("parent_sid"))?;
        match found.parent {
            Some(_) => Err(wrong("parent_sid", "is itself a subaccount")),
            None if found.status == AccountStatus::Closed => Err(wrong("parent_sid", "is closed")),
            None => Ok(()),
        }
    }
}

fn named(name: String, sid: &impl ToString) -> String {
    if name.is_empty() { sid.to_string() } else { name }
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name.len() > NAME_MAX_BYTES {
        let message = format!("is longer than {NAME_MAX_BYTES} bytes");
        return Err(wrong("friendly_name", &message));
    }
    if name.chars().any(char::is_control) {
        return Err(wrong("friendly_name", "must not have control characters"));
    }
    Ok(())
}

fn check_auth_token(token: &Secret) -> Result<(), Failure> {
    let token = token.reveal().as_bytes();
    if (32..=128).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(wrong("auth_token", "must be 32 to 128 printable ASCII characters without spaces"))
}

fn wrong(field: &str, message: &str) -> Failure {
    Failure::invalid(code::BAD_REQUEST, field, message)
}

fn of_store(error: millrace_store::Error) -> Failure {
    Failure::of_store(error, About::Account)
}
