//! The wire's resources as this process knows them. `None`: nothing that it can read, such as a status of later days.

use std::{sync::Arc, time::Duration};

use millrace_domain::{
    AccountStatus, ApiKeySid, KeyAccess, Secret, SinkDelivery, SinkSid, SubscribedEvent,
    Subscription, Timestamp,
    identity::Identity,
    projection::Projection,
    schema::{EventTypeStatus, Validation},
    secret::SecretHash,
    sink::{
        Headers,
        delivery::{check_delivery_window, check_max_concurrency, check_rate_limit},
    },
};
use millrace_proto::internal::{
    ConfigAccount, ConfigApiKey, ConfigEventType, ConfigSchemaVersion, ConfigSink,
    ConfigSubscription,
};

use crate::resources::{Account, ApiKey, Document, EventType, LiveSink, SchemaVersion, Sink};

pub(crate) fn account(wire: &ConfigAccount) -> Option<Account> {
    let parent = match wire.parent_sid.as_str() {
        "" => None,
        sid => Some(sid.parse().ok()?),
    };
    let status = AccountStatus::parse(&wire.status)?;
    Some(Account {
        sid: wire.sid.parse().ok()?,
        parent,
        status,
        auth_token_hash: SecretHash::from_bytes(&wire.auth_token_hash),
        secondary_auth_token_hash: SecretHash::from_bytes(&wire.secondary_auth_token_hash),
        auth_token: (!wire.auth_token.is_empty()).then(|| Secret::new(&wire.auth_token)),
    })
}

pub(crate) fn api_key(wire: &ConfigApiKey) -> Option<(ApiKeySid, ApiKey)> {
    let account = wire.account_sid.parse().ok()?;
    let secret_hash = SecretHash::from_bytes(&wire.secret_hash)?;
    let access = match wire.access.as_str() {
        "" => KeyAccess::Main,
        word => KeyAccess::parse(word)?,
    };
    Some((wire.sid.parse().ok()?, ApiKey { account, secret_hash, access }))
}

pub(crate) fn sink(wire: &ConfigSink) -> Option<(SinkSid, Sink)> {
    let sid = wire.sid.parse().ok()?;
    let account = wire.account_sid.parse().ok()?;
    if wire.deleted {
        return Some((sid, Sink::Deleted { account }));
    }
    let configuration = serde_json::from_str(&wire.configuration_json).ok()?;
    let signing_secret = Secret::new(&wire.signing_secret);
    let delivery = delivery(wire);
    // Without headers that are asked for a receiver would refuse what comes: the sink is not known then.
    let headers = match wire.headers_json.as_str() {
        "" => Headers::default(),
        json => serde_json::from_str(json).ok()?,
    };
    let live = LiveSink { sid, account, configuration, headers, delivery, signing_secret };
    Some((sid, Sink::Live(Arc::new(live))))
}

/// A setting that is out of its bounds is none: control-plane checks them, and better delivered than lost.
fn delivery(wire: &ConfigSink) -> SinkDelivery {
    let window = Duration::from_millis(wire.delivery_window_ms);
    SinkDelivery {
        paused: wire.paused,
        rate_limit: check_rate_limit(wire.rate_limit.into()).ok(),
        max_concurrency: check_max_concurrency(wire.max_concurrency.into()).ok(),
        window: check_delivery_window(window).ok(),
    }
}

pub(crate) fn subscription(wire: ConfigSubscription) -> Option<Subscription> {
    Some(Subscription {
        sid: wire.sid.parse().ok()?,
        account: wire.account_sid.parse().ok()?,
        description: String::new(),
        sink: wire.sink_sid.parse().ok()?,
        types: wire
            .types
            .into_iter()
            .map(|wire| SubscribedEvent {
                event_type: wire.r#type,
                schema_version: wire.schema_version,
            })
            .collect(),
        include_subaccounts: wire.include_subaccounts,
        created: Timestamp::default(),
        updated: Timestamp::default(),
    })
}

pub(crate) fn event_type(wire: &ConfigEventType) -> Option<EventType> {
    let status = match wire.status.as_str() {
        "available" => EventTypeStatus::Available,
        "deprecated" => EventTypeStatus::Deprecated,
        "restricted" => EventTypeStatus::Restricted,
        "discontinued" => EventTypeStatus::Discontinued,
        _ => return None,
    };
    let validation = match wire.validation.as_str() {
        "enforce" => Validation::Enforce,
        "warn" => Validation::Warn,
        "off" => Validation::Off,
        _ => Validation::default_of(&wire.r#type),
    };
    Some(EventType { schema_id: wire.schema_id.clone(), status, validation })
}

/// What names whom events of a version are about.
pub(crate) fn identity(wire: &ConfigSchemaVersion) -> (String, Identity) {
    let ConfigSchemaVersion { dataschema, identity_property, identity_type, .. } = wire.clone();
    (dataschema, Identity { property: identity_property, kind: identity_type })
}

/// A version whose document is empty or unreadable is one whose fields are not known: projection to it keeps all.
pub(crate) fn schema_version(wire: &ConfigSchemaVersion) -> Option<SchemaVersion> {
    if wire.version == 0 {
        return None;
    }
    let projection = serde_json::from_str(&wire.document)
        .map_or_else(|_| Projection::keep_all(), |document| Projection::of_schema(&document));
    let document = (!wire.schema.is_empty()).then(|| Document {
        digest: *SecretHash::of(&wire.schema).as_bytes(),
        text: Arc::from(wire.schema.as_str()),
    });
    Some(SchemaVersion { dataschema: wire.dataschema.clone(), projection, document })
}
