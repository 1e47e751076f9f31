//! Routing: which sinks take an event of an account and type, and at which schema version; and why a subscription takes one or not.

use hashbrown::HashMap;

use crate::{SinkSid, Subscription};

/// Where one event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The sink.
    pub sink: SinkSid,
    /// The version its subscription is pinned to.
    pub schema_version: u32,
}

/// Whose event it is, as a subscription sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Of the subscription's own account.
    Own,
    /// Of a subaccount of the subscription's account.
    Subaccount,
}

impl Subscription {
    /// Whether it takes the events that are of `origin`.
    pub fn takes_from(&self, origin: Origin) -> bool {
        origin == Origin::Own || self.include_subaccounts
    }

    /// The version that it is pinned to of a type; `None`: it does not have the type.
    pub fn version_of(&self, event_type: &str) -> Option<u32> {
        let subscribed = self.types.iter().filter(|it| it.event_type == event_type);
        subscribed.map(|it| it.schema_version).max()
    }
}

/// What a subscription makes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Its sink gets the event by it.
    Matched,
    /// It does not have the type.
    TypeNotSubscribed,
    /// It has the type, of its own account's events only; this one is a subaccount's.
    SubaccountsNotIncluded,
    /// It would, and its sink gets the event by another, at a newer version or at the same.
    Outranked,
}

/// The routes of one account's sinks, by event type. Immutable: a change makes a new one.
#[derive(Clone, Debug, Default)]
pub struct MatchTable {
    own: ByType,
    subaccounts: ByType,
}

type ByType = HashMap<String, Vec<Route>>;

impl MatchTable {
    /// Builds the table of an account from its subscriptions. Of two subscriptions that match one event
    /// on one sink, the highest version wins: the sink gets the event once.
    pub fn of<'a>(
        subscriptions: impl IntoIterator<Item = &'a Subscription, IntoIter: Clone>,
    ) -> Self {
        let subscriptions = subscriptions.into_iter();
        Self {
            own: routes_of(subscriptions.clone(), Origin::Own),
            subaccounts: routes_of(subscriptions, Origin::Subaccount),
        }
    }

    /// The sinks that take events of `event_type` which are of `origin`, each once.
    pub fn routes(&self, event_type: &str, origin: Origin) -> &[Route] {
        let by_type = match origin {
            Origin::Own => &self.own,
            Origin::Subaccount => &self.subaccounts,
        };
        by_type.get(event_type).map_or(&[], Vec::as_slice)
    }
}

/// Tells what each of an account's subscriptions makes of an event, in their order: those that match are the routes of the account's
/// [`MatchTable`], one for each. Of several that give a sink the same version it is the first.
pub fn judge(subscriptions: &[&Subscription], event_type: &str, origin: Origin) -> Vec<Judgement> {
    let table = MatchTable::of(subscriptions.iter().copied());
    let routes = table.routes(event_type, origin).iter();
    let mut open: HashMap<SinkSid, u32> =
        routes.map(|route| (route.sink, route.schema_version)).collect();
    let judged =
        subscriptions.iter().map(|subscription| match subscription.version_of(event_type) {
            None => Judgement::TypeNotSubscribed,
            Some(_) if !subscription.takes_from(origin) => Judgement::SubaccountsNotIncluded,
            Some(version) if open.get(&subscription.sink) == Some(&version) => {
                open.remove(&subscription.sink);
                Judgement::Matched
            }
            Some(_) => Judgement::Outranked,
        });
    judged.collect()
}

fn routes_of<'a>(subscriptions: impl Iterator<Item = &'a Subscription>, origin: Origin) -> ByType {
    let mut by_type = ByType::new();
    for subscription in subscriptions.filter(|subscription| subscription.takes_from(origin)) {
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
    by_type
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
            include_subaccounts: false,
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
            table.routes("a", Origin::Own),
            [
                Route { sink: SinkSid::from_u128(1), schema_version: 3 },
                Route { sink: SinkSid::from_u128(2), schema_version: 1 },
            ]
        );
        assert_eq!(table.routes("b", Origin::Own).len(), 1);
        assert_eq!(table.routes("c", Origin::Own), []);
    }

    #[test]
    fn a_subaccounts_event_goes_where_subaccounts_are_included() {
        let rolled_up = Subscription { include_subaccounts: true, ..subscription(2, &[("a", 1)]) };
        let table = MatchTable::of(&[subscription(1, &[("a", 2)]), rolled_up]);
        let sinks = |origin| table.routes("a", origin).iter().map(|r| r.sink).collect::<Vec<_>>();
        assert_eq!(sinks(Origin::Own), [SinkSid::from_u128(1), SinkSid::from_u128(2)]);
        assert_eq!(sinks(Origin::Subaccount), [SinkSid::from_u128(2)]);
    }

    #[test]
    fn every_subscription_is_told_what_it_makes_of_an_event() {
        let rolled_up = |sink, version| Subscription {
            include_subaccounts: true,
            ..subscription(sink, &[("a", version)])
        };
        let all = [
            subscription(1, &[("a", 1)]),
            rolled_up(1, 2),
            subscription(1, &[("a", 2)]),
            subscription(2, &[("b", 1)]),
            rolled_up(2, 1),
        ];
        let all: Vec<&Subscription> = all.iter().collect();
        use Judgement::{Matched, Outranked, SubaccountsNotIncluded, TypeNotSubscribed};
        let own = [Outranked, Matched, Outranked, TypeNotSubscribed, Matched];
        assert_eq!(judge(&all, "a", Origin::Own), own);
        let not = SubaccountsNotIncluded;
        let subaccounts = [not, Matched, not, TypeNotSubscribed, Matched];
        assert_eq!(judge(&all, "a", Origin::Subaccount), subaccounts);
    }
}
