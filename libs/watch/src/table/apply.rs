//! How changes make the next version: taken in and out by what they name, and one match table made anew for each account that
//! they touch.

use std::{collections::BTreeSet, sync::Arc};

use millrace_domain::{AccountSid, Subscription, SubscriptionSid, matching::MatchTable};
use millrace_proto::internal::{
    Resource, ResourceKey, resource::Resource as Kind, resource_key::Key,
};

use super::Configuration;
use crate::read;

impl Configuration {
    /// Takes `upserts` in, in their order, then `deletes` out. What a newer control-plane tells that this process cannot
    /// read is left as it was.
    pub fn apply(&mut self, upserts: Vec<Resource>, deletes: &[ResourceKey]) {
        let mut touched = BTreeSet::new();
        let mut ignored = 0_usize;
        for resource in upserts {
            let known = resource.resource.and_then(|kind| self.upsert(kind, &mut touched));
            ignored += usize::from(known.is_none());
        }
        for key in deletes {
            let known = key.key.as_ref().and_then(|key| self.delete(key, &mut touched));
            ignored += usize::from(known.is_none());
        }
        for account in touched {
            self.rebuild(account);
        }
        if ignored > 0 {
            tracing::warn!(
                ignored,
                "control-plane told of resources that this version cannot read"
            );
        }
    }

    fn upsert(&mut self, kind: Kind, touched: &mut BTreeSet<AccountSid>) -> Option<()> {
        match kind {
            Kind::Account(wire) => {
                let account = read::account(&wire)?;
                self.accounts.insert(account.sid, Arc::new(account));
            }
            Kind::ApiKey(wire) => {
                let (sid, key) = read::api_key(&wire)?;
                self.api_keys.insert(sid, key);
            }
            // The router's view: it delivers nothing, and is told no configuration.
            Kind::Sink(wire) if !wire.deleted && wire.configuration_json.is_empty() => {}
            Kind::Sink(wire) => {
                let (sid, sink) = read::sink(&wire)?;
                self.sinks.insert(sid, sink);
            }
            Kind::Subscription(wire) => {
                let subscription = read::subscription(wire)?;
                self.subscribe(subscription, touched);
            }
            Kind::EventType(wire) => {
                let event_type = read::event_type(&wire)?;
                Arc::make_mut(&mut self.event_types).insert(wire.r#type, event_type);
            }
            Kind::SchemaVersion(wire) => {
                if !wire.identity_property.is_empty() {
                    let (dataschema, identity) = read::identity(&wire);
                    Arc::make_mut(&mut self.identities).set(dataschema, Some(identity));
                }
                let version = Arc::new(read::schema_version(&wire)?);
                let schema = Arc::make_mut(&mut self.schemas).entry(wire.schema_id).or_default();
                schema.versions.insert(wire.version, version);
            }
            Kind::PlatformKeyHash(hash) => {
                Arc::make_mut(&mut self.platform_keys).insert(hash.as_ref().try_into().ok()?);
            }
        }
        Some(())
    }

    /// Takes out what `key` names; what is not there is left alone. `None`: not a key that this process can read.
    fn delete(&mut self, key: &Key, touched: &mut BTreeSet<AccountSid>) -> Option<()> {
        match key {
            Key::AccountSid(sid) => drop(self.accounts.remove(&sid.parse().ok()?)),
            Key::ApiKeySid(sid) => drop(self.api_keys.remove(&sid.parse().ok()?)),
            Key::SinkSid(sid) => drop(self.sinks.remove(&sid.parse().ok()?)),
            Key::SubscriptionSid(sid) => self.unsubscribe(sid.parse().ok()?, touched),
            Key::EventType(name) => drop(Arc::make_mut(&mut self.event_types).remove(name)),
            Key::PlatformKeyHash(hash) => {
                let hash: [u8; 32] = hash.as_ref().try_into().ok()?;
                Arc::make_mut(&mut self.platform_keys).remove(&hash);
            }
        }
        Some(())
    }

    fn subscribe(&mut self, subscription: Subscription, touched: &mut BTreeSet<AccountSid>) {
        let (sid, account) = (subscription.sid, subscription.account);
        if self.subscribers.get(&sid).is_some_and(|before| *before != account) {
            self.unsubscribe(sid, touched);
        }
        self.subscribers.insert(sid, account);
        let mut own = self.subscriptions.remove(&account).unwrap_or_default();
        Arc::make_mut(&mut own).insert(sid, Arc::new(subscription));
        self.subscriptions.insert(account, own);
        touched.insert(account);
    }

    fn unsubscribe(&mut self, sid: SubscriptionSid, touched: &mut BTreeSet<AccountSid>) {
        let Some(account) = self.subscribers.remove(&sid) else { return };
        if let Some(mut own) = self.subscriptions.remove(&account) {
            Arc::make_mut(&mut own).remove(&sid);
            if !own.is_empty() {
                self.subscriptions.insert(account, own);
            }
        }
        touched.insert(account);
    }

    /// Makes an account's match table anew, once for all its changes.
    fn rebuild(&mut self, account: AccountSid) {
        match self.subscriptions.get(&account) {
            Some(own) => {
                let table = MatchTable::of(own.values().map(|subscription| &**subscription));
                self.tables.insert(account, Arc::new(table));
            }
            None => drop(self.tables.remove(&account)),
        }
    }
}
