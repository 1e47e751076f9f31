//! One version of the configuration, and what may be asked of it; how changes make the next is in [`apply`].

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use hashbrown::HashMap;
use millrace_domain::{
    AccountSid, AccountStatus, ApiKeySid, ConfigVersion, SinkSid, Subscription, SubscriptionSid,
    identity::Identities,
    matching::{MatchTable, Origin, Route},
    secret::SecretHash,
};
use millrace_proto::internal::Resource;

use crate::{
    resources::{Account, ApiKey, EventType, Schema, Sink},
    sharded::Sharded,
};

mod apply;
#[cfg(test)]
mod tests;

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
}
