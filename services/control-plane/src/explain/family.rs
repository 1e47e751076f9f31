//! An account and its parent, and what they had at a time.

use millrace_domain::{Account, AccountSid, AccountStatus, Timestamp};
use millrace_store::{Error, Past, Resource, ResourceStore, Result};

/// How an account was at a time, and its parent, if it has one.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) account: AccountSid,
    pub(super) own: Past,
    pub(super) parent: Option<(AccountSid, Past)>,
}

impl Family {
    /// Reads how they were.
    pub(super) async fn at(
        store: &dyn ResourceStore,
        account: AccountSid,
        at: Timestamp,
    ) -> Result<Self> {
        let own = store.account_at(account, at).await?;
        let parent = match account_in(&own) {
            Some(account) => account.parent,
            // It was not there; its parent may have been.
            None => match store.account(account).await {
                Ok(account) => account.parent,
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        let parent = match parent {
            Some(parent) => Some((parent, store.account_at(parent, at).await?)),
            None => None,
        };
        Ok(Self { account, own, parent })
    }

    /// What one of them had; nothing, where it is another.
    pub(super) fn resources(&self, account: AccountSid) -> &[Resource] {
        self.past(account).map_or(&[], |past| &past.resources)
    }

    /// What one of them was: a subaccount is at least what its parent is. `None`: it was not there.
    pub(super) fn status(&self, account: AccountSid) -> Option<AccountStatus> {
        let status = |past| account_in(past).map(|account| account.status);
        let own = status(self.past(account)?)?;
        let parent = self.parent.as_ref().filter(|_| account == self.account);
        Some(own.under(parent.and_then(|(_, past)| status(past))))
    }

    /// The newest change of those that are `seen`.
    pub(super) fn seq(&self, seen: &[AccountSid]) -> u64 {
        let pasts = seen.iter().filter_map(|account| self.past(*account));
        pasts.map(|past| past.seq).max().unwrap_or(0)
    }

    fn past(&self, account: AccountSid) -> Option<&Past> {
        let parent = self.parent.as_ref().filter(|(parent, _)| *parent == account);
        let own = (account == self.account).then_some(&self.own);
        own.or_else(|| parent.map(|(_, past)| past))
    }
}

fn account_in(past: &Past) -> Option<&Account> {
    past.resources.iter().find_map(|resource| match resource {
        Resource::Account(account) => Some(account),
        _ => None,
    })
}
