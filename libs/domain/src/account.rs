//! Accounts, their credentials, and the platform's own.

use serde::{Deserialize, Serialize};

use crate::{AccountSid, ApiKeySid, Secret, Timestamp, secret::SecretHash};

/// Whether an account may act, and what becomes of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// Publishes and receives.
    Active,
    /// Publishes nothing; its events are parked and kept for their window.
    Suspended,
    /// For good: its events are purged.
    Closed,
}

impl AccountStatus {
    /// The word as REST and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }
}

/// A customer of the platform, or a subaccount of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// `AC…`.
    pub sid: AccountSid,
    /// The account this is a subaccount of.
    pub parent: Option<AccountSid>,
    /// For people.
    pub friendly_name: String,
    /// Whether it may act.
    pub status: AccountStatus,
    /// Password of the account in HTTP Basic, and the key of `X-Twilio-Signature`.
    pub auth_token: Secret,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// A further credential of an account. Only the hash of its secret is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    /// `SK…`, the user name in HTTP Basic.
    pub sid: ApiKeySid,
    /// The account it acts for.
    pub account: AccountSid,
    /// For people.
    pub friendly_name: String,
    /// SHA-256 of the secret, which is random (128 bits or more).
    pub secret_hash: SecretHash,
    /// When it was made.
    pub created: Timestamp,
}
