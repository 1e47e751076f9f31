//! Matching, by configurations that are made up.

use millrace_domain::{
    Account, Secret, Sink, SinkConfiguration, SinkDelivery, SinkSid, SinkStatus, SubscribedEvent,
    SubscriptionSid, Timestamp,
    schema::{EventTypeStatus, SchemaVersion},
    sink::{Headers, WebhookMethod},
};
use millrace_store::Past;

use super::*;
use crate::explain::schema;

pub(super) const TYPE: &str = "com.example.a";
const NOW: Timestamp = Timestamp::from_millis(1_763_000_000_000);
/// Whose event it is, and its parent.
pub(super) const OWN: AccountSid = AccountSid::from_u128(1);
pub(super) const PARENT: AccountSid = AccountSid::from_u128(2);

pub(super) fn account(sid: AccountSid, status: AccountStatus) -> Resource {
    Resource::Account(Account {
        sid,
        parent: None,
        friendly_name: String::new(),
        status,
        auth_token: Secret::new(""),
        secondary_auth_token: None,
        created: NOW,
        updated: NOW,
    })
}

/// Makes [`OWN`] a subaccount.
pub(super) fn of_parent(account: Resource) -> Resource {
    match account {
        Resource::Account(account) => {
            Resource::Account(Account { parent: Some(PARENT), ..account })
        }
        other => other,
    }
}

fn sink(id: u128, paused: bool) -> Resource {
    Resource::Sink(Sink {
        sid: SinkSid::from_u128(id),
        account: OWN,
        description: String::new(),
        configuration: SinkConfiguration::Webhook {
            destination: Secret::new("https://e.example"),
            method: WebhookMethod::Post,
            batch_events: false,
        },
        headers: Headers::default(),
        delivery: SinkDelivery { paused, ..SinkDelivery::default() },
        status: SinkStatus::Active,
        signing_secret: Secret::new(""),
        created: NOW,
        updated: NOW,
    })
}

pub(super) fn subscription(account: AccountSid, id: u128, sink: u128) -> Subscription {
    Subscription {
        sid: SubscriptionSid::from_u128(id),
        account,
        description: String::new(),
        sink: SinkSid::from_u128(sink),
        types: Vec::new(),
        include_subaccounts: false,
        created: NOW,
        updated: NOW,
    }
}

pub(super) fn subscribed(event_type: &str, schema_version: u32) -> SubscribedEvent {
    SubscribedEvent { event_type: event_type.to_owned(), schema_version }
}

fn to(id: u128, sink: u128, event_type: &str, version: u32) -> Resource {
    let types = vec![subscribed(event_type, version)];
    Resource::Subscription(Subscription { types, ..subscription(OWN, id, sink) })
}

pub(super) fn event_type(status: EventTypeStatus) -> EventType {
    EventType {
        name: TYPE.to_owned(),
        schema_id: "A".to_owned(),
        description: String::new(),
        status,
        documentation_url: None,
        validation: Validation::Enforce,
        created: NOW,
        updated: NOW,
    }
}

pub(super) fn family(own: Vec<Resource>, parent: Option<Vec<Resource>>) -> Family {
    let past = |resources| Past { seq: 7, resources };
    Family { account: OWN, own: past(own), parent: parent.map(|parent| (PARENT, past(parent))) }
}

pub(super) fn matched(
    family: &Family,
    seen: &[AccountSid],
    event_type: Option<&EventType>,
    (subject, document): (&Subject, Option<&str>),
) -> v1::Matching {
    let version = SchemaVersion {
        schema_id: "A".to_owned(),
        version: 1,
        document: document.map(str::to_owned),
        created: NOW,
    };
    let checked = schema::followed(subject, "A", Some(1))
        .map_or_else(|not| not, |number| schema::check(subject, (number == 1).then_some(&version)));
    of(subject, &Facts { family, seen, tells_status: true, event_type, checked })
}

fn reasons(matching: &v1::Matching) -> Vec<(&str, MatchReason, SinkHold)> {
    let told = matching.subscriptions.iter();
    told.map(|v| {
        let sid = v.subscription_sid.trim_start_matches("DF").trim_start_matches('0');
        (sid, v.reason(), v.hold())
    })
    .collect()
}

#[test]
fn each_subscription_is_told_why_it_matches_or_not() {
    let own = vec![
        account(OWN, AccountStatus::Active),
        sink(1, false),
        sink(2, true),
        to(1, 1, "com.example.b", 1),
        to(2, 1, TYPE, 1),
        to(3, 1, TYPE, 2),
        to(4, 2, TYPE, 1),
        to(5, 3, TYPE, 1),
    ];
    let available = event_type(EventTypeStatus::Available);
    let subject = Subject::of(TYPE.to_owned());
    let told = matched(&family(own, None), &[OWN], Some(&available), (&subject, None));
    assert_eq!(told.publish_verdict(), PublishVerdict::Accepted);
    let none = SinkHold::Unspecified;
    let expected = [
        ("3", MatchReason::Matched, none),
        ("4", MatchReason::Matched, SinkHold::Paused),
        ("5", MatchReason::Matched, SinkHold::Deleted),
        ("1", MatchReason::TypeNotSubscribed, none),
        ("2", MatchReason::Outranked, none),
    ];
    assert_eq!(reasons(&told), expected);
    assert_eq!(told.schema_verdict(), SchemaVerdict::NotChecked);
}

