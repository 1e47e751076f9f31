//! Which subscriptions take an event, and why the others do not: a pure function of the configuration, as routers match.

use std::collections::HashMap;

use bytes::Bytes;
use millrace_domain::{
    Account, AccountSid, AccountStatus, Sink, SinkSid, SinkStatus, Subscription,
    event::CloudEvent,
    schema::{EventType, EventTypeStatus, SchemaVersion, Validation, check_name},
};
use millrace_proto::v1::{self, MatchReason, PublishVerdict, SchemaVerdict, SinkHold};
use millrace_store::{Past, Resource};
use serde_json::Value;

use super::schema;
use crate::status::{Failure, code};

/// Most subscriptions that are told of.
const SUBSCRIPTIONS_MAX: usize = 1_000;

/// What is matched: a type, and the event if it is there.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) event_type: String,
    /// The event in the CloudEvents JSON format.
    pub(crate) event: Option<Bytes>,
    /// Why the event would be refused, whatever its account has.
    pub(crate) refusal: Option<String>,
}

impl Subject {
    pub(crate) fn of(event_type: String) -> Self {
        Self { event_type, event: None, refusal: None }
    }

    /// Reads an event of which only the type must be there: what a publish would refuse is told, not refused.
    pub(crate) fn read(event: Bytes) -> Result<Self, Failure> {
        let wrong = |message: String| Failure::invalid(code::BAD_REQUEST, "Event", message);
        let json: Value = serde_json::from_slice(&event)
            .map_err(|error| wrong(format!("is not JSON: {error}")))?;
        let name = json.get("type").and_then(Value::as_str);
        let name = name.ok_or_else(|| wrong("must be a JSON object with a `type`".to_owned()))?;
        check_name("Event.type", name)
            .map_err(|refusal| Failure::refused(code::BAD_REQUEST, refusal))?;
        let event_type = name.to_owned();
        let whole = ["source", "data"].iter().all(|field| json.get(field).is_some());
        let refusal = CloudEvent::parse(&event).and_then(|event| event.check()).err();
        let refusal = refusal
            .filter(|_| whole)
            .map(|refusal| format!("{}: {}", refusal.field, refusal.message));
        Ok(Self { event_type, event: Some(event), refusal })
    }
}

/// The configuration that it is matched with.
pub(super) struct Facts<'a> {
    pub(super) account: AccountSid,
    pub(super) past: &'a Past,
    pub(super) event_type: Option<&'a EventType>,
    /// Of the type's schema, oldest first.
    pub(super) versions: Vec<SchemaVersion>,
}

/// What keeps sinks from being called.
pub(super) struct Holds<'a> {
    account: Option<&'a Account>,
    sinks: HashMap<SinkSid, Option<&'a Sink>>,
}

impl<'a> Holds<'a> {
    /// Of the resources of one account.
    pub(super) fn of(resources: &'a [Resource]) -> Self {
        let mut holds = Self { account: None, sinks: HashMap::new() };
        for resource in resources {
            match resource {
                Resource::Account(account) => holds.account = Some(account),
                Resource::Sink(sink) => drop(holds.sinks.insert(sink.sid, Some(sink))),
                Resource::SinkTombstone(sid, _) => drop(holds.sinks.insert(*sid, None)),
                _ => {}
            }
        }
        holds
    }

    /// The sink, unless it is deleted.
    pub(super) fn sink(&self, sid: SinkSid) -> Option<&'a Sink> {
        self.sinks.get(&sid).copied().flatten()
    }

    /// What keeps it from being called.
    pub(super) fn hold(&self, sid: SinkSid) -> SinkHold {
        match self.account.map(|account| account.status) {
            Some(AccountStatus::Closed) => return SinkHold::AccountClosed,
            Some(AccountStatus::Suspended) => return SinkHold::AccountSuspended,
            _ => {}
        }
        match self.sink(sid) {
            None => SinkHold::Deleted,
            Some(sink) if sink.delivery.paused => SinkHold::Paused,
            Some(sink) if sink.status == SinkStatus::Failed => SinkHold::Failed,
            Some(_) => SinkHold::Unspecified,
        }
    }
}

