//! Who uses the product in tests, and the secrets of an installation.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::digest;

/// An installation's first account and its keys; the same in every test.
#[derive(Clone, Debug)]
pub struct Identity {
    /// SID of the account.
    pub account_sid: String,
    /// Its auth token.
    pub auth_token: String,
    /// The platform key.
    pub platform_key: String,
    /// What the services know each other by.
    pub internal_token: String,
    /// What secrets are sealed with.
    pub seal_keys: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            account_sid: "AC00000000000000000000000000000001".to_owned(),
            auth_token: "an-auth-token-of-tests-0123456789".to_owned(),
            platform_key: "a-platform-key-of-tests-0123456789".to_owned(),
            internal_token: "an-internal-token-of-tests-0123456789".to_owned(),
            seal_keys: format!("tests:{}", BASE64_STANDARD.encode([7; 32])),
        }
    }
}

impl Identity {
    /// The account's `authorization`.
    pub fn basic(&self) -> String {
        basic(&self.account_sid, &self.auth_token)
    }

    /// The platform's `authorization`.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.platform_key)
    }

    /// SHA-256 of the platform key, in hex.
    pub fn platform_key_hash(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.platform_key.as_bytes());
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// HTTP Basic.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}
