//! What becomes of one event: checked against the catalogue, matched, written once for each schema version asked for.

use std::{borrow::Cow, sync::Arc};

use millrace_domain::{
    AccountSid, AccountStatus, Refusal, RefusalCode,
    event::{ACCOUNT_EXTENSION, CloudEvent, EVENT_MAX_BYTES},
    schema::followed_version,
};
use millrace_proto::internal::{ChunkEvent, Variant};
use millrace_queue::chunk::account_bytes;
use millrace_watch::{Configuration, EventType, Schema};

use crate::{
    auth::Caller,
    validate::{Compiled, Unfit, Validators, Wanted},
};

#[cfg(test)]
mod tests;
mod variants;

use self::variants::variants;

/// What `,"accountsid":"AC…"` takes: it is not held against an event, which its own account may publish whoever else gets it.
const ACCOUNT_ATTRIBUTE_BYTES: usize = 50;

/// What all events of a request have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// By what they are checked and matched.
    pub(crate) configuration: &'a Configuration,
    /// What their data is checked with.
    pub(crate) validators: &'a Arc<Validators>,
    /// Who publishes them.
    pub(crate) caller: Caller,
    /// What the account of an event is called where it came in.
    pub(crate) account_field: &'static str,
    /// Trace context of the request; empty: none.
    pub(crate) traceparent: &'a str,
    /// When they were accepted, RFC 3339.
    pub(crate) now: &'a str,
}

/// An event that may be accepted.
#[derive(Debug)]
pub(crate) struct Routed {
    /// Whose it is.
    pub(crate) account: AccountSid,
    /// How many sinks get it; a subaccount is not told of its parent's.
    pub(crate) sinks: u32,
    /// What to queue; `None`: nobody subscribes.
    pub(crate) event: Option<ChunkEvent>,
    /// What to queue for the parent that the event's account has, and which account that is: a write of its own, as sinks
    /// wait at home. It is of the parent's account there, and says in its extension attribute `accountsid` whose it is.
    pub(crate) rolled_up: Option<(AccountSid, ChunkEvent)>,
}

/// Why an event is not routed.
#[derive(Debug)]
pub(crate) enum Unrouted<'e> {
    /// It is refused.
    Refused(Refusal),
    /// It is to be routed again once its document is compiled.
    Waits(Box<CloudEvent<'e>>, Wanted),
}

impl From<Refusal> for Unrouted<'_> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The schema version that an event follows.
struct Published<'a> {
    /// 0: not known.
    number: u32,
    dataschema: Option<&'a str>,
    event_type: &'a EventType,
    schema: Option<&'a Schema>,
}

