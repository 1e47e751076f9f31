//! Accounts, their credentials, and the platform's own.

use serde::{Deserialize, Serialize};

use crate::{AccountSid, ApiKeySid, Secret, Timestamp, secret::SecretHash};

/// Most subaccounts that an account may have.
pub const SUBACCOUNTS_PER_ACCOUNT: u32 = 1_000;
/// Most API keys that an account or subaccount may have.
pub const API_KEYS_PER_ACCOUNT: u32 = 100;

/// Whether an account may act, and what becomes of its events.
///
/// In the order of how much it takes away: a subaccount is at least what its parent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Closed].into_iter().find(|s| s.as_str() == word)
    }

    /// What an account is that has this status of its own, and a parent of that one: a subaccount of a suspended account is
    /// suspended with it.
    pub fn under(self, parent: Option<Self>) -> Self {
        parent.map_or(self, |parent| self.max(parent))
    }
}

/// A second auth token, while the first is being replaced: both are accepted, the first signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondaryAuthToken {
    /// The token.
    pub token: Secret,
    /// When it was made.
    pub created: Timestamp,
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
    /// What will take its place; accepted already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_auth_token: Option<SecondaryAuthToken>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

impl Account {
    /// Tells in constant time whether `password` is the hash of one of its tokens.
    pub fn takes(&self, password: &SecretHash) -> bool {
        let second = self.secondary_auth_token.as_ref();
        let second = second.is_some_and(|second| second.token.sha256().matches(password));
        self.auth_token.sha256().matches(password) | second
    }
}

/// A change of an account: what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountUpdate {
    /// For people.
    pub friendly_name: Option<String>,
    /// Whether it may act; closed is for good, and takes all it has with it.
    pub status: Option<AccountStatus>,
}

/// What a credential must be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Publish events.
    Publish,
    /// See sinks, subscriptions, types and logs.
    Read,
    /// Change sinks and subscriptions.
    Write,
    /// See and change accounts, their keys and tokens.
    Manage,
}

/// What an API key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAccess {
    /// All that the auth token may; what keys were before there were others.
    #[default]
    Main,
    /// All but accounts, keys and tokens.
    Standard,
    /// Sees what a standard key may, and changes nothing.
    ReadOnly,
    /// Publishes, and sees nothing.
    PublishOnly,
}

impl KeyAccess {
    /// Every access there is.
    pub const ALL: [Self; 4] = [Self::Main, Self::Standard, Self::ReadOnly, Self::PublishOnly];

    /// The word as REST, the wire and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Standard => "standard",
            Self::ReadOnly => "read-only",
            Self::PublishOnly => "publish-only",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.as_str() == word)
    }

    /// Whether a key of this access is good for that.
    pub fn may(self, right: Right) -> bool {
        match self {
            Self::Main => true,
            Self::Standard => right != Right::Manage,
            Self::ReadOnly => right == Right::Read,
            Self::PublishOnly => right == Right::Publish,
        }
    }
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
    /// What it may do; never changes.
    #[serde(default)]
    pub access: KeyAccess,
    /// When it was made.
    pub created: Timestamp,
    /// When its name was last changed.
    #[serde(default)]
    pub updated: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subaccount_is_at_least_what_its_parent_is() {
        use AccountStatus::{Active, Closed, Suspended};
        assert_eq!(Active.under(None), Active);
        assert_eq!(Active.under(Some(Suspended)), Suspended);
        assert_eq!(Closed.under(Some(Suspended)), Closed);
        assert_eq!(Suspended.under(Some(Active)), Suspended);
    }

    #[test]
    fn a_restricted_key_is_good_for_one_thing() {
        let all = [Right::Publish, Right::Read, Right::Write, Right::Manage];
        let good =
            |access: KeyAccess| all.into_iter().filter(|r| access.may(*r)).collect::<Vec<_>>();
        assert_eq!(good(KeyAccess::Main), all);
        assert_eq!(good(KeyAccess::Standard), [Right::Publish, Right::Read, Right::Write]);
        assert_eq!(good(KeyAccess::ReadOnly), [Right::Read]);
        assert_eq!(good(KeyAccess::PublishOnly), [Right::Publish]);
        for access in KeyAccess::ALL {
            assert_eq!(KeyAccess::parse(access.as_str()), Some(access));
            let json = serde_json::to_string(&access).expect("a word");
            assert_eq!(json, format!("\"{}\"", access.as_str()));
        }
    }
}
