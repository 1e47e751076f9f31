//! SIDs: a two-letter prefix and 32 hex digits, one Rust type for each kind of resource.

use std::{fmt, hash::Hash, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A kind of resource that has SIDs.
pub trait Kind: Copy + Eq + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// The two letters every SID of this kind starts with.
    const PREFIX: &'static str;
    /// What to call the resource in a message.
    const NAME: &'static str;
}

/// Marks [`AccountSid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountKind {}
/// Marks [`ApiKeySid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiKeyKind {}
/// Marks [`SinkSid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SinkKind {}
/// Marks [`SubscriptionSid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubscriptionKind {}

impl Kind for AccountKind {
    const PREFIX: &'static str = "AC";
    const NAME: &'static str = "account";
}
impl Kind for ApiKeyKind {
    const PREFIX: &'static str = "SK";
    const NAME: &'static str = "API key";
}
impl Kind for SinkKind {
    const PREFIX: &'static str = "DG";
    const NAME: &'static str = "sink";
}
impl Kind for SubscriptionKind {
    const PREFIX: &'static str = "DF";
    const NAME: &'static str = "subscription";
}

/// `AC` and 32 hex digits.
pub type AccountSid = Sid<AccountKind>;
/// `SK` and 32 hex digits.
pub type ApiKeySid = Sid<ApiKeyKind>;
/// `DG` and 32 hex digits.
pub type SinkSid = Sid<SinkKind>;
/// `DF` and 32 hex digits.
pub type SubscriptionSid = Sid<SubscriptionKind>;

/// The identifier of a resource: prefix + 32 lower-case hex digits, of a UUIDv7 where Millrace
/// made it, so that SIDs sort by creation. Upper-case hex is read and becomes lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid<K: Kind> {
    id: u128,
    kind: PhantomData<K>,
}

/// Why a text is no SID of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SID of this kind ({name}) is `{prefix}` followed by 32 hex digits")]
pub struct InvalidSid {
    prefix: &'static str,
    name: &'static str,
}

impl<K: Kind> Sid<K> {
    /// Makes the SID that `uuid` (normally a new UUIDv7) stands for.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self::from_u128(uuid.as_u128())
    }

    /// Makes the SID whose 32 hex digits are `id`.
    pub const fn from_u128(id: u128) -> Self {
        Self { id, kind: PhantomData }
    }

    /// The number that the 32 hex digits spell.
    pub fn as_u128(self) -> u128 {
        self.id
    }
}

impl<K: Kind> fmt::Display for Sid<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:032x}", K::PREFIX, self.id)
    }
}

impl<K: Kind> fmt::Debug for Sid<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> FromStr for Sid<K> {
    type Err = InvalidSid;

    fn from_str(text: &str) -> Result<Self, InvalidSid> {
        text.strip_prefix(K::PREFIX)
            .filter(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u128::from_str_radix(hex, 16).ok())
            .map(Self::from_u128)
            .ok_or(InvalidSid { prefix: K::PREFIX, name: K::NAME })
    }
}

impl<K: Kind> Serialize for Sid<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Sid<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let sid = SinkSid::from_u128(0x0123);
        assert_eq!(sid.to_string(), "DG00000000000000000000000000000123");
        assert_eq!(sid.to_string().parse(), Ok(sid));
        assert_eq!(
            "DGABCDEF00000000000000000000000123"
                .parse::<SinkSid>()
                .expect("upper case hex")
                .to_string(),
            "DGabcdef00000000000000000000000123"
        );
        for wrong in [
            "",
            "DG",
            "DF00000000000000000000000000000123",
            "DG+0000000000000000000000000000123",
            "DG000000000000000000000000000001234",
            "DGé000000000000000000000000000012",
        ] {
            assert!(wrong.parse::<SinkSid>().is_err(), "{wrong}");
        }
    }
}
