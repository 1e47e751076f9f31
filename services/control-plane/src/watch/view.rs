//! Who sees what: routers check credentials and match, deliverers send and sign.

use std::num::NonZeroU32;

use millrace_domain::{
    Account, ApiKey, Sink, SinkDelivery, Subscription, identity::Identity, schema::SchemaVersion,
    secret::SecretHash,
};
use millrace_proto::internal::{
    ConfigAccount, ConfigApiKey, ConfigEventType, ConfigSchemaVersion, ConfigSink,
    ConfigSubscribedEvent, ConfigSubscription, Resource as Shape, ResourceKey,
    resource::Resource as Wire, resource_key::Key,
};
use millrace_schema::Document;
use millrace_store::{Changed, Resource};

/// Whose eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Hashes of credentials, matching, schemas; no configurations, no secrets.
    Router,
    /// Accounts' tokens, sinks' configurations and signing secrets, whom events are about; nothing else.
    Deliverer,
}

/// What a view sees of a change.
pub(super) enum Shown {
    Upsert(Shape),
    Delete(ResourceKey),
    Nothing,
}

impl View {
    /// What the view sees of a change.
    pub(super) fn changed(self, changed: Changed, schemas_url: &str) -> Shown {
        let key = match changed {
            Changed::Upserted(resource) => {
                return self.show(resource, schemas_url).map_or(Shown::Nothing, Shown::Upsert);
            }
            Changed::ApiKeyDeleted(..) if self == Self::Deliverer => return Shown::Nothing,
            Changed::ApiKeyDeleted(sid, _) => Key::ApiKeySid(sid.to_string()),
            Changed::SubscriptionDeleted(_) if self == Self::Deliverer => return Shown::Nothing,
            Changed::SubscriptionDeleted(sid) => Key::SubscriptionSid(sid.to_string()),
            Changed::SinkForgotten(sid) => Key::SinkSid(sid.to_string()),
        };
        Shown::Delete(ResourceKey { key: Some(key) })
    }

    /// What the view sees of a resource.
    pub(crate) fn show(self, resource: Resource, schemas_url: &str) -> Option<Shape> {
        let router = self == Self::Router;
        let wire = match resource {
            Resource::Account(account) => Wire::Account(self.account(&account)),
            Resource::Sink(sink) => Wire::Sink(self.sink(&sink)),
            Resource::SinkTombstone(sid, account) => Wire::Sink(ConfigSink {
                sid: sid.to_string(),
                account_sid: account.to_string(),
                deleted: true,
                ..ConfigSink::default()
            }),
            Resource::ApiKey(key) if router => Wire::ApiKey(api_key(&key)),
            Resource::Subscription(subscription) if router => {
                Wire::Subscription(self::subscription(subscription))
            }
            Resource::EventType(event_type) if router => Wire::EventType(ConfigEventType {
                r#type: event_type.name,
                schema_id: event_type.schema_id,
                status: event_type.status.as_str().to_owned(),
                validation: event_type.validation.as_str().to_owned(),
            }),
            Resource::SchemaVersion(version) if router => {
                Wire::SchemaVersion(schema_version(version, schemas_url))
            }
            Resource::SchemaVersion(version) => {
                return identity(version, schemas_url)
                    .map(|version| Shape { resource: Some(Wire::SchemaVersion(version)) });
            }
            Resource::ApiKey(_) | Resource::Subscription(_) | Resource::EventType(_) => {
                return None;
            }
        };
        Some(Shape { resource: Some(wire) })
    }

    /// The platform keys that the view sees.
    pub(super) fn platform_keys(self, hashes: &[SecretHash]) -> Vec<Shape> {
        let seen = if self == Self::Router { hashes } else { &[] };
        let shape = |hash: &SecretHash| Shape {
            resource: Some(Wire::PlatformKeyHash(hash.as_bytes().to_vec().into())),
        };
        seen.iter().map(shape).collect()
    }

    fn account(self, account: &Account) -> ConfigAccount {
        let mut shown = ConfigAccount {
            sid: account.sid.to_string(),
            parent_sid: account.parent.map(|sid| sid.to_string()).unwrap_or_default(),
            status: account.status.as_str().to_owned(),
            ..ConfigAccount::default()
        };
        match self {
            Self::Router => {
                let hash = account.auth_token.sha256();
                shown.auth_token_hash = hash.as_bytes().to_vec().into();
                if let Some(second) = &account.secondary_auth_token {
                    let hash = second.token.sha256();
                    shown.secondary_auth_token_hash = hash.as_bytes().to_vec().into();
                }
            }
            Self::Deliverer => shown.auth_token = account.auth_token.reveal().to_owned(),
        }
        shown
    }

