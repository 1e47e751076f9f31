//! Resources and their change log, and what became of events ([`logs`]), kept by a database. Only control-plane uses it.
//!
//! The invariant: **every mutation writes its row and its change in one transaction, and sequence
//! order is commit order**: whoever sees change n sees every change before it. Secrets are sealed
//! before they reach the database. **No change is without an entry in the [`audit`] log**, in the same transaction. Who may do
//! what is control-plane's business.

use async_trait::async_trait;
use millrace_domain::{
    Account, AccountSid, AccountStatus, AccountUpdate, ApiKey, ApiKeySid, ConfigVersion,
    SecondaryAuthToken, Sink, SinkSid, SinkStatus, SinkUpdate, SubscribedEvent, Subscription,
    SubscriptionSid, SubscriptionUpdate, Timestamp,
    schema::{EventType, EventTypeUpdate, SchemaVersion},
};
use serde::{Deserialize, Serialize};

use audit::{AuditEntry, AuditQuery, Deed};
use repeats::{Answered, Name};

pub mod audit;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod logs;
mod migrations;
pub mod postgres;
pub mod repeats;
pub mod seal;
mod sql;
pub mod sqlite;

pub use error::{Error, OpenError};
pub use logs::LogStore;
pub use seal::Keyring;
pub use sql::SqlStore;

/// The result of a call of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A page of a list: `after` is the key of the last row of the page before (exclusive).
#[derive(Clone, Debug, Default)]
pub struct Page<K> {
    /// Start after this key; `None`: from the start.
    pub after: Option<K>,
    /// At most so many rows.
    pub limit: u32,
}

/// One resource as it now is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// An account.
    Account(Account),
    /// An API key.
    ApiKey(ApiKey),
    /// A sink.
    Sink(Sink),
    /// A deleted sink, kept for 8 days: the longest window and a day.
    SinkTombstone(SinkSid, AccountSid),
    /// A subscription.
    Subscription(Subscription),
    /// An event type.
    EventType(EventType),
    /// A version of a schema.
    SchemaVersion(SchemaVersion),
}

/// What a change was about and what came of it. Its serde form is what the change log keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly every change is an upsert")]
pub enum Changed {
    /// Created or updated: the resource as the change left it. A deleted sink is its tombstone.
    Upserted(Resource),
    /// An API key is gone.
    ApiKeyDeleted(ApiKeySid, AccountSid),
    /// A subscription is gone.
    SubscriptionDeleted(SubscriptionSid),
    /// A tombstone is gone too.
    SinkForgotten(SinkSid),
}

/// An entry of the change log.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its number; ascends in commit order, not always by one.
    pub seq: u64,
    /// What changed.
    pub changed: Changed,
}

/// The change log after some version.
#[derive(Clone, Debug)]
pub enum Changes {
    /// Up to `limit` changes in order; empty: there are none yet.
    Some(Vec<Change>),
    /// That version is of another epoch, of the future or compacted: take a snapshot.
    Gone,
}

/// How an account was at some time.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The newest change of it.
    pub seq: u64,
    /// The account and what it had: sinks, their tombstones, subscriptions.
    pub resources: Vec<Resource>,
}

/// Which sinks to list.
#[derive(Clone, Debug, Default)]
pub struct SinkFilter {
    /// Only those that a subscription uses, or none does.
    pub in_use: Option<bool>,
    /// Only those of this status.
    pub status: Option<SinkStatus>,
}

/// Which accounts to list.
#[derive(Clone, Debug, Default)]
pub struct AccountFilter {
    /// Only this one and its subaccounts.
    pub family: Option<AccountSid>,
    /// Only those of this name.
    pub friendly_name: Option<String>,
    /// Only those of this status.
    pub status: Option<AccountStatus>,
}

