//! The configuration that this crate's tests run on.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use millrace_domain::{
    AccountSid, ApiKeySid, ConfigVersion, KeyAccess, SinkSid, SubscriptionSid, secret::SecretHash,
};
use millrace_proto::internal::{
    ConfigAccount, ConfigApiKey, ConfigEventType, ConfigSchemaVersion, ConfigSubscribedEvent,
    ConfigSubscription, Resource, resource::Resource as Kind,
};
use millrace_watch::Configuration;

mod fickle;

pub(crate) use fickle::{Fickle, no_answer};

/// An account; its auth token is `token`, and it subscribes to `com.example.paid`.
pub(crate) const ACCOUNT: AccountSid = AccountSid::from_u128(1);
/// Another account.
pub(crate) const OTHER: AccountSid = AccountSid::from_u128(2);
/// A suspended account.
pub(crate) const SUSPENDED: AccountSid = AccountSid::from_u128(3);
/// A subaccount of [`SUSPENDED`].
pub(crate) const CHILD_OF_SUSPENDED: AccountSid = AccountSid::from_u128(4);
/// A subaccount of [`OTHER`], whose subscription takes its events too.
pub(crate) const CHILD: AccountSid = AccountSid::from_u128(5);
/// A key of [`ACCOUNT`]; its secret is `secret`.
pub(crate) const API_KEY: ApiKeySid = ApiKeySid::from_u128(1);
/// What [`configuration`] is.
pub(crate) const VERSION: ConfigVersion = ConfigVersion { epoch: 7, seq: 5 };
/// A trace context.
pub(crate) const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(crate) fn sink(n: u128) -> SinkSid {
    SinkSid::from_u128(n)
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// An event in JSON.
pub(crate) fn event(event_type: &str, id: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","type":"{event_type}","source":"/a","id":"{id}","data":{data}}}"#
    )
}

/// Three accounts, a platform key `platform`, schema `Order` of versions 1 to 3 (properties `a`; `a`, `b`; `a`, `b`, `c`),
/// schema `Checked` of versions 1 and 2 (a text `a` that is required; a number `b` too) of the types `com.example.checked`, `.warned`
/// and `.unchecked`,
/// and four sinks of [`ACCOUNT`] that take `com.example.paid` at versions 1, 1, 3 and 9; [`OTHER`] has a fifth, at 3, that takes
/// [`CHILD`]'s events too, and [`CHILD`] a sixth, at 1.
pub(crate) fn configuration() -> Configuration {
    with_key_of(KeyAccess::Main)
}

/// As [`configuration`], [`API_KEY`] being of `access`.
pub(crate) fn with_key_of(access: KeyAccess) -> Configuration {
    let mut resources = vec![
        Kind::PlatformKeyHash(hash("platform")),
        account(ACCOUNT, "active"),
        account(OTHER, "active"),
        account(SUSPENDED, "suspended"),
        child(CHILD_OF_SUSPENDED, SUSPENDED),
        child(CHILD, OTHER),
        Kind::ApiKey(ConfigApiKey {
            sid: API_KEY.to_string(),
            account_sid: ACCOUNT.to_string(),
            secret_hash: hash("secret"),
            access: access.as_str().to_owned(),
        }),
        event_type("com.example.paid", "available"),
        event_type("com.example.unwatched", "available"),
        event_type("com.example.ended", "discontinued"),
    ];
    for (version, properties) in
        [(1, r#"{"a":{}}"#), (2, r#"{"a":{},"b":{}}"#), (3, r#"{"a":{},"b":{},"c":{}}"#)]
    {
        resources.push(Kind::SchemaVersion(ConfigSchemaVersion {
            schema_id: "Order".to_owned(),
            version,
            dataschema: format!("https://s/Order/{version}"),
            document: format!(r#"{{"properties":{properties}}}"#),
            ..ConfigSchemaVersion::default()
        }));
    }
    let pinned = [(ACCOUNT, 1), (ACCOUNT, 1), (ACCOUNT, 3), (ACCOUNT, 9), (OTHER, 3), (CHILD, 1)];
    for (n, (account, schema_version)) in (1_u128..).zip(pinned) {
        resources.push(Kind::Subscription(ConfigSubscription {
            sid: SubscriptionSid::from_u128(n).to_string(),
            account_sid: account.to_string(),
            sink_sid: sink(n).to_string(),
            types: vec![ConfigSubscribedEvent {
                r#type: "com.example.paid".to_owned(),
                schema_version,
            }],
            include_subaccounts: account == OTHER,
        }));
    }
    for (name, validation) in [("checked", ""), ("warned", "warn"), ("unchecked", "off")] {
        resources.push(Kind::EventType(ConfigEventType {
            r#type: format!("com.example.{name}"),
            schema_id: "Checked".to_owned(),
            status: "available".to_owned(),
            validation: validation.to_owned(),
        }));
    }
    for (version, schema) in [
        (1, r#"{"required":["a"],"properties":{"a":{"type":"string"}}}"#),
        (2, r#"{"required":["a"],"properties":{"a":{"type":"string"},"b":{"type":"integer"}}}"#),
    ] {
        resources.push(Kind::SchemaVersion(ConfigSchemaVersion {
            schema_id: "Checked".to_owned(),
            version,
            dataschema: format!("https://s/Checked/{version}"),
            document: schema.to_owned(),
            schema: schema.to_owned(),
            ..ConfigSchemaVersion::default()
        }));
    }
    let resources = resources.into_iter().map(|kind| Resource { resource: Some(kind) });
    Configuration::of(VERSION, resources.collect())
}

fn account(sid: AccountSid, status: &str) -> Kind {
    Kind::Account(ConfigAccount {
        sid: sid.to_string(),
        status: status.to_owned(),
        auth_token_hash: hash("token"),
        secondary_auth_token_hash: hash("second"),
        ..ConfigAccount::default()
    })
}

fn child(sid: AccountSid, parent: AccountSid) -> Kind {
    Kind::Account(ConfigAccount {
        sid: sid.to_string(),
        parent_sid: parent.to_string(),
        status: "active".to_owned(),
        auth_token_hash: hash("token"),
        ..ConfigAccount::default()
    })
}

fn event_type(name: &str, status: &str) -> Kind {
    Kind::EventType(ConfigEventType {
        r#type: name.to_owned(),
        schema_id: "Order".to_owned(),
        status: status.to_owned(),
        ..ConfigEventType::default()
    })
}

fn hash(secret: &str) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(SecretHash::of(secret).as_bytes())
}
