//! What the operations on accounts do. Who manages whom: the platform everybody, an account itself and its subaccounts;
//! what a caller may not see does not exist.

use std::sync::Arc;

use millrace_domain::{
    Account, AccountSid, AccountStatus, AccountUpdate, SecondaryAuthToken, Secret, Timestamp,
};
use millrace_store::{AccountFilter, Error, Page, ResourceStore};

use crate::{
    auth::Caller,
    commit::{Commits, Committed},
    random,
    status::{About, Failure, Kind, code},
};

mod keys;

pub(crate) use keys::NewKey;

/// Longest friendly name, in bytes.
const NAME_MAX_BYTES: usize = 256;

/// The operations on accounts, their API keys and auth tokens.
#[derive(Clone)]
pub(crate) struct Accounts {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) commits: Commits,
    /// Most API keys that an account may have.
    pub(crate) keys_limit: u32,
    /// Most subaccounts that an account may have.
    pub(crate) subaccounts_limit: u32,
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
    /// Makes an account or, with a parent, a subaccount; an account makes subaccounts of itself.
    pub(crate) async fn create(
        &self,
        caller: Caller,
        new: NewAccount,
    ) -> Result<Committed<Account>, Failure> {
        check_name(&new.friendly_name)?;
        let parent = parent_of(caller, &new)?;
        if let Some(token) = &new.auth_token {
            check_auth_token(token)?;
        }
        if let Some(parent) = parent {
            self.check_parent(caller, parent).await?;
        }
        let (sid, now) = (new.sid.unwrap_or_else(random::sid), random::now());
        let account = Account {
            sid,
            parent,
            friendly_name: match new.friendly_name {
                name if !name.is_empty() => name,
                _ if parent.is_some() => name_of_subaccount(now),
                _ => sid.to_string(),
            },
            status: AccountStatus::Active,
            auth_token: new.auth_token.unwrap_or_else(random::auth_token),
            secondary_auth_token: None,
            created: now,
            updated: now,
        };
        let created = self.store.create_subaccount(&account, self.subaccounts_limit).await;
        Ok(self.commits.answer(account, created.map_err(of_store)?).await)
    }

    /// Gives an account; `None`: the caller's.
    pub(crate) async fn fetch(
        &self,
        caller: Caller,
        sid: Option<AccountSid>,
    ) -> Result<Account, Failure> {
        self.managed(caller, "sid", sid).await
    }

    /// Lists up to `limit` accounts after `after` that the caller manages: of one family, or for the platform all.
    pub(crate) async fn list(
        &self,
        filter: &AccountFilter,
        after: Option<AccountSid>,
        limit: u32,
    ) -> Result<Vec<Account>, Failure> {
        filter.friendly_name.as_deref().map_or(Ok(()), check_name)?;
        self.store.accounts(filter, &Page { after, limit }).await.map_err(of_store)
    }

    /// Whose family a caller lists who names `sid`.
    pub(crate) async fn family(
        &self,
        caller: Caller,
        sid: Option<AccountSid>,
    ) -> Result<Option<AccountSid>, Failure> {
        match (caller, sid) {
            (Caller::Platform, None) => Ok(None),
            _ => Ok(Some(self.managed(caller, "account_sid", sid).await?.sid)),
        }
    }

    /// Changes an account's name and status. Closed is for good.
    pub(crate) async fn update(
        &self,
        caller: Caller,
        sid: Option<AccountSid>,
        update: AccountUpdate,
    ) -> Result<Committed<Account>, Failure> {
        let account = self.managed(caller, "sid", sid).await?;
        if let Some(name) = &update.friendly_name {
            check_name(name)?;
        }
        let itself = matches!(caller, Caller::Account(own, _) if own == account.sid);
        if update.status.is_some() && itself {
            let message =
                "is changed by the parent account or a platform key, not by the account itself";
            return Err(denied(message).at("Status"));
        }
        if update == AccountUpdate::default() {
            let version = self.store.version().await.map_err(of_store)?;
            return Ok(self.commits.answer(account, version).await);
        }
        let updated = self.store.update_account(account.sid, &update, random::now()).await;
        let (account, version) = updated.map_err(of_store)?;
        Ok(self.commits.answer(account, version).await)
    }

    /// Makes a secondary auth token, which is accepted at once.
    pub(crate) async fn create_secondary(
        &self,
        caller: Caller,
        sid: Option<AccountSid>,
    ) -> Result<Committed<Account>, Failure> {
        let account = self.managed(caller, "account_sid", sid).await?;
        let secondary = SecondaryAuthToken { token: random::auth_token(), created: random::now() };
        let added = self.store.add_secondary_auth_token(account.sid, &secondary).await;
        let (account, version) = added.map_err(of_store)?;
        Ok(self.commits.answer(account, version).await)
    }

    /// Gives the secondary auth token up.
    pub(crate) async fn delete_secondary(
        &self,
        caller: Caller,
        sid: Option<AccountSid>,
    ) -> Result<Committed<()>, Failure> {
        let account = self.managed(caller, "account_sid", sid).await?;
        let removed = self.store.remove_secondary_auth_token(account.sid, random::now()).await;
        let (_, version) = removed.map_err(of_store)?;
        Ok(self.commits.answer((), version).await)
    }

    /// Puts the secondary auth token in the first one's place.
    pub(crate) async fn promote_secondary(
        &self,
        caller: Caller,
        sid: Option<AccountSid>,
    ) -> Result<Committed<Account>, Failure> {
        let account = self.managed(caller, "account_sid", sid).await?;
        let promoted = self.store.promote_secondary_auth_token(account.sid, random::now()).await;
        let (account, version) = promoted.map_err(of_store)?;
        Ok(self.commits.answer(account, version).await)
    }

    /// The account that the caller names in `field`, or is, if it manages that one.
    pub(crate) async fn managed(
        &self,
        caller: Caller,
        field: &str,
        sid: Option<AccountSid>,
    ) -> Result<Account, Failure> {
        let sid = match (caller, sid) {
            (_, Some(sid)) => sid,
            (Caller::Account(own, _), None) => own,
            (Caller::Platform, None) => {
                return Err(caller.account(field, None).err().unwrap_or_else(unnamed));
            }
        };
        let account = self.store.account(sid).await.map_err(of_store)?;
        match caller {
            Caller::Account(own, _) if own != sid && account.parent != Some(own) => {
                Err(of_store(Error::NotFound { what: format!("account {sid}") }))
            }
            _ => Ok(account),
        }
    }

    /// A parent exists and is no subaccount itself: there are two levels, as with Twilio's accounts.
    async fn check_parent(&self, caller: Caller, parent: AccountSid) -> Result<(), Failure> {
        let found = self.store.account(parent).await;
        let found = found.map_err(|error| of_store(error).at("parent_sid"))?;
        match (found.parent, caller) {
            (Some(_), Caller::Account(..)) => Err(denied("a subaccount has no subaccounts")),
            (Some(_), Caller::Platform) => Err(wrong("parent_sid", "is itself a subaccount")),
            (None, _) if found.status == AccountStatus::Closed => {
                Err(wrong("parent_sid", "is closed"))
            }
            (None, _) => Ok(()),
        }
    }
}

/// Whose subaccount a caller makes. Only the platform says what it is to be known by.
fn parent_of(caller: Caller, new: &NewAccount) -> Result<Option<AccountSid>, Failure> {
    let Caller::Account(own, _) = caller else { return Ok(new.parent) };
    if new.parent.is_some_and(|parent| parent != own) {
        return Err(denied("must be the caller's own account").at("parent_sid"));
    }
    let given = [("sid", new.sid.is_some()), ("auth_token", new.auth_token.is_some())];
    match given.into_iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(denied("takes a platform key").at(field)),
        None => Ok(Some(own)),
    }
}

/// As Twilio names a subaccount that nobody names.
fn name_of_subaccount(now: Timestamp) -> String {
    let now = now.to_rfc3339_seconds();
    format!("SubAccount Created at {}", now.replace('T', " ").trim_end_matches('Z'))
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

fn denied(message: &str) -> Failure {
    Failure::new(Kind::PermissionDenied, code::DENIED, message)
}

fn unnamed() -> Failure {
    wrong("account_sid", "is required")
}

fn wrong(field: &str, message: &str) -> Failure {
    Failure::invalid(code::BAD_REQUEST, field, message)
}

fn of_store(error: Error) -> Failure {
    Failure::of_store(error, About::Account)
}
