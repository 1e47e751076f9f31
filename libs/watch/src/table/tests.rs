//! Deltas end where a snapshot begins, and what is asked of a configuration.

use std::num::NonZeroU32;

use millrace_domain::schema::Validation;
use millrace_proto::internal::{
    ConfigAccount, ConfigEventType, ConfigSchemaVersion, ConfigSink, ConfigSubscribedEvent,
    ConfigSubscription, ResourceKey, resource::Resource as Kind, resource_key::Key,
};
use proptest::prelude::*;

use super::*;

const NONE: ConfigVersion = ConfigVersion { epoch: 1, seq: 0 };

fn account(n: u128) -> AccountSid {
    AccountSid::from_u128(n)
}

fn resource(kind: Kind) -> Resource {
    Resource { resource: Some(kind) }
}

fn subscription(sid: u128, types: &[(u8, u32)]) -> Resource {
    resource(Kind::Subscription(ConfigSubscription {
        sid: SubscriptionSid::from_u128(sid).to_string(),
        account_sid: account(sid % 3).to_string(),
        sink_sid: SinkSid::from_u128(sid % 4).to_string(),
        types: types
            .iter()
            .map(|(name, version)| ConfigSubscribedEvent {
                r#type: format!("t{name}"),
                schema_version: *version,
            })
            .collect(),
        include_subaccounts: sid % 2 == 1,
    }))
}

fn gone(sid: u128) -> ResourceKey {
    let sid = SubscriptionSid::from_u128(sid).to_string();
    ResourceKey { key: Some(Key::SubscriptionSid(sid)) }
}

fn routes(configuration: &Configuration) -> Vec<Vec<Route>> {
    (0..3)
        .flat_map(|n| (0..4).map(move |t| (account(n), format!("t{t}"))))
        .map(|(account, event_type)| {
            let origins = [Origin::Own, Origin::Subaccount];
            let routes = |origin| configuration.routes_from(account, &event_type, origin);
            origins.map(routes).concat()
        })
        .collect()
}

/// A subscription created or changed (`Some`) or deleted, and whether a delta ends there.
type Step = (u128, Option<Vec<(u8, u32)>>, bool);

proptest! {
    #[test]
    fn deltas_end_where_a_snapshot_of_their_result_begins(
        steps in proptest::collection::vec(
            (0..8_u128, proptest::option::of(proptest::collection::vec((0..4_u8, 1..5_u32), 0..4)), any::<bool>()), 0..40),
    ) {
        let steps: Vec<Step> = steps;
        let mut by_deltas = Configuration::empty(NONE);
        let mut result = BTreeMap::new();
        let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
        let mut published = Vec::new();
        for (sid, types, ends) in steps {
            match types {
                Some(types) => {
                    if !deletes.is_empty() {
                        by_deltas.apply(std::mem::take(&mut upserts), &std::mem::take(&mut deletes));
                    }
                    result.insert(sid, types.clone());
                    upserts.push(subscription(sid, &types));
                }
                None => {
                    result.remove(&sid);
                    deletes.push(gone(sid));
                }
            }
            if ends {
                by_deltas.apply(std::mem::take(&mut upserts), &std::mem::take(&mut deletes));
                published.push((by_deltas.clone(), routes(&by_deltas)));
            }
        }
        by_deltas.apply(upserts, &deletes);
        let snapshot = result.iter().map(|(sid, types)| subscription(*sid, types)).collect();
        prop_assert_eq!(routes(&by_deltas), routes(&Configuration::of(NONE, snapshot)));
        for (earlier, as_it_was) in published {
            prop_assert_eq!(routes(&earlier), as_it_was, "a version that was seen never changes");
        }
    }
}

