//! Routing: which sinks take an event of an account and type, and at which schema version.

use std::collections::HashMap;

use crate::{SinkSid, Subscription};

/// Where one event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The sink.
    pub sink: SinkSid,
    /// The version its subscription is pinned to.
    pub schema_version: u32,
}

/// The routes of one account, by event type. Immutable: a change makes a new one.
#[derive(Clone, Debug, Default)]
pub struct MatchTable {
    by_type: HashMap<String, Vec<Route>>,
}

impl MatchTable {
    /// Builds the table of an account from its subscriptions. Of two subscriptions that match one event
    /// on one sink, the highest version wins: the sink gets the event once.
    pub fn of<'a>(subscriptions: impl IntoIterator<Item = &'a Subscription>) -> Self {
        let mut by_type: HashMap<String, Vec<Route>> = HashMap::new();
        for subscription in subscriptions {
            for subscribed in &subscription.types {
                let routes = by_type.entry(subscribed.event_type.clone()).or_default();
                match routes.iter_mut().find(|route| route.sink == subscription.sink) {
                    Some(route) => {
                        route.schema_version = route.schema_version.max(subscribed.schema_version)
                    }
                    None => routes.push(Route {
                        sink: subscription.sink,
                        schema_version: subscribed.schema_version,
                    }),
                }
            }
        }
        Self { by_type }
    }

    /// The sinks that take events of `event_type`, each once.
    pub fn routes(&self, event_type: &str) -> &[Route] {
        self.by_type.get(event_type).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountSid, SubscribedEvent, SubscriptionSid, Timestamp};

    fn subscription(sink: u128, types: &[(&str, u32)]) -> Subscription {
        Subscription {
            sid: SubscriptionSid::from_u128(sink),
            account: AccountSid::from_u128(1),
            description: "d".to_owned(),
            sink: SinkSid::from_u128(sink),
            types: types
                .iter()
                .map(|(name, version)| SubscribedEvent {
                    event_type: (*name).to_owned(),
                    schema_version: *version,
                })
                .collect(),
            created: Timestamp::default(),
            updated: Timestamp::default(),
        }
    }

    #[test]
    fn two_subscriptions_of_one_sink_deliver_once_at_the_highest_version() {
        let table = MatchTable::of(&[
            subscription(1, &[("a", 2), ("b", 1)]),
            subscription(1, &[("a", 3)]),
            subscription(2, &[("a", 1)]),
        ]);
        assert_eq!(
            table.routes("a"),
            [
                Route { sink: SinkSid::from_u128(1), schema_version: 3 },
                Route { sink: SinkSid::from_u128(2), schema_version: 1 },
            ]
        );
        assert_eq!(table.routes("b").len(), 1);
        assert_eq!(table.routes("c"), []);
    }
}