impl<'a> Origin<'a> {
    /// Routes an event that has an id. `named` is the account it says it is of; `compiled` is what its data is checked with, where
    /// that was compiled for it.
    pub(crate) fn route<'e>(
        &self,
        mut event: CloudEvent<'e>,
        named: Option<&str>,
        compiled: Option<&Arc<Compiled>>,
    ) -> Result<Routed, Unrouted<'e>>
    where
        'a: 'e,
    {
        let account = self.account(named)?;
        if event.time.is_none() {
            event.time = Some(Cow::Borrowed(self.now));
        }
        let published = self.published(&event)?;
        match self.validate(&event, &published, compiled) {
            Ok(()) => {}
            Err(Unfit::Refused(refusal)) => return Err(refusal.into()),
            Err(Unfit::Uncompiled(wanted)) => {
                return Err(Unrouted::Waits(Box::new(event), wanted));
            }
        }
        let routes = self.configuration.routes(account, &event.event_type);
        let own = variants(&event, &published, (routes, EVENT_MAX_BYTES))?;
        let mut sinks = u32::try_from(routes.len()).unwrap_or(u32::MAX);
        let rolled_up = match self.configuration.parent_routes(account, &event.event_type) {
            None => None,
            Some((parent, routes)) => {
                if self.caller == Caller::Platform {
                    sinks = sinks.saturating_add(u32::try_from(routes.len()).unwrap_or(u32::MAX));
                }
                let event = of_subaccount(&event, account);
                let most = EVENT_MAX_BYTES + ACCOUNT_ATTRIBUTE_BYTES;
                let variants = variants(&event, &published, (routes, most))?;
                Some((parent, self.queued(parent, &event, variants)))
            }
        };
        let event = (!own.is_empty()).then(|| self.queued(account, &event, own));
        Ok(Routed { account, sinks, event, rolled_up })
    }

    /// What waits at the home of `account`'s sinks.
    fn queued(
        &self,
        account: AccountSid,
        event: &CloudEvent<'_>,
        variants: Vec<Variant>,
    ) -> ChunkEvent {
        ChunkEvent {
            account: account_bytes(account),
            traceparent: self.traceparent_of(event).unwrap_or_default().to_owned(),
            variants,
            id: event.id.to_string(),
            r#type: event.event_type.to_string(),
            accepted_ms: 0,
            attempts: 0,
        }
    }

    fn account(&self, named: Option<&str>) -> Result<AccountSid, Refusal> {
        let field = self.account_field;
        let named = named
            .map(str::parse::<AccountSid>)
            .transpose()
            .map_err(|error| Refusal::invalid(field, error.to_string()))?;
        match (self.caller, named) {
            (Caller::Account(own), Some(named)) if named != own => {
                Err(denied(field, "must be the caller's own account"))
            }
            (Caller::Account(own), _) => Ok(own),
            (Caller::Platform, None) => Err(Refusal::invalid(
                field,
                "is required with a platform key: the account whose event this is",
            )),
            (Caller::Platform, Some(named)) => {
                let known = self.configuration.account(named);
                match known.map(|account| self.configuration.account_status(account)) {
                    Some(AccountStatus::Active) => Ok(named),
                    Some(status) => Err(denied(field, &format!("is {}", status.as_str()))),
                    None => Err(Refusal::not_found(field, "is no account")),
                }
            }
        }
    }

    /// Finds the schema version that an event follows: the one it names, or the latest of its type's schema.
    fn published<'e>(&self, event: &'e CloudEvent<'_>) -> Result<Published<'e>, Refusal>
    where
        'a: 'e,
    {
        let event_type = self.configuration.event_type(&event.event_type).ok_or_else(|| {
            Refusal::not_found(
                "type",
                format!(
                    "`{}` is not a registered event type: register it with `EventTypeService`, or choose one that is listed there",
                    event.event_type
                ),
            )
        })?;
        if !event_type.status.may_be_published() {
            return Err(Refusal::invalid("type", "is discontinued: nobody publishes it any more"));
        }
        let schema = self.configuration.schema(&event_type.schema_id);
        let latest = schema.and_then(Schema::latest).map(|(number, _)| number);
        let named = event.dataschema.as_deref();
        let number = followed_version(named, &event_type.schema_id, latest)?;
        let known = schema.and_then(|schema| schema.version(number));
        let dataschema = known.map(|version| &*version.dataschema).or(named);
        Ok(Published { number, dataschema, event_type, schema })
    }

    /// Checks the data by the version that the event follows, as its type asks.
    fn validate(
        &self,
        event: &CloudEvent<'_>,
        published: &Published<'_>,
        compiled: Option<&Arc<Compiled>>,
    ) -> Result<(), Unfit> {
        let version = published.schema.and_then(|schema| schema.version(published.number));
        let Some(version) = version else { return Ok(()) };
        let event_type = published.event_type;
        let of = (event_type.schema_id.as_str(), published.number, version);
        self.validators.check(event_type.validation, of, &event.data, compiled)
    }

    /// The trace that an event is of: its own, or its request's.
    fn traceparent_of<'e>(&self, event: &'e CloudEvent<'_>) -> Option<&'e str>
    where
        'a: 'e,
    {
        let own = event.extensions.iter().find(|(name, _)| name == "traceparent");
        let own = own.and_then(|(_, json)| json.strip_prefix('"')?.strip_suffix('"'));
        own.filter(|text| is_traceparent(text)).or(Some(self.traceparent))
    }
}

/// The event as the parent of its account gets it.
fn of_subaccount<'e>(event: &CloudEvent<'e>, account: AccountSid) -> CloudEvent<'e> {
    let mut event = event.clone();
    event.extensions.push((ACCOUNT_EXTENSION.into(), format!("\"{account}\"").into()));
    event
}

/// Tells whether `text` is a W3C `traceparent` (Trace Context, section 3.2): version, trace id, parent id, flags.
pub(crate) fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let parts: Vec<&str> = text.splitn(5, '-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return false };
    [version.len(), trace.len(), parent.len(), flags.len()] == [2, 32, 16, 2]
        && parts.iter().all(|part| hex(part))
        && *version != "ff"
        && !zero(trace)
        && !zero(parent)
}

fn denied(field: &str, message: &str) -> Refusal {
    Refusal {
        code: RefusalCode::PermissionDenied,
        field: field.to_owned(),
        message: message.to_owned(),
    }
}
