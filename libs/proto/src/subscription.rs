//! Subscriptions on the wire.

use millrace_domain::{SubscribedEvent, Subscription};

use crate::{v1, wire_time};

impl From<&SubscribedEvent> for v1::SubscribedEvent {
    fn from(subscribed: &SubscribedEvent) -> Self {
        Self { r#type: subscribed.event_type.clone(), schema_version: subscribed.schema_version }
    }
}

impl From<&Subscription> for v1::Subscription {
    fn from(subscription: &Subscription) -> Self {
        Self {
            sid: subscription.sid.to_string(),
            account_sid: subscription.account.to_string(),
            description: subscription.description.clone(),
            sink_sid: subscription.sink.to_string(),
            types: subscription.types.iter().map(Into::into).collect(),
            create_time: Some(wire_time(subscription.created)),
            update_time: Some(wire_time(subscription.updated)),
            include_subaccounts: subscription.include_subaccounts,
        }
    }
}
