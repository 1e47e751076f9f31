//! `millrace subscriptions add|pin|remove`: the types of event inside a subscription.

use millrace_proto::v1::{self, subscription_service_client::SubscriptionServiceClient as Client};

use super::subscribed;
use crate::client::{connection::Connection, failure::explain};

/// What is done to types of a subscription, one after the other.
#[derive(clap::Subcommand)]
pub(super) enum EventsCommand {
    /// Add types of event to a subscription; its sink and its other types stay. One after the other: what comes before a type that
    /// is refused is done.
    Add(NamedArgs),
    /// Pin types of a subscription to another version of their schemas; without `@VERSION`: to the latest.
    Pin(NamedArgs),
    /// Take types of event out of a subscription. The last one stays: delete the subscription.
    Remove {
        /// The subscription's SID.
        #[arg(value_name = "DF…")]
        sid: String,
        /// The types.
        #[arg(value_name = "NAME", required = true)]
        types: Vec<String>,
    },
}

#[derive(clap::Args)]
pub(super) struct NamedArgs {
    /// The subscription's SID.
    #[arg(value_name = "DF…")]
    sid: String,
    /// The types, each with a version of its schema (without one: the latest).
    #[arg(value_name = "NAME[@VERSION]", required = true, value_parser = subscribed)]
    types: Vec<v1::SubscribedEvent>,
}

/// Does it, up to the first type that is refused; gives the subscription as it is then.
pub(super) async fn run(
    client: &mut Client<Connection>,
    command: EventsCommand,
) -> anyhow::Result<Option<v1::Subscription>> {
    let sid = match command {
        EventsCommand::Add(NamedArgs { sid, types }) => {
            for event in types {
                let failed = format!("add `{}` to the subscription `{sid}`", event.r#type);
                let request = v1::AddSubscribedEventRequest {
                    subscription_sid: sid.clone(),
                    subscribed_event: Some(event),
                    ..v1::AddSubscribedEventRequest::default()
                };
                let added = client.add_subscribed_event(request).await;
                added.map_err(|status| explain(&status, &failed))?;
            }
            sid
        }
        EventsCommand::Pin(NamedArgs { sid, types }) => {
            for event in types {
                let failed = format!("pin `{}` of the subscription `{sid}`", event.r#type);
                let request = v1::UpdateSubscribedEventRequest {
                    subscription_sid: sid.clone(),
                    subscribed_event: Some(event),
                };
                let pinned = client.update_subscribed_event(request).await;
                pinned.map_err(|status| explain(&status, &failed))?;
            }
            sid
        }
        EventsCommand::Remove { sid, types } => {
            for name in types {
                let failed = format!("remove `{name}` from the subscription `{sid}`");
                let subscription_sid = sid.clone();
                let request = v1::RemoveSubscribedEventRequest { subscription_sid, r#type: name };
                let removed = client.remove_subscribed_event(request).await;
                removed.map_err(|status| explain(&status, &failed))?;
            }
            sid
        }
    };
    let failed = format!("get the subscription `{sid}`");
    let found = client.get_subscription(v1::GetSubscriptionRequest { sid }).await;
    Ok(found.map_err(|status| explain(&status, &failed))?.into_inner().subscription)
}
