//! The property: whatever the configuration, an explanation says of each event what routers do with it.

use std::collections::BTreeSet;

use millrace_domain::{ConfigVersion, SinkSid, SubscriptionSid, schema::EventTypeStatus};
use millrace_watch::Configuration;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    tests::{
        OWN, PARENT, account, event_type, family, matched, of_parent, subscribed, subscription,
    },
    *,
};
use crate::watch::View;

/// A route: to which sink, and at which version.
type Gets = BTreeSet<(SinkSid, u32)>;

fn status() -> impl Strategy<Value = AccountStatus> {
    use AccountStatus::{Active, Closed, Suspended};
    prop_oneof![4 => Just(Active), 1 => Just(Suspended), 1 => Just(Closed)]
}

fn type_status() -> impl Strategy<Value = EventTypeStatus> {
    use EventTypeStatus::{Available, Deprecated, Discontinued, Restricted};
    select(vec![Available, Deprecated, Restricted, Discontinued])
}

/// Subscriptions of an account to a few sinks and types, some of which are those of others.
fn subscriptions(account: AccountSid) -> impl Strategy<Value = Vec<Subscription>> {
    let types = vec((0..3_u8, 1..4_u32), 0..4);
    let one = (0..4_u128, types, any::<bool>()).prop_map(move |(sink, types, includes)| {
        let types = types.iter().map(|(name, version)| subscribed(&name_of(*name), *version));
        let sink = sink + if account == OWN { 0 } else { 10 };
        Subscription {
            types: types.collect(),
            include_subaccounts: includes,
            ..subscription(account, 0, sink)
        }
    });
    vec(one, 0..6).prop_map(move |made| {
        let first = if account == OWN { 1 } else { 100 };
        let sids = (first..).map(SubscriptionSid::from_u128);
        made.into_iter().zip(sids).map(|(one, sid)| Subscription { sid, ..one }).collect()
    })
}

fn name_of(number: u8) -> String {
    format!("com.example.{number}")
}

/// What a router does with an event of [`OWN`]: which sinks of its account get it, and which of the parent's.
fn routed(configuration: &Configuration, event_type: &str) -> (Gets, Gets) {
    let gets = |routes: &[millrace_domain::matching::Route]| {
        routes.iter().map(|route| (route.sink, route.schema_version)).collect::<Gets>()
    };
    let account = configuration.account(OWN).expect("is there");
    let active = configuration.account_status(account) == AccountStatus::Active;
    let known = configuration.event_type(event_type);
    if !active || !known.is_some_and(|known| known.status.may_be_published()) {
        return (Gets::new(), Gets::new());
    }
    let parents = configuration.parent_routes(OWN, event_type);
    (gets(configuration.routes(OWN, event_type)), parents.map(|it| gets(it.1)).unwrap_or_default())
}

/// What the explanation says that they get of one account's subscriptions.
fn explained(matching: &v1::Matching, account: AccountSid) -> Gets {
    let matched = matching.subscriptions.iter().filter(|it| it.matches);
    let of_account = matched.filter(|it| it.account_sid == account.to_string());
    of_account.map(|it| (it.sink_sid.parse().expect("a SID"), it.schema_version)).collect()
}

proptest! {
    #[test]
    fn an_explanation_says_what_routers_do(
        (own, parent) in (subscriptions(OWN), subscriptions(PARENT)),
        (own_status, parent_status) in (status(), option::of(status())),
        types in vec(option::of(type_status()), 3),
    ) {
        let mut owned = vec![account(OWN, own_status)];
        if parent_status.is_some() {
            owned = owned.into_iter().map(of_parent).collect();
        }
        owned.extend(own.into_iter().map(Resource::Subscription));
        let above = parent_status.map(|status| {
            let parent = parent.into_iter().map(Resource::Subscription);
            std::iter::once(account(PARENT, status)).chain(parent).collect::<Vec<_>>()
        });
        let registered: Vec<_> = (0_u8..).zip(types).filter_map(|(number, status)| {
            Some(EventType { name: name_of(number), ..event_type(status?) })
        }).collect();
        let known = registered.iter().cloned().map(Resource::EventType);
        let all = owned.iter().cloned().chain(above.iter().flatten().cloned()).chain(known);
        let shown = all.filter_map(|resource| View::Router.show(resource, "https://s")).collect();
        let configuration = Configuration::of(ConfigVersion { epoch: 1, seq: 1 }, shown);

        let family = family(owned, above);
        for name in (0..4).map(name_of) {
            let subject = Subject::of(name.clone());
            let known = registered.iter().find(|it| it.name == name);
            let both = matched(&family, &[OWN, PARENT], known, (&subject, None));
            let (own, parents) = routed(&configuration, &name);
            prop_assert_eq!(&explained(&both, OWN), &own, "{}", name);
            prop_assert_eq!(&explained(&both, PARENT), &parents, "{}", name);
            let alone = matched(&family, &[OWN], known, (&subject, None));
            prop_assert_eq!(&explained(&alone, OWN), &own);
            prop_assert!(alone.subscriptions.iter().all(|it| it.account_sid == OWN.to_string()));
            prop_assert_eq!(alone.publish_verdict, both.publish_verdict);
        }
    }
}
