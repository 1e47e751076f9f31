//! New identifiers and secrets, from the system's random numbers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use millrace_domain::{
    Secret, Timestamp,
    secret::hex,
    sid::{Kind, Sid},
};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// A new SID; SIDs sort by creation.
pub(crate) fn sid<K: Kind>() -> Sid<K> {
    Sid::from_uuid(Uuid::now_v7())
}

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(millrace_runtime::clock::now_millis())
}

/// A new auth token: 32 hex digits, as Event Streams has them.
pub(crate) fn auth_token() -> Secret {
    Secret::new(hex(&bytes::<16>()))
}

/// A new secret of an API key: 256 bits.
pub(crate) fn api_key_secret() -> Secret {
    Secret::new(hex(&bytes::<32>()))
}

/// A new signing secret: `whsec_` and Base64 of 24 bytes
/// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
pub(crate) fn signing_secret() -> Secret {
    Secret::new(format!("whsec_{}", STANDARD.encode(bytes::<24>())))
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
    bytes
}