/// Matches as a router would have.
pub(super) fn of(subject: &Subject, facts: &Facts<'_>) -> v1::Matching {
    let holds = Holds::of(&facts.past.resources);
    let (schema_verdict, schema_detail) = schema::verdict(subject, &facts.versions);
    let enforced = facts.event_type.is_some_and(|it| it.validation == Validation::Enforce);
    let (verdict, detail) = match publish(subject, facts, &holds) {
        (PublishVerdict::Accepted, _) if enforced && schema_verdict == SchemaVerdict::Invalid => {
            (PublishVerdict::EventInvalid, schema_detail.clone())
        }
        verdict => verdict,
    };
    let mut matching = v1::Matching {
        r#type: subject.event_type.clone(),
        publish_verdict: verdict.into(),
        publish_detail: detail,
        config_seq: facts.past.seq,
        schema_verdict: schema_verdict.into(),
        schema_detail,
        ..v1::Matching::default()
    };
    if subject.event_type.is_empty() {
        return matching;
    }
    let subscriptions = facts.past.resources.iter().filter_map(|resource| match resource {
        Resource::Subscription(subscription) => Some(subscription),
        _ => None,
    });
    let subscriptions: Vec<&Subscription> = subscriptions.collect();
    let winners = winners(&subscriptions, &subject.event_type);
    let published = verdict == PublishVerdict::Accepted;
    let mut verdicts: Vec<_> = subscriptions
        .iter()
        .map(|subscription| judge(subscription, (&subject.event_type, published), &winners, &holds))
        .collect();
    verdicts.sort_by_key(|verdict| !verdict.matches);
    let omitted = verdicts.len().saturating_sub(SUBSCRIPTIONS_MAX);
    verdicts.truncate(SUBSCRIPTIONS_MAX);
    matching.omitted_subscriptions = u32::try_from(omitted).unwrap_or(u32::MAX);
    matching.subscriptions = verdicts;
    matching
}

/// Of subscriptions that have a type, the one by which each sink gets it: the first with the newest version.
fn winners<'a>(
    subscriptions: &[&'a Subscription],
    event_type: &str,
) -> HashMap<SinkSid, (u32, &'a Subscription)> {
    let mut winners: HashMap<SinkSid, (u32, &Subscription)> = HashMap::new();
    for subscription in subscriptions {
        let Some(version) = version_of(subscription, event_type) else { continue };
        let best = winners.entry(subscription.sink).or_insert((version, subscription));
        if version > best.0 {
            *best = (version, subscription);
        }
    }
    winners
}

fn version_of(subscription: &Subscription, event_type: &str) -> Option<u32> {
    let event = subscription.types.iter().find(|event| event.event_type == event_type);
    event.map(|event| event.schema_version)
}

fn judge(
    subscription: &Subscription,
    (event_type, published): (&str, bool),
    winners: &HashMap<SinkSid, (u32, &Subscription)>,
    holds: &Holds<'_>,
) -> v1::SubscriptionVerdict {
    let version = version_of(subscription, event_type);
    let wins = |winner: &(u32, &Subscription)| winner.1.sid == subscription.sid;
    let reason = match version {
        None => MatchReason::TypeNotSubscribed,
        Some(_) if !published => MatchReason::NotPublished,
        Some(_) if winners.get(&subscription.sink).is_some_and(wins) => MatchReason::Matched,
        Some(_) => MatchReason::Outranked,
    };
    let matches = reason == MatchReason::Matched;
    let hold = if matches { holds.hold(subscription.sink) } else { SinkHold::Unspecified };
    v1::SubscriptionVerdict {
        subscription_sid: subscription.sid.to_string(),
        description: subscription.description.clone(),
        sink_sid: subscription.sink.to_string(),
        matches,
        reason: reason.into(),
        schema_version: version.unwrap_or(0),
        hold: hold.into(),
        account_sid: subscription.account.to_string(),
    }
}

/// Whether a router takes it.
fn publish(subject: &Subject, facts: &Facts<'_>, holds: &Holds<'_>) -> (PublishVerdict, String) {
    let status = holds.account.map(|account| account.status);
    if subject.event_type.is_empty() {
        return (PublishVerdict::Unspecified, String::new());
    }
    match (status, facts.event_type) {
        (None, _) => {
            let detail = format!("account {} was not there at the time", facts.account);
            (PublishVerdict::AccountUnknown, detail)
        }
        (Some(status), _) if status != AccountStatus::Active => {
            (PublishVerdict::AccountInactive, format!("the account was {}", status.as_str()))
        }
        (_, None) => {
            let detail = format!("`{}` was not a registered event type", subject.event_type);
            (PublishVerdict::TypeUnknown, detail)
        }
        (_, Some(found)) if found.status == EventTypeStatus::Discontinued => {
            let detail = format!("`{}` was discontinued", subject.event_type);
            (PublishVerdict::TypeDiscontinued, detail)
        }
        _ => match &subject.refusal {
            Some(refusal) => (PublishVerdict::EventInvalid, refusal.clone()),
            None => (PublishVerdict::Accepted, String::new()),
        },
    }
}

#[cfg(test)]
mod tests {
    use millrace_domain::{
        Secret, SinkConfiguration, SinkDelivery, SubscribedEvent, SubscriptionSid, Timestamp,
        sink::{Headers, WebhookMethod},
    };

    use super::*;

    const TYPE: &str = "com.example.a";
    const NOW: Timestamp = Timestamp::from_millis(1_763_000_000_000);

    fn account(status: AccountStatus) -> Resource {
        Resource::Account(Account {
            sid: AccountSid::from_u128(1),
            parent: None,
            friendly_name: String::new(),
            status,
            auth_token: Secret::new(""),
            secondary_auth_token: None,
            created: NOW,
            updated: NOW,
        })
    }