#[test]
fn a_subaccounts_event_is_matched_with_its_parents_subscriptions_for_those_who_see_them() {
    let active = AccountStatus::Active;
    let parents = |id: u128, include_subaccounts, event_type: &str| {
        let types = vec![subscribed(event_type, 1)];
        let made = subscription(PARENT, id, id);
        Resource::Subscription(Subscription { types, include_subaccounts, ..made })
    };
    let own = vec![of_parent(account(OWN, active)), to(1, 1, TYPE, 1)];
    let parent = vec![
        account(PARENT, active),
        parents(2, true, TYPE),
        parents(3, false, TYPE),
        parents(4, true, "com.example.b"),
    ];
    let family = family(own, Some(parent));
    let available = event_type(EventTypeStatus::Available);
    let subject = Subject::of(TYPE.to_owned());
    let seen_by = |seen: &[AccountSid]| {
        let told = matched(&family, seen, Some(&available), (&subject, None));
        let told = reasons(&told).into_iter().map(|(sid, reason, _)| (sid.to_owned(), reason));
        told.collect::<Vec<_>>()
    };
    let one = |sid: &str, reason| (sid.to_owned(), reason);
    assert_eq!(seen_by(&[OWN]), [one("1", MatchReason::Matched)], "nothing of the parent");
    let parents = [
        one("2", MatchReason::Matched),
        one("3", MatchReason::SubaccountsNotIncluded),
        one("4", MatchReason::TypeNotSubscribed),
    ];
    assert_eq!(seen_by(&[PARENT]), parents);
    let [first, rest @ ..] = parents;
    let all = [vec![one("1", MatchReason::Matched), first], rest.to_vec()].concat();
    assert_eq!(seen_by(&[OWN, PARENT]), all);
}

#[test]
fn what_no_router_takes_matches_nothing() {
    let subject = Subject::of(TYPE.to_owned());
    let with = |status| family(vec![account(OWN, status), to(1, 1, TYPE, 1)], None);
    let under = |status| {
        let own = of_parent(account(OWN, AccountStatus::Active));
        family(vec![own, to(1, 1, TYPE, 1)], Some(vec![account(PARENT, status)]))
    };
    let unknown = family(vec![to(1, 1, TYPE, 1)], None);
    let (available, ended) =
        (event_type(EventTypeStatus::Available), event_type(EventTypeStatus::Discontinued));
    for (family, event_type, verdict) in [
        (with(AccountStatus::Active), None, PublishVerdict::TypeUnknown),
        (with(AccountStatus::Active), Some(&ended), PublishVerdict::TypeDiscontinued),
        (with(AccountStatus::Suspended), Some(&available), PublishVerdict::AccountInactive),
        (with(AccountStatus::Closed), Some(&available), PublishVerdict::AccountInactive),
        (under(AccountStatus::Suspended), Some(&available), PublishVerdict::AccountInactive),
        (under(AccountStatus::Closed), Some(&available), PublishVerdict::AccountInactive),
        (unknown, Some(&available), PublishVerdict::AccountUnknown),
    ] {
        let told = matched(&family, &[OWN], event_type, (&subject, None));
        assert_eq!(told.publish_verdict(), verdict);
        assert_eq!(told.subscriptions[0].reason(), MatchReason::NotPublished, "{verdict:?}");
        assert!(!told.publish_detail.is_empty());
    }
}

#[test]
fn a_sink_is_held_by_its_account_and_by_that_ones_parent() {
    let (active, suspended, closed) =
        (AccountStatus::Active, AccountStatus::Suspended, AccountStatus::Closed);
    let hold = |own, parent| {
        let own = vec![of_parent(account(OWN, own)), sink(1, false)];
        let family = family(own, Some(vec![account(PARENT, parent)]));
        Holds::of(&family, &[OWN]).hold(SinkSid::from_u128(1))
    };
    assert_eq!(hold(active, active), SinkHold::Unspecified);
    assert_eq!(hold(suspended, active), SinkHold::AccountSuspended);
    assert_eq!(hold(active, suspended), SinkHold::AccountSuspended);
    assert_eq!(hold(suspended, closed), SinkHold::AccountClosed);
    let family = family(vec![account(OWN, active), sink(1, false)], None);
    let stranger = Holds::of(&family, &[PARENT]).hold(SinkSid::from_u128(1));
    assert_eq!(stranger, SinkHold::Deleted, "who does not see it knows nothing of it");
}

#[test]
fn the_schema_is_asked_of_an_event_that_is_there() {
    let document = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
    let available = event_type(EventTypeStatus::Available);
    let family = family(vec![account(OWN, AccountStatus::Active)], None);
    let told = |attributes: &str, data: &str, document| {
        let event = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/a","type":"{TYPE}",{attributes}"data":{data}}}"#
        );
        let subject = Subject::read(event.into()).expect("has a type");
        matched(&family, &[OWN], Some(&available), (&subject, document))
    };
    let verdict = |data: &str, document| {
        let told = told("", data, document);
        let refused = told.publish_verdict() == PublishVerdict::EventInvalid;
        assert_eq!(refused, told.schema_verdict() == SchemaVerdict::Invalid, "it is enforced");
        (told.schema_verdict(), told.schema_detail)
    };
    assert_eq!(verdict(r#"{"n":1}"#, Some(document)), (SchemaVerdict::Valid, "A/1".to_owned()));
    let (wrong, detail) = verdict(r#"{"n":"x"}"#, Some(document));
    assert_eq!(wrong, SchemaVerdict::Invalid);
    assert!(detail.starts_with("A/1: data.n "), "{detail}");
    assert_eq!(verdict("{}", None).0, SchemaVerdict::NoDocument);
    for wrong in ["https://s/A/2", "https://s/B/1", "nonsense"] {
        let told = told(&format!(r#""dataschema":"{wrong}","#), "{}", Some(document));
        assert_eq!(told.publish_verdict(), PublishVerdict::EventInvalid, "{wrong}");
        assert!(told.publish_detail.starts_with("dataschema: "), "{}", told.publish_detail);
    }
}
