//! Accounts and API keys on the wire.

use millrace_domain::{Account, AccountStatus, ApiKey, KeyAccess, Secret};

use crate::{v1, wire_time};

impl From<AccountStatus> for v1::AccountStatus {
    fn from(status: AccountStatus) -> Self {
        match status {
            AccountStatus::Active => Self::Active,
            AccountStatus::Suspended => Self::Suspended,
            AccountStatus::Closed => Self::Closed,
        }
    }
}

impl v1::AccountStatus {
    /// The domain's status; `None`: not said.
    pub fn to_domain(self) -> Option<AccountStatus> {
        match self {
            Self::Unspecified => None,
            Self::Active => Some(AccountStatus::Active),
            Self::Suspended => Some(AccountStatus::Suspended),
            Self::Closed => Some(AccountStatus::Closed),
        }
    }
}

impl From<KeyAccess> for v1::KeyAccess {
    fn from(access: KeyAccess) -> Self {
        match access {
            KeyAccess::Main => Self::Main,
            KeyAccess::Standard => Self::Standard,
            KeyAccess::ReadOnly => Self::ReadOnly,
            KeyAccess::PublishOnly => Self::PublishOnly,
        }
    }
}

impl v1::KeyAccess {
    /// The domain's access; `None`: not said.
    pub fn to_domain(self) -> Option<KeyAccess> {
        match self {
            Self::Unspecified => None,
            Self::Main => Some(KeyAccess::Main),
            Self::Standard => Some(KeyAccess::Standard),
            Self::ReadOnly => Some(KeyAccess::ReadOnly),
            Self::PublishOnly => Some(KeyAccess::PublishOnly),
        }
    }
}

impl From<&Account> for v1::Account {
    fn from(account: &Account) -> Self {
        Self {
            sid: account.sid.to_string(),
            parent_sid: account.parent.map(|sid| sid.to_string()).unwrap_or_default(),
            friendly_name: account.friendly_name.clone(),
            status: v1::AccountStatus::from(account.status).into(),
            auth_token: account.auth_token.reveal().to_owned(),
            create_time: Some(wire_time(account.created)),
            update_time: Some(wire_time(account.updated)),
            secondary_auth_token: account
                .secondary_auth_token
                .as_ref()
                .map(|second| second.token.reveal().to_owned())
                .unwrap_or_default(),
        }
    }
}

impl v1::ApiKey {
    /// Makes the wire's API key; `secret` is given only at its creation.
    pub fn new(key: &ApiKey, secret: Option<&Secret>) -> Self {
        Self {
            sid: key.sid.to_string(),
            account_sid: key.account.to_string(),
            friendly_name: key.friendly_name.clone(),
            secret: secret.map(|secret| secret.reveal().to_owned()).unwrap_or_default(),
            create_time: Some(wire_time(key.created)),
            access: v1::KeyAccess::from(key.access).into(),
            update_time: Some(wire_time(key.updated)),
        }
    }
}
