//! Resources for the checks, each with secrets that can be looked for.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use millrace_domain::{
    Account, AccountSid, AccountStatus, AccountUpdate, ApiKey, ApiKeySid, ConfigVersion, KeyAccess,
    SecondaryAuthToken, Secret, Sink, SinkConfiguration, SinkDelivery, SinkSid, SinkStatus,
    SinkUpdate, SubscribedEvent, Subscription, SubscriptionSid, SubscriptionUpdate, Timestamp,
    schema::{EventType, EventTypeStatus, SchemaVersion, Validation},
    sink::{Headers, WebhookMethod},
};
use serde_json::Value;

use super::Backend;
use crate::{Change, Changed, Changes, Keyring, Resource, ResourceStore};

/// The secrets of everything made here start with this.
pub(super) const SECRET: &str = "open-sesame";
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_678);
pub(super) const LIMIT: u32 = 100;

/// Opens the backend once more, always with the same key.
pub(super) async fn open(backend: &dyn Backend) -> Arc<dyn ResourceStore> {
    let keyring = Keyring::parse("test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    backend.open(keyring.expect("a key of 32 bytes")).await
}

/// An account; `id` tells it from others.
pub fn account(id: u128) -> Account {
    Account {
        sid: AccountSid::from_u128(id),
        parent: None,
        friendly_name: format!("account {id}"),
        status: AccountStatus::Active,
        auth_token: Secret::new(format!("{SECRET}-token-{id}")),
        secondary_auth_token: None,
        created: NOW,
        updated: NOW,
    }
}

/// A secondary auth token.
pub(super) fn secondary() -> SecondaryAuthToken {
    SecondaryAuthToken { token: Secret::new(format!("{SECRET}-second")), created: NOW }
}

/// An update of the name.
pub(super) fn named(name: &str) -> AccountUpdate {
    AccountUpdate { friendly_name: Some(name.to_owned()), ..AccountUpdate::default() }
}

/// An update of the status.
pub(super) fn turned(status: AccountStatus) -> AccountUpdate {
    AccountUpdate { status: Some(status), ..AccountUpdate::default() }
}

pub(super) fn api_key(id: u128, account: &Account) -> ApiKey {
    ApiKey {
        sid: ApiKeySid::from_u128(id),
        account: account.sid,
        friendly_name: format!("key {id}"),
        secret_hash: Secret::new(SECRET).sha256(),
        access: KeyAccess::ReadOnly,
        created: NOW,
        updated: NOW,
    }
}

/// A sink of `account`.
pub fn sink(id: u128, account: &Account) -> Sink {
    Sink {
        sid: SinkSid::from_u128(id),
        account: account.sid,
        description: format!("sink {id}, \u{201c}quoted\u{201d} and 'so'"),
        configuration: SinkConfiguration::Webhook {
            destination: Secret::new(format!("https://u:{SECRET}@example.com/{id}")),
            method: WebhookMethod::Post,
            batch_events: true,
        },
        headers: Headers::checked([("X-Api-Key".to_owned(), format!("{SECRET}-header"))])
            .expect("headers"),
        delivery: SinkDelivery { rate_limit: NonZeroU32::new(7), ..SinkDelivery::default() },
        status: SinkStatus::Active,
        signing_secret: Secret::new(format!("{SECRET}-whsec-{id}")),
        created: NOW,
        updated: NOW,
    }
}

/// A webhook, with a secret.
pub(super) fn elsewhere() -> SinkConfiguration {
    SinkConfiguration::Webhook {
        destination: Secret::new(format!("https://elsewhere.example/{SECRET}")),
        method: WebhookMethod::Post,
        batch_events: true,
    }
}

/// An update of the description.
pub(super) fn described(words: &str) -> SinkUpdate {
    SinkUpdate { description: Some(words.to_owned()), ..SinkUpdate::default() }
}

/// An update of a subscription's description.
pub(super) fn reworded(words: &str) -> SubscriptionUpdate {
    SubscriptionUpdate { description: Some(words.to_owned()), ..SubscriptionUpdate::default() }
}

/// A subscription of two types to `sink`.
pub fn subscription(id: u128, sink: &Sink) -> Subscription {
    Subscription {
        sid: SubscriptionSid::from_u128(id),
        account: sink.account,
        description: format!("subscription {id}"),
        sink: sink.sid,
        types: vec![subscribed("com.example.a", 1), subscribed("com.example.c", 2)],
        include_subaccounts: id % 2 == 1,
        created: NOW,
        updated: NOW,
    }
}

pub(super) fn subscribed(event_type: &str, schema_version: u32) -> SubscribedEvent {
    SubscribedEvent { event_type: event_type.to_owned(), schema_version }
}

pub(super) fn event_type(name: &str, schema_id: &str) -> EventType {
    EventType {
        name: name.to_owned(),
        schema_id: schema_id.to_owned(),
        description: format!("about {name}"),
        status: EventTypeStatus::Available,
        documentation_url: None,
        validation: Validation::Enforce,
        created: NOW,
        updated: NOW,
    }
}

pub(super) fn schema_version(schema_id: &str, version: u32) -> SchemaVersion {
    let document = (version > 1).then(|| r#"{"type":"object"}"#.to_owned());
    SchemaVersion { schema_id: schema_id.to_owned(), version, document, created: NOW }
}

/// A database with one account in it.
pub(super) async fn with_account(backend: &dyn Backend) -> (Arc<dyn ResourceStore>, Account) {
    let (store, account) = (open(backend).await, account(1));
    store.create_account(&account).await.expect("new");
    (store, account)
}

/// A database with an account and a sink in it.
pub(super) async fn with_sink(backend: &dyn Backend) -> (Arc<dyn ResourceStore>, Sink) {
    let (store, account) = with_account(backend).await;
    let sink = sink(1, &account);
    store.create_sink(&sink, LIMIT).await.expect("new");
    (store, sink)
}

/// Resources by key, as JSON, which compares.
pub(super) type Configuration = BTreeMap<String, Value>;

/// A snapshot and its version.
pub(super) async fn snapshot(store: &dyn ResourceStore) -> (ConfigVersion, Configuration) {
    let (version, resources) = store.snapshot().await.expect("answers");
    let mut configuration = Configuration::new();
    for resource in resources {
        let before = configuration.insert(key(&resource), json(&resource));
        assert!(before.is_none(), "twice in one snapshot: {}", key(&resource));
    }
    (version, configuration)
}

/// What the change log up to `seq` makes of nothing.
pub(super) fn replayed(log: &[Change], seq: u64) -> Configuration {
    let mut configuration = Configuration::new();
    for change in log.iter().filter(|change| change.seq <= seq) {
        match &change.changed {
            Changed::Upserted(resource) => {
                configuration.insert(key(resource), json(resource));
            }
            Changed::ApiKeyDeleted(sid, _) => drop(configuration.remove(&sid.to_string())),
            Changed::SubscriptionDeleted(sid) => drop(configuration.remove(&sid.to_string())),
            Changed::SinkForgotten(sid) => drop(configuration.remove(&sid.to_string())),
        }
    }
    configuration
}

/// The whole change log, read a few at a time.
pub(super) async fn log(store: &dyn ResourceStore) -> Vec<Change> {
    let mut version = ConfigVersion { seq: 0, ..store.version().await.expect("answers") };
    let mut log: Vec<Change> = Vec::new();
    loop {
        let Changes::Some(more) = store.changes(version, 7).await.expect("answers") else {
            panic!("the log is gone");
        };
        let Some(last) = more.last() else {
            return log;
        };
        version.seq = last.seq;
        log.extend(more);
    }
}

fn key(resource: &Resource) -> String {
    match resource {
        Resource::Account(account) => account.sid.to_string(),
        Resource::ApiKey(key) => key.sid.to_string(),
        Resource::Sink(sink) => sink.sid.to_string(),
        Resource::SinkTombstone(sid, _) => sid.to_string(),
        Resource::Subscription(subscription) => subscription.sid.to_string(),
        Resource::EventType(event_type) => event_type.name.clone(),
        Resource::SchemaVersion(version) => format!("{}/{}", version.schema_id, version.version),
    }
}

fn json(resource: &Resource) -> Value {
    serde_json::to_value(resource).expect("a resource is JSON")
}
