//! Whose event is explained, and whose subscriptions, sinks and reports who asks is told of. A subaccount is told nothing of its parent; a
//! parent is told what its own subscriptions make of a subaccount's event, and nothing of the subaccount's.

use millrace_domain::{AccountSid, account::Right, event::ACCOUNT_EXTENSION};
use millrace_store::{AccountFilter, Error, Page};
use serde_json::Value;

use super::{Explain, of_store};
use crate::{auth::Caller, status::Failure};

/// Whose event it is, and who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(super) account: AccountSid,
    eyes: Eyes,
}

/// Whose eyes an event is looked at with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eyes {
    /// Its account's.
    Own { manages: bool },
    /// Those of its account's parent, which may see what its subaccounts are, or not.
    Parent { manages: bool },
    /// The platform's.
    Platform,
}

impl Scope {
    /// The accounts whose resources are seen.
    pub(super) fn seen(&self, parent: Option<AccountSid>) -> Vec<AccountSid> {
        match self.eyes {
            Eyes::Own { .. } => vec![self.account],
            Eyes::Parent { .. } => parent.into_iter().collect(),
            Eyes::Platform => std::iter::once(self.account).chain(parent).collect(),
        }
    }

    /// Whether it is told whether the event's account was active. To a parent, that is as its list of subaccounts.
    pub(super) fn tells_status(&self) -> bool {
        match self.eyes {
            Eyes::Own { .. } | Eyes::Platform => true,
            Eyes::Parent { manages } => manages,
        }
    }

    /// The same of an event that turns out to be a subaccount's.
    fn of_subaccount(self, account: AccountSid) -> Self {
        let eyes = match self.eyes {
            Eyes::Own { manages } | Eyes::Parent { manages } => Eyes::Parent { manages },
            Eyes::Platform => Eyes::Platform,
        };
        Self { account, eyes }
    }
}

impl Explain {
    /// Whose event a caller asks about who names `named` in `field`: its own, a subaccount's, or for the platform anybody's. Another account is
    /// denied whether it exists or not.
    pub(crate) async fn scope(
        &self,
        caller: Caller,
        (field, named): (&str, Option<AccountSid>),
    ) -> Result<Scope, Failure> {
        let manages = caller.may(Right::Manage);
        if let (Caller::Account(own, _), Some(named)) = (caller, named)
            && named != own
            && self.is_subaccount(named, own).await?
        {
            return Ok(Scope { account: named, eyes: Eyes::Parent { manages } });
        }
        let account = caller.account(field, named)?;
        let eyes = match caller {
            Caller::Account(..) => Eyes::Own { manages },
            Caller::Platform => Eyes::Platform,
        };
        Ok(Scope { account, eyes })
    }

    /// The scope of an event that reached `scope`'s account, where the event says that it is of a subaccount.
    pub(super) async fn rolled_up(
        &self,
        scope: Scope,
        named: Option<AccountSid>,
    ) -> Result<Option<Scope>, Failure> {
        match named {
            Some(named) if self.is_subaccount(named, scope.account).await? => {
                Ok(Some(scope.of_subaccount(named)))
            }
            _ => Ok(None),
        }
    }

    /// Whether an account has subaccounts, whose events may reach it.
    pub(super) async fn has_subaccounts(&self, account: AccountSid) -> Result<bool, Failure> {
        let filter = AccountFilter { family: Some(account), ..AccountFilter::default() };
        let page = Page { after: None, limit: 2 };
        Ok(self.store.accounts(&filter, &page).await.map_err(of_store)?.len() > 1)
    }

    async fn is_subaccount(&self, sid: AccountSid, of: AccountSid) -> Result<bool, Failure> {
        match self.store.account(sid).await {
            Ok(account) => Ok(account.parent == Some(of)),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(of_store(error)),
        }
    }
}

/// Whose an event says it is that was rolled up: none of an account's own has that attribute.
pub(super) fn named_account(event: &[u8]) -> Option<AccountSid> {
    let event: Value = serde_json::from_slice(event).ok()?;
    event.get(ACCOUNT_EXTENSION)?.as_str()?.parse().ok()
}
