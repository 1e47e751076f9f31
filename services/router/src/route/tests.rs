//! Which events are refused, whose they are, and what is written of those that are not.

use millrace_domain::SinkSid;
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
        event("com.example.checked", "1", data)
            .replace(r#""data""#, &format!(r#""dataschema":"https://s/Checked/{version}","data""#))
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
    assert_eq!(refused(&named("https://s/Order/4")), (RefusalCode::NotFound, dataschema.clone()));
    assert_eq!(refused(&named("https://s/Other/1")), (RefusalCode::InvalidArgument, dataschema));
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
