//! What becomes of one event: checked against the catalogue, matched, written once for each schema version asked for.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use millrace_domain::{
    AccountSid, AccountStatus, Refusal, RefusalCode, SinkSid,
    event::{ACCOUNT_EXTENSION, CloudEvent, EVENT_MAX_BYTES},
    matching::Route,
    projection::Projection,
    schema::followed_version,
};
use millrace_proto::internal::{ChunkEvent, Variant};
use millrace_queue::chunk::{account_bytes, sinks_bytes};
use millrace_watch::{Configuration, Schema};

use crate::{
    auth::Caller,
    validate::{Compiled, Unfit, Validators, Wanted},
};

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
        Ok(Published { number, dataschema, schema })
    }

    /// Checks the data by the version that the event follows, as its type asks.
    fn validate(
        &self,
        event: &CloudEvent<'_>,
        published: &Published<'_>,
        compiled: Option<&Arc<Compiled>>,
    ) -> Result<(), Unfit> {
        let known = self.configuration.event_type(&event.event_type);
        let version = published.schema.and_then(|schema| schema.version(published.number));
        let (Some(event_type), Some(version)) = (known, version) else { return Ok(()) };
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

/// Writes the event once for each version asked for. A sink pinned to a newer version than the event's, or to one whose
/// fields nobody knows, gets it as it is.
fn variants(
    event: &CloudEvent<'_>,
    published: &Published<'_>,
    (routes, most): (&[Route], usize),
) -> Result<Vec<Variant>, Refusal> {
    let older = |route: &Route| {
        (route.schema_version < published.number)
            .then(|| published.schema?.version(route.schema_version))
            .flatten()
    };
    let mut wanted: Vec<(u32, Vec<SinkSid>)> = Vec::new();
    for route in routes {
        let number = older(route).map_or(published.number, |_| route.schema_version);
        match wanted.iter_mut().find(|(known, _)| *known == number) {
            Some((_, sinks)) => sinks.push(route.sink),
            None => wanted.push((number, vec![route.sink])),
        }
    }
    let mut variants = Vec::with_capacity(wanted.len());
    for (number, sinks) in wanted {
        let version = published.schema.filter(|_| number < published.number);
        let bytes = match version.and_then(|schema| schema.version(number)) {
            Some(version) => project(event, &version.projection, &version.dataschema),
            None => event.to_json(published.dataschema, &event.data),
        };
        if bytes.len() > most {
            return Err(Refusal::too_large(
                "",
                format!(
                    "an event is at most {EVENT_MAX_BYTES} bytes; this one has {}",
                    bytes.len()
                ),
            ));
        }
        variants.push(Variant {
            schema_version: number,
            event: Bytes::from(bytes),
            sinks: sinks_bytes(sinks),
        });
    }
    Ok(variants)
}

fn project(event: &CloudEvent<'_>, projection: &Projection, dataschema: &str) -> Vec<u8> {
    let projected = projection.apply(&event.data);
    event.to_json(Some(dataschema), projected.as_deref().unwrap_or(&event.data))
}

fn denied(field: &str, message: &str) -> Refusal {
    Refusal {
        code: RefusalCode::PermissionDenied,
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use millrace_queue::chunk::sinks_of;

    use super::*;
    use crate::fixture::{self, ACCOUNT, OTHER, SUSPENDED, TRACE, event, sink};

    fn origin(configuration: &Configuration, caller: Caller) -> Origin<'_> {
        let now = "2026-01-02T03:04:05.678Z";
        let validators: &'static Arc<Validators> = Box::leak(Box::default());
        let account_field = "account_sid";
        Origin { configuration, validators, caller, account_field, traceparent: TRACE, now }
    }

    fn routed(origin: &Origin<'_>, json: &str, named: Option<&str>) -> Result<Routed, Refusal> {
        let parsed = CloudEvent::parse(json.as_bytes()).expect("an event");
        let mut routed = origin.route(parsed, named, None);
        if let Err(Unrouted::Waits(event, wanted)) = routed {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let compiled = runtime.block_on(origin.validators.compile(wanted));
            routed = origin.route(*event, named, Some(&compiled));
        }
        routed.map_err(|unrouted| match unrouted {
            Unrouted::Refused(refusal) => refusal,
            Unrouted::Waits(event, _) => panic!("it was compiled: {event:?}"),
        })
    }

    fn route(json: &str) -> Result<Routed, Refusal> {
        let configuration = fixture::configuration();
        routed(&origin(&configuration, Caller::Account(ACCOUNT)), json, None)
    }

    fn refused(json: &str) -> (RefusalCode, String) {
        let refusal = route(json).expect_err(json);
        (refusal.code, refusal.field)
    }

    #[test]
    fn a_version_asked_for_is_written_once_for_all_its_sinks() {
        let routed = route(&event("com.example.paid", "1", r#"{"a":1,"b":2,"c":3}"#)).expect("ok");
        assert_eq!((routed.account, routed.sinks), (ACCOUNT, 4));
        let queued = routed.event.expect("somebody subscribes");
        let variants: Vec<(u32, String, Vec<SinkSid>)> = queued
            .variants
            .iter()
            .map(|v| {
                let json = String::from_utf8(v.event.to_vec()).expect("UTF-8");
                (v.schema_version, json, sinks_of(v).collect())
            })
            .collect();
        let written = |version: u32, data: &str| {
            format!(
                r#"{{"specversion":"1.0","type":"com.example.paid","source":"/a","id":"1","dataschema":"https://s/Order/{version}","datacontenttype":"application/json","time":"2026-01-02T03:04:05.678Z","data":{data}}}"#
            )
        };
        assert_eq!(
            variants,
            [
                (1, written(1, r#"{"a":1}"#), vec![sink(1), sink(2)]),
                (3, written(3, r#"{"a":1,"b":2,"c":3}"#), vec![sink(3), sink(4)]),
            ],
            "sink 4 is pinned to version 9, newer than the event's"
        );
        assert_eq!((queued.id.as_str(), queued.traceparent.as_str()), ("1", TRACE));
    }

    #[test]
    fn a_publisher_may_name_an_older_version() {
        let json = event("com.example.paid", "1", r#"{"a":1,"b":2}"#)
            .replace(r#""data""#, r#""dataschema":"https://elsewhere/Order/2","data""#);
        let queued = route(&json).expect("ok").event.expect("somebody subscribes");
        let versions: Vec<u32> = queued.variants.iter().map(|v| v.schema_version).collect();
        assert_eq!(versions, [1, 2]);
        let as_it_is = String::from_utf8(queued.variants[1].event.to_vec()).expect("UTF-8");
        assert!(as_it_is.contains("https://s/Order/2") && as_it_is.contains(r#""b":2"#));
    }

    #[test]
    fn data_is_checked_by_the_version_that_the_event_follows() {
        let data = r#"{"a":"x","b":"no number"}"#;
        let named = |version: u32| {
            event("com.example.checked", "1", data).replace(
                r#""data""#,
                &format!(r#""dataschema":"https://s/Checked/{version}","data""#),
            )
        };
        let refused_data = (RefusalCode::InvalidArgument, "data.b".to_owned());
        assert_eq!(refused(&event("com.example.checked", "1", data)), refused_data);
        assert_eq!(refused(&named(2)), refused_data);
        assert!(route(&named(1)).is_ok(), "version 1 does not know `b`");
        let missing = refused(&event("com.example.checked", "1", r#"{"b":1}"#));
        assert_eq!(missing, (RefusalCode::InvalidArgument, "data.a".to_owned()));
        for lenient in ["com.example.warned", "com.example.unchecked"] {
            assert!(route(&event(lenient, "1", data)).is_ok(), "{lenient}");
        }
    }

    #[test]
    fn what_nobody_takes_is_accepted_for_no_sink() {
        let routed = route(&event("com.example.unwatched", "1", "{}")).expect("ok");
        assert!(routed.sinks == 0 && routed.event.is_none());
    }

    #[test]
    fn an_event_outside_the_catalogue_is_refused() {
        let named = |uri: &str| {
            event("com.example.paid", "1", "{}")
                .replace(r#""data""#, &format!(r#""dataschema":"{uri}","data""#))
        };
        let type_field = "type".to_owned();
        let dataschema = "dataschema".to_owned();
        assert_eq!(
            refused(&event("com.example.unknown", "1", "{}")),
            (RefusalCode::NotFound, type_field.clone())
        );
        assert_eq!(
            refused(&event("com.example.ended", "1", "{}")),
            (RefusalCode::InvalidArgument, type_field)
        );
        assert_eq!(
            refused(&named("https://s/Order/4")),
            (RefusalCode::NotFound, dataschema.clone())
        );
        assert_eq!(
            refused(&named("https://s/Other/1")),
            (RefusalCode::InvalidArgument, dataschema)
        );
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(EVENT_MAX_BYTES - 120));
        assert_eq!(
            refused(&event("com.example.paid", "1", &large)),
            (RefusalCode::TooLarge, String::new()),
            "what is added counts"
        );
    }

    #[test]
    fn an_event_is_its_callers_or_of_the_account_that_the_platform_names() {
        let configuration = fixture::configuration();
        let json = event("com.example.paid", "1", "{}");
        let of = |caller, named: Option<AccountSid>| {
            let named = named.map(|sid| sid.to_string());
            let routed = routed(&origin(&configuration, caller), &json, named.as_deref());
            routed.map(|routed| routed.account).map_err(|refusal| (refusal.code, refusal.field))
        };
        let refused = |code| Err((code, "account_sid".to_owned()));
        let (own, platform) = (Caller::Account(ACCOUNT), Caller::Platform);
        let nobody = AccountSid::from_u128(99);
        assert_eq!(of(own, Some(ACCOUNT)), Ok(ACCOUNT));
        assert_eq!(of(own, Some(OTHER)), refused(RefusalCode::PermissionDenied));
        assert_eq!(of(platform, Some(OTHER)), Ok(OTHER));
        assert_eq!(of(platform, None), refused(RefusalCode::InvalidArgument));
        assert_eq!(of(platform, Some(SUSPENDED)), refused(RefusalCode::PermissionDenied));
        assert_eq!(of(platform, Some(nobody)), refused(RefusalCode::NotFound));
        let malformed = routed(&origin(&configuration, platform), &json, Some("AC1"));
        assert_eq!(malformed.expect_err("no SID").code, RefusalCode::InvalidArgument);
    }

    #[test]
    fn an_events_own_trace_comes_before_its_requests() {
        let own = "00-11111111111111111111111111111111-2222222222222222-00";
        let with = |trace: &str| {
            let json = event("com.example.paid", "1", "{}")
                .replace(r#""data""#, &format!(r#""traceparent":"{trace}","data""#));
            route(&json).expect("ok").event.expect("somebody subscribes").traceparent
        };
        assert_eq!(with(own), own);
        assert_eq!(with("nonsense"), TRACE);
        for wrong in [
            "",
            "00-0-0-0",
            "ff-11111111111111111111111111111111-2222222222222222-00",
            "00-00000000000000000000000000000000-2222222222222222-00",
            "00-11111111111111111111111111111111-0000000000000000-00",
            "00-1111111111111111111111111111111A-2222222222222222-00",
            "00-11111111111111111111111111111111-2222222222222222-00-x",
        ] {
            assert!(!is_traceparent(wrong), "{wrong}");
        }
    }
}
