//! One version of the configuration, and how changes make the next.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use millrace_domain::{
    AccountSid, AccountStatus, ApiKeySid, ConfigVersion, SinkSid, Subscription, SubscriptionSid,
    identity::Identities,
    matching::{MatchTable, Origin, Route},
    secret::SecretHash,
};
use millrace_proto::internal::{
    Resource, ResourceKey, resource::Resource as Kind, resource_key::Key,
};

use crate::{
    read,
    resources::{Account, ApiKey, EventType, Schema, Sink},
    sharded::Sharded,
};

/// The subscriptions of one account.
type Subscriptions = BTreeMap<SubscriptionSid, Arc<Subscription>>;

/// One version of the configuration. Immutable where others see it; a copy shares what it does not change, so that a
/// delta costs what changes and not what there is.
#[derive(Clone, Debug)]
pub struct Configuration {
    version: ConfigVersion,
    accounts: Sharded<AccountSid, Arc<Account>>,
    api_keys: Sharded<ApiKeySid, ApiKey>,
    platform_keys: Arc<HashSet<[u8; 32]>>,
    sinks: Sharded<SinkSid, Sink>,
    subscriptions: Sharded<AccountSid, Arc<Subscriptions>>,
    subscribers: Sharded<SubscriptionSid, AccountSid>,
    tables: Sharded<AccountSid, Arc<MatchTable>>,
    event_types: Arc<HashMap<String, EventType>>,
    schemas: Arc<HashMap<String, Schema>>,
    identities: Arc<Identities>,
}

impl Configuration {
    /// The configuration that has nothing.
    pub fn empty(version: ConfigVersion) -> Self {
        Self {
            version,
            accounts: Sharded::default(),
            api_keys: Sharded::default(),
            platform_keys: Arc::default(),
            sinks: Sharded::default(),
            subscriptions: Sharded::default(),
            subscribers: Sharded::default(),
            tables: Sharded::default(),
            event_types: Arc::default(),
            schemas: Arc::default(),
            identities: Arc::default(),
        }
    }

    /// The configuration that has `resources`.
    pub fn of(version: ConfigVersion, resources: Vec<Resource>) -> Self {
        let mut configuration = Self::empty(version);
        configuration.apply(resources, &[]);
        configuration
    }

    /// Which version this is.
    pub fn version(&self) -> ConfigVersion {
        self.version
    }

    /// An account.
    pub fn account(&self, sid: AccountSid) -> Option<&Account> {
        self.accounts.get(&sid).map(|account| &**account)
    }

    /// An API key.
    pub fn api_key(&self, sid: ApiKeySid) -> Option<&ApiKey> {
        self.api_keys.get(&sid)
    }

    /// Tells whether a platform key has this hash. Looking a hash up tells nothing about a key that is not known:
    /// the keys are random, and nobody can choose where a hash differs.
    pub fn is_platform_key(&self, hash: &SecretHash) -> bool {
        self.platform_keys.contains(hash.as_bytes())
    }

    /// A sink; `None`: not known yet, or forgotten.
    pub fn sink(&self, sid: SinkSid) -> Option<&Sink> {
        self.sinks.get(&sid)
    }

    /// Every sink that is known, in no order.
    pub fn sinks(&self) -> impl Iterator<Item = (SinkSid, &Sink)> {
        self.sinks.iter().map(|(sid, sink)| (*sid, sink))
    }

    /// Whether an account may act: a subaccount of a suspended account is suspended with it.
    pub fn account_status(&self, account: &Account) -> AccountStatus {
        let parent = account.parent.and_then(|parent| self.account(parent));
        account.status.under(parent.map(|parent| parent.status))
    }

    /// The sinks of `account` that take its events of `event_type`, each once.
    pub fn routes(&self, account: AccountSid, event_type: &str) -> &[Route] {
        self.routes_from(account, event_type, Origin::Own)
    }

    /// The account that `account` is a subaccount of, and the sinks of that one that take subaccounts' events of `event_type`,
    /// each once; `None` where there are none.
    pub fn parent_routes(
        &self,
        account: AccountSid,
        event_type: &str,
    ) -> Option<(AccountSid, &[Route])> {
        let parent = self.account(account)?.parent?;
        let routes = self.routes_from(parent, event_type, Origin::Subaccount);
        (!routes.is_empty()).then_some((parent, routes))
    }

    fn routes_from(&self, account: AccountSid, event_type: &str, origin: Origin) -> &[Route] {
        self.tables.get(&account).map_or(&[], |table| table.routes(event_type, origin))
    }

    /// An event type.
    pub fn event_type(&self, name: &str) -> Option<&EventType> {
        self.event_types.get(name)
    }

    /// Whom events are about; deliverer's view.
    pub fn identities(&self) -> &Arc<Identities> {
        &self.identities
    }

    /// A schema.
    pub fn schema(&self, id: &str) -> Option<&Schema> {
        self.schemas.get(id)
    }

    /// Puts a later version in place of this one's number; what is in it is put in by [`Self::apply`].
    pub(crate) fn advance(&mut self, version: ConfigVersion) {
        self.version = version;
    }

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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use millrace_domain::schema::Validation;
    use millrace_proto::internal::{
        ConfigAccount, ConfigEventType, ConfigSchemaVersion, ConfigSink, ConfigSubscribedEvent,
        ConfigSubscription,
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
        let (first, second) =
            (schema.version(1).expect("known"), schema.version(2).expect("known"));
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
}
