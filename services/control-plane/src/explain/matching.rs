//! Which subscriptions take an event, and why the others do not: a pure function of the configuration, by the rules that routers match
//! with ([`millrace_domain::matching`]).

use millrace_domain::{
    AccountSid, AccountStatus, Subscription,
    matching::{Judgement, Origin, judge},
    schema::{EventType, Validation},
};
use millrace_proto::v1::{self, MatchReason, PublishVerdict, SchemaVerdict, SinkHold};
use millrace_store::Resource;

use super::{Subject, family::Family, holds::Holds, schema::Checked};

#[cfg(test)]
mod as_routers;
#[cfg(test)]
mod tests;

/// Most subscriptions that are told of.
const SUBSCRIPTIONS_MAX: usize = 1_000;

/// What is said to who may not see whether the account is active.
const STATUS_NOT_TOLD: &str =
    "if the account was active: that is told to credentials that may manage accounts";

/// The configuration that it is matched with.
pub(super) struct Facts<'a> {
    /// The event's account, and its parent.
    pub(super) family: &'a Family,
    /// Whose subscriptions are told of.
    pub(super) seen: &'a [AccountSid],
    /// Whether it is told whether the account was active. If not, it is taken to have been.
    pub(super) tells_status: bool,
    pub(super) event_type: Option<&'a EventType>,
    /// What the type's schema says.
    pub(super) checked: Checked,
}

/// Matches as a router would have.
pub(super) fn of(subject: &Subject, facts: &Facts<'_>) -> v1::Matching {
    let (verdict, detail) = publish(subject, facts);
    let mut matching = v1::Matching {
        r#type: subject.event_type.clone(),
        publish_verdict: verdict.into(),
        publish_detail: detail,
        config_seq: facts.family.seq(facts.seen),
        schema_verdict: facts.checked.verdict.into(),
        schema_detail: facts.checked.detail.clone(),
        ..v1::Matching::default()
    };
    if subject.event_type.is_empty() {
        return matching;
    }
    let published = verdict == PublishVerdict::Accepted;
    let holds = Holds::of(facts.family, facts.seen);
    let mut verdicts = Vec::new();
    for account in facts.seen {
        let subscriptions = subscriptions(facts.family, *account);
        let judged = judge(&subscriptions, &subject.event_type, origin(facts.family, *account));
        verdicts.extend(subscriptions.iter().zip(judged).map(|(subscription, judgement)| {
            verdict_of(subscription, (&subject.event_type, published), judgement, &holds)
        }));
    }
    verdicts.sort_by_key(|verdict| !verdict.matches);
    let omitted = verdicts.len().saturating_sub(SUBSCRIPTIONS_MAX);
    verdicts.truncate(SUBSCRIPTIONS_MAX);
    matching.omitted_subscriptions = u32::try_from(omitted).unwrap_or(u32::MAX);
    matching.subscriptions = verdicts;
    matching
}

/// How the subscriptions of one of the family see the event.
fn origin(family: &Family, account: AccountSid) -> Origin {
    if account == family.account { Origin::Own } else { Origin::Subaccount }
}

fn subscriptions(family: &Family, account: AccountSid) -> Vec<&Subscription> {
    let subscriptions = family.resources(account).iter().filter_map(|resource| match resource {
        Resource::Subscription(subscription) => Some(subscription),
        _ => None,
    });
    let mut subscriptions: Vec<_> = subscriptions.collect();
    subscriptions.sort_by_key(|subscription| subscription.sid);
    subscriptions
}

fn verdict_of(
    subscription: &Subscription,
    (event_type, published): (&str, bool),
    judgement: Judgement,
    holds: &Holds<'_>,
) -> v1::SubscriptionVerdict {
    let reason = match judgement {
        Judgement::TypeNotSubscribed => MatchReason::TypeNotSubscribed,
        Judgement::SubaccountsNotIncluded => MatchReason::SubaccountsNotIncluded,
        Judgement::Matched | Judgement::Outranked if !published => MatchReason::NotPublished,
        Judgement::Matched => MatchReason::Matched,
        Judgement::Outranked => MatchReason::Outranked,
    };
    let matches = reason == MatchReason::Matched;
    let hold = if matches { holds.hold(subscription.sink) } else { SinkHold::Unspecified };
    v1::SubscriptionVerdict {
        subscription_sid: subscription.sid.to_string(),
        description: subscription.description.clone(),
        sink_sid: subscription.sink.to_string(),
        matches,
        reason: reason.into(),
        schema_version: subscription.version_of(event_type).unwrap_or(0),
        hold: hold.into(),
        account_sid: subscription.account.to_string(),
    }
}

/// Whether a router takes it.
fn publish(subject: &Subject, facts: &Facts<'_>) -> (PublishVerdict, String) {
    let (account, event_type) = (facts.family.account, &subject.event_type);
    if event_type.is_empty() {
        return (PublishVerdict::Unspecified, String::new());
    }
    let status = match facts.tells_status {
        true => facts.family.status(account),
        false => Some(AccountStatus::Active),
    };
    let known = match (status, facts.event_type) {
        (None, _) => {
            let detail = format!("account {account} was not there at the time");
            return (PublishVerdict::AccountUnknown, detail);
        }
        (Some(status), _) if status != AccountStatus::Active => {
            let detail = format!("the account was {}", status.as_str());
            return (PublishVerdict::AccountInactive, detail);
        }
        (_, None) => {
            let detail = format!("`{event_type}` was not a registered event type");
            return (PublishVerdict::TypeUnknown, detail);
        }
        (_, Some(known)) => known,
    };
    if !known.status.may_be_published() {
        return (PublishVerdict::TypeDiscontinued, format!("`{event_type}` was discontinued"));
    }
    let refused = subject.refusal.as_ref().or(facts.checked.refusal.as_ref());
    let enforced = known.validation == Validation::Enforce;
    let unfit = enforced && facts.checked.verdict == SchemaVerdict::Invalid;
    match refused.or_else(|| unfit.then_some(&facts.checked.detail)) {
        Some(why) => (PublishVerdict::EventInvalid, why.clone()),
        None if !facts.tells_status => (PublishVerdict::Accepted, STATUS_NOT_TOLD.to_owned()),
        None => (PublishVerdict::Accepted, String::new()),
    }
}