#[test]
fn knows_accounts_types_schemas_sinks_and_keys() {
    let hash = SecretHash::of("key");
    let version = |version, document: &str| {
        resource(Kind::SchemaVersion(ConfigSchemaVersion {
            schema_id: "S".to_owned(),
            version,
            dataschema: format!("https://s/S/{version}"),
            document: document.to_owned(),
            schema: document.to_owned(),
            ..ConfigSchemaVersion::default()
        }))
    };
    let sink = |n, deleted| {
        resource(Kind::Sink(ConfigSink {
            sid: SinkSid::from_u128(n).to_string(),
            account_sid: account(1).to_string(),
            deleted,
            configuration_json: r#"{"sink_type":"webhook","destination":"https://e.example","method":"POST","batch_events":true}"#.to_owned(),
            signing_secret: "whsec_x".to_owned(),
            rate_limit: 5,
            delivery_window_ms: 59_999,
            ..ConfigSink::default()
        }))
    };
    let configuration = Configuration::of(
        NONE,
        vec![
            resource(Kind::Account(ConfigAccount {
                sid: account(1).to_string(),
                status: "suspended".to_owned(),
                auth_token_hash: hash.as_bytes().to_vec().into(),
                ..ConfigAccount::default()
            })),
            resource(Kind::EventType(ConfigEventType {
                r#type: "t".to_owned(),
                schema_id: "S".to_owned(),
                status: "deprecated".to_owned(),
                ..ConfigEventType::default()
            })),
            version(2, r#"{"properties":{"a":{}}}"#),
            version(1, ""),
            sink(1, false),
            sink(2, true),
            resource(Kind::PlatformKeyHash(hash.as_bytes().to_vec().into())),
        ],
    );
    let known = configuration.account(account(1)).expect("known");
    assert!(known.auth_token_hash.expect("router's view").matches(&hash));
    assert_eq!(configuration.event_type("t").expect("known").schema_id, "S");
    let schema = configuration.schema("S").expect("known");
    assert_eq!(schema.latest().map(|(number, _)| number), Some(2));
    let (first, second) = (schema.version(1).expect("known"), schema.version(2).expect("known"));
    assert!(first.projection.is_keep_all() && first.document.is_none());
    assert!(!second.projection.is_keep_all());
    let document = second.document.as_ref().expect("known");
    assert_eq!(&*document.text, r#"{"properties":{"a":{}}}"#);
    assert_eq!(&document.digest, SecretHash::of(&document.text).as_bytes());
    assert_eq!(configuration.event_type("t").expect("known").validation, Validation::Enforce);
    let Some(Sink::Live(live)) = configuration.sink(SinkSid::from_u128(1)) else {
        panic!("known");
    };
    assert_eq!(live.delivery.rate_limit.map(NonZeroU32::get), Some(5));
    assert_eq!(live.delivery.window, None, "out of bounds is not set");
    assert!(matches!(configuration.sink(SinkSid::from_u128(2)), Some(Sink::Deleted { .. })));
    assert!(configuration.is_platform_key(&hash));
    assert!(!configuration.is_platform_key(&SecretHash::of("other")));
}

#[test]
fn what_a_newer_control_plane_tells_changes_nothing_else() {
    let mut configuration = Configuration::of(NONE, vec![subscription(1, &[(1, 1)])]);
    let before = routes(&configuration);
    let later = |status: &str| ConfigEventType {
        r#type: "t1".to_owned(),
        schema_id: "S".to_owned(),
        status: status.to_owned(),
        ..ConfigEventType::default()
    };
    configuration.apply(
        vec![
            Resource { resource: None },
            resource(Kind::EventType(later("of-later-days"))),
            resource(Kind::PlatformKeyHash(vec![1].into())),
            resource(Kind::EventType(later("available"))),
        ],
        &[ResourceKey { key: None }, ResourceKey { key: Some(Key::SinkSid("DG".to_owned())) }],
    );
    assert_eq!(routes(&configuration), before);
    assert!(configuration.event_type("t1").is_some());
}

#[test]
fn a_subaccounts_events_go_to_its_parent_where_that_asks_for_them() {
    let family = |n, parent: Option<u128>, status: &str| {
        resource(Kind::Account(ConfigAccount {
            sid: account(n).to_string(),
            parent_sid: parent.map(|n| account(n).to_string()).unwrap_or_default(),
            status: status.to_owned(),
            ..ConfigAccount::default()
        }))
    };
    // Subscription 1 is of account 1 and asks for subaccounts' events; 4 is of account 1 too and does not.
    let mut it = Configuration::of(
        NONE,
        vec![
            family(1, None, "active"),
            family(2, Some(1), "active"),
            subscription(1, &[(1, 3)]),
            subscription(4, &[(1, 1), (2, 1)]),
        ],
    );
    let route = Route { sink: SinkSid::from_u128(1), schema_version: 3 };
    assert_eq!(it.routes(account(1), "t1").len(), 2);
    assert_eq!(it.parent_routes(account(2), "t1"), Some((account(1), [route].as_slice())));
    assert_eq!(it.parent_routes(account(2), "t2"), None);
    assert_eq!(it.parent_routes(account(1), "t1"), None, "it has no parent");
    it.apply(vec![family(1, None, "suspended")], &[]);
    let child = it.account(account(2)).expect("known");
    assert_eq!(it.account_status(child), AccountStatus::Suspended, "suspended with its parent");
}