    fn sink(id: u128, paused: bool) -> Resource {
        Resource::Sink(Sink {
            sid: SinkSid::from_u128(id),
            account: AccountSid::from_u128(1),
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

    fn subscription(id: u128, sink: u128, types: &[(&str, u32)]) -> Resource {
        let types = types.iter().map(|(name, version)| SubscribedEvent {
            event_type: (*name).to_owned(),
            schema_version: *version,
        });
        Resource::Subscription(Subscription {
            sid: SubscriptionSid::from_u128(id),
            account: AccountSid::from_u128(1),
            description: String::new(),
            sink: SinkSid::from_u128(sink),
            types: types.collect(),
            include_subaccounts: false,
            created: NOW,
            updated: NOW,
        })
    }

    fn event_type(status: EventTypeStatus) -> EventType {
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

    fn matched(
        resources: Vec<Resource>,
        event_type: Option<&EventType>,
        subject: &Subject,
        document: Option<&str>,
    ) -> v1::Matching {
        let past = Past { seq: 7, resources };
        let version = SchemaVersion {
            schema_id: "A".to_owned(),
            version: 1,
            document: document.map(str::to_owned),
            created: NOW,
        };
        let account = AccountSid::from_u128(1);
        of(subject, &Facts { account, past: &past, event_type, versions: vec![version] })
    }

    fn reasons(matching: &v1::Matching) -> Vec<(&str, MatchReason, SinkHold)> {
        let told = matching.subscriptions.iter();
        told.map(|v| {
            (
                v.subscription_sid.trim_start_matches("DF0").trim_start_matches('0'),
                v.reason(),
                v.hold(),
            )
        })
        .collect()
    }

    #[test]
    fn each_subscription_is_told_why_it_matches_or_not() {
        let resources = vec![
            account(AccountStatus::Active),
            sink(1, false),
            sink(2, true),
            subscription(1, 1, &[("com.example.b", 1)]),
            subscription(2, 1, &[(TYPE, 1)]),
            subscription(3, 1, &[(TYPE, 2)]),
            subscription(4, 2, &[(TYPE, 1)]),
            subscription(5, 3, &[(TYPE, 1)]),
        ];
        let available = event_type(EventTypeStatus::Available);
        let subject = Subject::of(TYPE.to_owned());
        let told = matched(resources, Some(&available), &subject, None);
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
    fn what_no_router_takes_matches_nothing() {
        let subject = Subject::of(TYPE.to_owned());
        let with = |status| vec![account(status), subscription(1, 1, &[(TYPE, 1)])];
        let (available, ended) =
            (event_type(EventTypeStatus::Available), event_type(EventTypeStatus::Discontinued));
        for (resources, event_type, verdict) in [
            (with(AccountStatus::Active), None, PublishVerdict::TypeUnknown),
            (with(AccountStatus::Active), Some(&ended), PublishVerdict::TypeDiscontinued),
            (with(AccountStatus::Suspended), Some(&available), PublishVerdict::AccountInactive),
            (with(AccountStatus::Closed), Some(&available), PublishVerdict::AccountInactive),
            (
                vec![subscription(1, 1, &[(TYPE, 1)])],
                Some(&available),
                PublishVerdict::AccountUnknown,
            ),
        ] {
            let told = matched(resources, event_type, &subject, None);
            assert_eq!(told.publish_verdict(), verdict);
            assert_eq!(told.subscriptions[0].reason(), MatchReason::NotPublished, "{verdict:?}");
            assert!(!told.publish_detail.is_empty());
        }
    }

    #[test]
    fn the_schema_is_asked_of_an_event_that_is_there() {
        let document = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
        let available = event_type(EventTypeStatus::Available);
        let verdict = |data: &str, document| {
            let event = format!(
                r#"{{"specversion":"1.0","id":"1","source":"/a","type":"{TYPE}","data":{data}}}"#
            );
            let subject = Subject { event: Some(event.into()), ..Subject::of(TYPE.to_owned()) };
            let told =
                matched(vec![account(AccountStatus::Active)], Some(&available), &subject, document);
            let refused = told.publish_verdict() == PublishVerdict::EventInvalid;
            assert_eq!(refused, told.schema_verdict() == SchemaVerdict::Invalid, "it is enforced");
            (told.schema_verdict(), told.schema_detail)
        };
        assert_eq!(verdict(r#"{"n":1}"#, Some(document)), (SchemaVerdict::Valid, "A/1".to_owned()));
        let (wrong, detail) = verdict(r#"{"n":"x"}"#, Some(document));
        assert_eq!(wrong, SchemaVerdict::Invalid);
        assert!(detail.starts_with("A/1: data.n "), "{detail}");
        assert_eq!(verdict("{}", None).0, SchemaVerdict::NoDocument);
    }
}
