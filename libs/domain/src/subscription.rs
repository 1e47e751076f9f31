//! Subscriptions and the event types inside them.

use serde::{Deserialize, Serialize};

use crate::{AccountSid, SinkSid, SubscriptionSid, Timestamp};

/// Most subscriptions an account or subaccount may have (Twilio Event Streams, "Limits").
pub const SUBSCRIPTIONS_PER_ACCOUNT: u32 = 100;
/// Most event types in one subscription: above the size of the whole catalogue.
pub const TYPES_PER_SUBSCRIPTION: usize = 1_000;

/// An event type inside a subscription, pinned to a schema version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribedEvent {
    /// Name of the event type.
    pub event_type: String,
    /// The version its `data` is delivered at, from 1.
    pub schema_version: u32,
}

/// Sends events of some types to one sink of the same account: the account's own, and its subaccounts' if it asks for them. Several subscriptions may share a sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// `DF…`.
    pub sid: SubscriptionSid,
    /// Whose it is.
    pub account: AccountSid,
    /// For people.
    pub description: String,
    /// Where its events go; never changes.
    pub sink: SinkSid,
    /// What it takes, sorted by type, each type once.
    pub types: Vec<SubscribedEvent>,
    /// Takes the events of the account's subaccounts too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub include_subaccounts: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// A change of a subscription: what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionUpdate {
    /// For people.
    pub description: Option<String>,
    /// Whether it takes the events of the account's subaccounts too.
    pub include_subaccounts: Option<bool>,
}