    pub(crate) fn sink(self, sink: &Sink) -> ConfigSink {
        let mut shown = ConfigSink {
            sid: sink.sid.to_string(),
            account_sid: sink.account.to_string(),
            ..ConfigSink::default()
        };
        if self == Self::Deliverer {
            shown.configuration_json =
                serde_json::to_string(&sink.configuration).expect("a configuration is JSON");
            shown.signing_secret = sink.signing_secret.reveal().to_owned();
            if !sink.headers.is_empty() {
                shown.headers_json =
                    serde_json::to_string(&sink.headers).expect("headers are JSON");
            }
            show_delivery(&sink.delivery, &mut shown);
        }
        shown
    }
}

fn show_delivery(delivery: &SinkDelivery, shown: &mut ConfigSink) {
    let SinkDelivery { paused, rate_limit, max_concurrency, window } = *delivery;
    shown.paused = paused;
    shown.rate_limit = rate_limit.map_or(0, NonZeroU32::get);
    shown.max_concurrency = max_concurrency.map_or(0, NonZeroU32::get);
    shown.delivery_window_ms = window.map_or(0, |window| window.as_secs() * 1_000);
}

fn api_key(key: &ApiKey) -> ConfigApiKey {
    ConfigApiKey {
        sid: key.sid.to_string(),
        account_sid: key.account.to_string(),
        secret_hash: key.secret_hash.as_bytes().to_vec().into(),
        access: key.access.as_str().to_owned(),
    }
}

fn subscription(subscription: Subscription) -> ConfigSubscription {
    let types = subscription.types.into_iter().map(|event| ConfigSubscribedEvent {
        r#type: event.event_type,
        schema_version: event.schema_version,
    });
    ConfigSubscription {
        sid: subscription.sid.to_string(),
        account_sid: subscription.account.to_string(),
        sink_sid: subscription.sink.to_string(),
        types: types.collect(),
        include_subaccounts: subscription.include_subaccounts,
    }
}

/// A document that is read no more, being of other days, is told as it is: the router says so. Until then, its own properties are
/// what is known of it.
fn schema_version(version: SchemaVersion, schemas_url: &str) -> ConfigSchemaVersion {
    let outline = version.document.as_deref().map(|text| match Document::read(text) {
        Ok(document) => document.outline(),
        Err(_) => serde_json::from_str(text).unwrap_or_default(),
    });
    ConfigSchemaVersion {
        dataschema: format!("{schemas_url}/{}/{}", version.schema_id, version.version),
        document: outline.map(|outline| outline.to_string()).unwrap_or_default(),
        schema: version.document.unwrap_or_default(),
        schema_id: version.schema_id,
        version: version.version,
        ..ConfigSchemaVersion::default()
    }
}

/// What a deliverer sees of a version: whom its events are about. Nothing where they are about nobody.
fn identity(version: SchemaVersion, schemas_url: &str) -> Option<ConfigSchemaVersion> {
    let document = serde_json::from_str(version.document.as_deref()?).ok()?;
    let Identity { property, kind } = Identity::of_schema(&document)?;
    Some(ConfigSchemaVersion {
        dataschema: format!("{schemas_url}/{}/{}", version.schema_id, version.version),
        schema_id: version.schema_id,
        version: version.version,
        identity_property: property,
        identity_type: kind,
        ..ConfigSchemaVersion::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_told_what_projection_looks_at_and_what_events_are_checked_by() {
        let document = serde_json::json!({
            "title": "A", "type": "object", "required": ["a"],
            "properties": {"a": {"type": "string"}, "b": {"$ref": "#/$defs/b"}},
            "$defs": {"b": {"properties": {"c": {}}}},
        });
        let version = |document: Option<String>| SchemaVersion {
            schema_id: "A".to_owned(),
            version: 2,
            document,
            created: millrace_domain::Timestamp::default(),
        };
        let shown = schema_version(version(Some(document.to_string())), "https://s");
        assert_eq!(shown.dataschema, "https://s/A/2");
        assert_eq!(shown.document, r#"{"properties":{"a":{},"b":{"properties":{"c":{}}}}}"#);
        assert_eq!(shown.schema, document.to_string());
        let unknown = schema_version(version(None), "https://s");
        assert_eq!((unknown.document.as_str(), unknown.schema.as_str()), ("", ""));
    }
}