/// Resources and change log. Object-safe: control-plane holds `Arc<dyn ResourceStore>`.
///
/// Every mutation is refused that nobody is named for ([`audit::acting_as`]). SIDs and times are the caller's. Creations are safe to repeat: the same SID again is [`Error::AlreadyExists`].
#[async_trait]
pub trait ResourceStore: Send + Sync + 'static {
    /// The newest version: epoch of this database, seq of its last change.
    async fn version(&self) -> Result<ConfigVersion>;

    /// Every resource, read in one transaction, and the version it is of. Accounts come first, then what is in them.
    async fn snapshot(&self) -> Result<(ConfigVersion, Vec<Resource>)>;

    /// Up to `limit` changes after `version`, in commit order.
    async fn changes(&self, version: ConfigVersion, limit: u32) -> Result<Changes>;

    /// Waits until the log may be longer than `seq`: woken by a commit of any process, backed up by polling once a second
    /// at most. May wake for nothing.
    async fn changed(&self, seq: u64);

    /// Adds an account.
    async fn create_account(&self, account: &Account) -> Result<ConfigVersion>;
    /// Adds a subaccount, unless its parent has `limit` that are not closed ([`Error::LimitReached`]) or is closed ([`Error::Closed`]).
    async fn create_subaccount(&self, account: &Account, limit: u32) -> Result<ConfigVersion>;
    /// Gives an account.
    async fn account(&self, sid: AccountSid) -> Result<Account>;
    /// Lists accounts by SID, closed ones too.
    async fn accounts(
        &self,
        filter: &AccountFilter,
        page: &Page<AccountSid>,
    ) -> Result<Vec<Account>>;
    /// Changes what `update` names of an account that is not closed ([`Error::Closed`]). Closing takes along, in the same
    /// transaction, its subaccounts, subscriptions, sinks (which leave tombstones), API keys and secondary token.
    async fn update_account(
        &self,
        sid: AccountSid,
        update: &AccountUpdate,
        now: Timestamp,
    ) -> Result<(Account, ConfigVersion)>;
    /// Gives an account that is not closed a secondary auth token ([`Error::AlreadyExists`] if it has one).
    async fn add_secondary_auth_token(
        &self,
        sid: AccountSid,
        secondary: &SecondaryAuthToken,
    ) -> Result<(Account, ConfigVersion)>;
    /// Takes an account's secondary auth token away ([`Error::NotFound`] if it has none).
    async fn remove_secondary_auth_token(
        &self,
        sid: AccountSid,
        now: Timestamp,
    ) -> Result<(Account, ConfigVersion)>;
    /// Puts an account's secondary auth token in the first one's place ([`Error::NotFound`] if it has none).
    async fn promote_secondary_auth_token(
        &self,
        sid: AccountSid,
        now: Timestamp,
    ) -> Result<(Account, ConfigVersion)>;

    /// Adds an API key, unless its account has `limit` already ([`Error::LimitReached`]) or is closed ([`Error::Closed`]).
    async fn create_api_key(&self, key: &ApiKey, limit: u32) -> Result<ConfigVersion>;
    /// Gives an API key.
    async fn api_key(&self, sid: ApiKeySid) -> Result<ApiKey>;
    /// Lists an account's API keys by SID, which is by creation.
    async fn api_keys(&self, account: AccountSid, page: &Page<ApiKeySid>) -> Result<Vec<ApiKey>>;
    /// Changes an API key's name.
    async fn rename_api_key(
        &self,
        account: AccountSid,
        sid: ApiKeySid,
        friendly_name: &str,
        now: Timestamp,
    ) -> Result<(ApiKey, ConfigVersion)>;
    /// Deletes an API key.
    async fn delete_api_key(&self, account: AccountSid, sid: ApiKeySid) -> Result<ConfigVersion>;

    /// Adds a sink, unless its account has `limit` already ([`Error::LimitReached`]; exact under concurrency) or is closed
    /// ([`Error::Closed`]).
    async fn create_sink(&self, sink: &Sink, limit: u32) -> Result<ConfigVersion>;
    /// Gives a sink of an account. A tombstone is not found.
    async fn sink(&self, account: AccountSid, sid: SinkSid) -> Result<Sink>;
    /// Finds a sink whosesoever it is: for platform keys.
    async fn sink_of_any(&self, sid: SinkSid) -> Result<Sink>;
    /// Lists an account's sinks by SID, which is by creation.
    async fn sinks(
        &self,
        account: AccountSid,
        filter: &SinkFilter,
        page: &Page<SinkSid>,
    ) -> Result<Vec<Sink>>;
    /// Changes what `update` names of a sink. Any update clears the status failed.
    async fn update_sink(
        &self,
        account: AccountSid,
        sid: SinkSid,
        update: &SinkUpdate,
        now: Timestamp,
    ) -> Result<(Sink, ConfigVersion)>;
    /// Sets what a sink is believed to be; `None`, and nothing is written, where it is so already.
    async fn set_sink_status(
        &self,
        account: AccountSid,
        sid: SinkSid,
        status: SinkStatus,
        now: Timestamp,
    ) -> Result<Option<ConfigVersion>>;
    /// The sinks of all accounts that are failed.
    async fn failed_sinks(&self) -> Result<Vec<SinkSid>>;
    /// Deletes a sink that no subscription uses ([`Error::InUse`]); leaves a tombstone.
    async fn delete_sink(
        &self,
        account: AccountSid,
        sid: SinkSid,
        now: Timestamp,
    ) -> Result<ConfigVersion>;
    /// Forgets tombstones older than `before`; tells how many.
    async fn forget_sinks(&self, before: Timestamp) -> Result<u64>;

    /// Adds a subscription to a sink of the same account that is not failed ([`Error::NotFound`], [`Error::SinkFailed`]).
    async fn create_subscription(
        &self,
        subscription: &Subscription,
        limit: u32,
    ) -> Result<ConfigVersion>;
    /// Gives a subscription of an account, with its types.
    async fn subscription(&self, account: AccountSid, sid: SubscriptionSid)
    -> Result<Subscription>;
    /// Finds a subscription whosesoever it is: for platform keys.
    async fn subscription_of_any(&self, sid: SubscriptionSid) -> Result<Subscription>;
    /// Lists an account's subscriptions by SID, with their types.
    async fn subscriptions(
        &self,
        account: AccountSid,
        sink: Option<SinkSid>,
        page: &Page<SubscriptionSid>,
    ) -> Result<Vec<Subscription>>;
    /// Changes what `update` names of a subscription.
    async fn update_subscription(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
        update: &SubscriptionUpdate,
        now: Timestamp,
    ) -> Result<(Subscription, ConfigVersion)>;
    /// Deletes a subscription and its types; its sink stays.
    async fn delete_subscription(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
    ) -> Result<ConfigVersion>;
    /// Adds an event type to a subscription ([`Error::AlreadyExists`] if it is there; [`Error::LimitReached`] from `limit` on).
    async fn add_subscribed_event(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
        event: &SubscribedEvent,
        limit: u32,
    ) -> Result<ConfigVersion>;
    /// Pins an event type of a subscription to another version.
    async fn pin_subscribed_event(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
        event: &SubscribedEvent,
    ) -> Result<ConfigVersion>;
    /// Takes an event type out of a subscription; [`Error::InUse`] for the last one.
    async fn remove_subscribed_event(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
        event_type: &str,
    ) -> Result<ConfigVersion>;

    /// Registers event types and schema versions: adds what is new, changes what differs (description, status, page of a type; what
    /// is validated of it stays; a schema version is never changed, but that one without a document gets one). Writes one change for
    /// each that is new or differs, and none otherwise.
    async fn register(
        &self,
        types: &[EventType],
        versions: &[SchemaVersion],
    ) -> Result<ConfigVersion>;
    /// Changes what `update` names of an event type; writes nothing where it is so already.
    async fn update_event_type(
        &self,
        name: &str,
        update: &EventTypeUpdate,
        now: Timestamp,
    ) -> Result<(EventType, ConfigVersion)>;
    /// Adds the version after a schema's latest, or the first; gives the latest its document where that has none. Of callers who add
    /// the same version one succeeds, the others get [`Error::AlreadyExists`]. [`Error::NotFound`]: a version between is missing.
    async fn add_schema_version(&self, version: &SchemaVersion) -> Result<ConfigVersion>;
    /// Gives an event type.
    async fn event_type(&self, name: &str) -> Result<EventType>;
    /// Lists event types by name.
    async fn event_types(
        &self,
        schema_id: Option<&str>,
        page: &Page<String>,
    ) -> Result<Vec<EventType>>;
    /// Gives a version of a schema; `None`: the latest.
    async fn schema_version(&self, schema_id: &str, version: Option<u32>) -> Result<SchemaVersion>;
    /// Lists versions of a schema, oldest first. [`Error::NotFound`] for an unknown schema.
    async fn schema_versions(
        &self,
        schema_id: &str,
        page: &Page<u32>,
    ) -> Result<Vec<SchemaVersion>>;

    /// Gives what a request of this name was answered within a day before `now` ([`repeats::once`]).
    async fn answered(&self, name: &Name, now: Timestamp) -> Result<Option<Answered>>;
    /// Forgets answers that are older than a day; tells how many.
    async fn forget_answers(&self, now: Timestamp) -> Result<u64>;

    /// Writes into the audit log what is no change of the configuration; changes write their entries themselves. A repeat is
    /// another entry. All or none are written.
    async fn audit(&self, deeds: &[Deed]) -> Result<()>;
    /// Lists the audit log, newest first.
    async fn audit_entries(&self, query: &AuditQuery, page: &Page<u64>) -> Result<Vec<AuditEntry>>;
    /// An account and its sinks and subscriptions as they were at a time, as far back as nothing was
    /// compacted ([`Self::compact`]); before that, some of it may be told later than it was.
    async fn account_at(&self, account: AccountSid, at: Timestamp) -> Result<Past>;
    /// An event type as it was at a time, if it was there.
    async fn event_type_at(&self, name: &str, at: Timestamp) -> Result<Option<EventType>>;
    /// Whether anything was ever compacted: else the change log tells all of the past.
    async fn is_compacted(&self) -> Result<bool>;
    /// Removes up to `limit` changes that tell nothing of any time since `before`; tells how many. Of each resource that was
    /// there then, the last change stays, so that [`Self::account_at`] is exact from `before` on. Who watches from before the
    /// last one removed takes a snapshot.
    async fn compact(&self, before: Timestamp, limit: u32) -> Result<u64>;
    /// Removes up to `limit` entries from before `before`, oldest first; tells how many.
    async fn forget_audit(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
