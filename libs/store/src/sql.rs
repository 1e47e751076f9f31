//! The store in an SQL database: one text of SQL for Postgres and SQLite, over sqlx's `Any` driver.
//!
//! What keeps the sequence in commit order is in [`transaction`]; one module for each kind of resource holds its SQL.
//! What the two databases do differently is [`Dialect`] and the modules that open them.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use metrics::{counter, histogram};
use millrace_domain::{
    Account, AccountSid, AccountUpdate, ApiKey, ApiKeySid, ConfigVersion, SecondaryAuthToken, Sink,
    SinkSid, SinkStatus, SinkUpdate, SubscribedEvent, Subscription, SubscriptionSid,
    SubscriptionUpdate, Timestamp,
    schema::{EventType, EventTypeUpdate, SchemaVersion},
};
use sqlx::AnyPool;
use tokio::{sync::Mutex, time};

use self::wake::Wake;
use crate::{
    AccountFilter, Changes, Error, Keyring, Page, Past, Resource, ResourceStore, Result,
    SinkFilter,
    audit::{AuditEntry, AuditQuery, Deed},
    repeats::{Answered, Name},
};

mod accounts;
mod api_keys;
mod audit;
mod catalogue;
mod changes;
mod history;
mod repeats;
mod rows;
mod sinks;
mod subscriptions;
mod tokens;
mod transaction;
pub(crate) mod wake;

pub(crate) use transaction::CHANNEL;

/// Longest a call may take, waiting for a connection and for locks included.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest a snapshot may take: it reads every row.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest a registration may take: the first writes the whole catalogue, several statements an entry, in one transaction.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(60);

/// A [`ResourceStore`] in an SQL database; made by [`crate::postgres::open`] and [`crate::sqlite::open`].
pub struct SqlStore {
    pool: AnyPool,
    dialect: Dialect,
    keyring: Keyring,
    wake: Wake,
}

/// Which database it is, and what that one needs for its writers to take turns.
#[derive(Clone, Debug)]
pub(crate) enum Dialect {
    /// Writers take turns by an advisory lock of the database.
    Postgres,
    /// Writers of this process take turns here, so that none polls for the file's lock.
    Sqlite {
        /// Held for as long as a write lasts.
        turn: Arc<Mutex<()>>,
    },
}

impl SqlStore {
    pub(crate) fn new(pool: AnyPool, dialect: Dialect, keyring: Keyring, wake: Wake) -> Self {
        Self { pool, dialect, keyring, wake }
    }

    /// Closes all connections, after what is under way. A call afterwards is [`Error::Unavailable`].
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs one call: bounds its time and names it in its error.
    async fn call<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T> {
        within(CALL_TIMEOUT, operation, work).await
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

/// Why work inside a call failed: with an answer for the caller, or with the database.
#[derive(Debug)]
pub(crate) enum Fault {
    Answer(Error),
    Database(Box<dyn StdError + Send + Sync>),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

pub(crate) async fn within<T>(
    limit: Duration,
    operation: &'static str,
    work: impl Future<Output = Result<T, Fault>> + Send,
) -> Result<T> {
    let started = time::Instant::now();
    let done = time::timeout(limit, work).await;
    histogram!("millrace_database_seconds", "operation" => operation).record(started.elapsed());
    let source = match done {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(Fault::Answer(error))) => return Err(error),
        Ok(Err(Fault::Database(source))) => source,
        Err(late) => late.into(),
    };
    counter!("millrace_database_errors_total").increment(1);
    Err(Error::Unavailable { operation, source })
}

#[async_trait]
impl ResourceStore for SqlStore {
    async fn version(&self) -> Result<ConfigVersion> {
        self.call("read the version", changes::version(self)).await
    }

    async fn snapshot(&self) -> Result<(ConfigVersion, Vec<Resource>)> {
        within(SNAPSHOT_TIMEOUT, "read a snapshot", changes::snapshot(self)).await
    }

    async fn changes(&self, version: ConfigVersion, limit: u32) -> Result<Changes> {
        self.call("read changes", changes::after(self, version, limit)).await
    }

    async fn changed(&self, seq: u64) {
        self.wake.until(|| async { self.version().await.is_ok_and(|now| now.seq != seq) }).await;
    }

    async fn create_account(&self, account: &Account) -> Result<ConfigVersion> {
        self.call("create an account", accounts::create(self, account, None)).await
    }

    async fn create_subaccount(&self, account: &Account, limit: u32) -> Result<ConfigVersion> {
        self.call("create an account", accounts::create(self, account, Some(limit))).await
    }

    async fn accounts(
        &self,
        filter: &AccountFilter,
        page: &Page<AccountSid>,
    ) -> Result<Vec<Account>> {
        self.call("list accounts", accounts::list(self, filter, page)).await
    }

    async fn update_account(
        &self,
        sid: AccountSid,
        update: &AccountUpdate,
        now: Timestamp,
    ) -> Result<(Account, ConfigVersion)> {
        self.call("update an account", accounts::update(self, sid, update, now)).await
    }

    async fn add_secondary_auth_token(
        &self,
        sid: AccountSid,
        secondary: &SecondaryAuthToken,
    ) -> Result<(Account, ConfigVersion)> {
        self.call("add an auth token", tokens::add(self, sid, secondary)).await
    }

    async fn remove_secondary_auth_token(
        &self,
        sid: AccountSid,
        now: Timestamp,
    ) -> Result<(Account, ConfigVersion)> {
        self.call("remove an auth token", tokens::remove(self, sid, now)).await
    }

    async fn promote_secondary_auth_token(
        &self,
        sid: AccountSid,
        now: Timestamp,
    ) -> Result<(Account, ConfigVersion)> {
        self.call("promote an auth token", tokens::promote(self, sid, now)).await
    }

    async fn account(&self, sid: AccountSid) -> Result<Account> {
        self.call("read an account", accounts::get(self, sid)).await
    }

    async fn create_api_key(&self, key: &ApiKey, limit: u32) -> Result<ConfigVersion> {
        self.call("create an API key", api_keys::create(self, key, limit)).await
    }

    async fn api_keys(&self, account: AccountSid, page: &Page<ApiKeySid>) -> Result<Vec<ApiKey>> {
        self.call("list API keys", api_keys::list(self, account, page)).await
    }

    async fn rename_api_key(
        &self,
        account: AccountSid,
        sid: ApiKeySid,
        friendly_name: &str,
        now: Timestamp,
    ) -> Result<(ApiKey, ConfigVersion)> {
        let work = api_keys::rename(self, (account, sid), friendly_name, now);
        self.call("update an API key", work).await
    }

    async fn delete_api_key(&self, account: AccountSid, sid: ApiKeySid) -> Result<ConfigVersion> {
        self.call("delete an API key", api_keys::delete(self, (account, sid))).await
    }

    async fn api_key(&self, sid: ApiKeySid) -> Result<ApiKey> {
        self.call("read an API key", api_keys::get(self, sid)).await
    }

    async fn create_sink(&self, sink: &Sink, limit: u32) -> Result<ConfigVersion> {
        self.call("create a sink", sinks::create(self, sink, limit)).await
    }

    async fn sink(&self, account: AccountSid, sid: SinkSid) -> Result<Sink> {
        self.call("read a sink", sinks::get(self, Some(account), sid)).await
    }

    async fn sink_of_any(&self, sid: SinkSid) -> Result<Sink> {
        self.call("read a sink", sinks::get(self, None, sid)).await
    }

    async fn sinks(
        &self,
        account: AccountSid,
        filter: &SinkFilter,
        page: &Page<SinkSid>,
    ) -> Result<Vec<Sink>> {
        self.call("list sinks", sinks::list(self, account, filter, page)).await
    }

    async fn update_sink(
        &self,
        account: AccountSid,
        sid: SinkSid,
        update: &SinkUpdate,
        now: Timestamp,
    ) -> Result<(Sink, ConfigVersion)> {
        self.call("update a sink", sinks::update(self, (account, sid), update, now)).await
    }

    async fn set_sink_status(
        &self,
        account: AccountSid,
        sid: SinkSid,
        status: SinkStatus,
        now: Timestamp,
    ) -> Result<Option<ConfigVersion>> {
        self.call("set a sink's status", sinks::set_status(self, (account, sid), status, now)).await
    }

    async fn failed_sinks(&self) -> Result<Vec<SinkSid>> {
        self.call("list failed sinks", sinks::failed(self)).await
    }

    async fn delete_sink(
        &self,
        account: AccountSid,
        sid: SinkSid,
        now: Timestamp,
    ) -> Result<ConfigVersion> {
        self.call("delete a sink", sinks::delete(self, (account, sid), now)).await
    }

    async fn forget_sinks(&self, before: Timestamp) -> Result<u64> {
        self.call("forget deleted sinks", sinks::forget(self, before)).await
    }

    async fn create_subscription(
        &self,
        subscription: &Subscription,
        limit: u32,
    ) -> Result<ConfigVersion> {
        self.call("create a subscription", subscriptions::create(self, subscription, limit)).await
    }

    async fn subscription(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
    ) -> Result<Subscription> {
        self.call("read a subscription", subscriptions::get(self, Some(account), sid)).await
    }

    async fn subscription_of_any(&self, sid: SubscriptionSid) -> Result<Subscription> {
        self.call("read a subscription", subscriptions::get(self, None, sid)).await
    }

    async fn subscriptions(
        &self,
        account: AccountSid,
        sink: Option<SinkSid>,
        page: &Page<SubscriptionSid>,
    ) -> Result<Vec<Subscription>> {
        self.call("list subscriptions", subscriptions::list(self, account, sink, page)).await
    }

    async fn update_subscription(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
        update: &SubscriptionUpdate,
        now: Timestamp,
    ) -> Result<(Subscription, ConfigVersion)> {
        let work = subscriptions::change(self, (account, sid), update, now);
        self.call("update a subscription", work).await
    }

    async fn delete_subscription(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
    ) -> Result<ConfigVersion> {
        self.call("delete a subscription", subscriptions::delete(self, (account, sid))).await
    }

    async fn add_subscribed_event(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
        event: &SubscribedEvent,
        limit: u32,
    ) -> Result<ConfigVersion> {
        let work = subscriptions::add_type(self, (account, sid), event, limit);
        self.call("add a subscribed event", work).await
    }

    async fn pin_subscribed_event(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
        event: &SubscribedEvent,
    ) -> Result<ConfigVersion> {
        let work = subscriptions::pin_type(self, (account, sid), event);
        self.call("pin a subscribed event", work).await
    }

    async fn remove_subscribed_event(
        &self,
        account: AccountSid,
        sid: SubscriptionSid,
        event_type: &str,
    ) -> Result<ConfigVersion> {
        let work = subscriptions::remove_type(self, (account, sid), event_type);
        self.call("remove a subscribed event", work).await
    }

    async fn register(
        &self,
        types: &[EventType],
        versions: &[SchemaVersion],
    ) -> Result<ConfigVersion> {
        let work = catalogue::register(self, types, versions);
        within(REGISTER_TIMEOUT, "register event types", work).await
    }

    async fn update_event_type(
        &self,
        name: &str,
        update: &EventTypeUpdate,
        now: Timestamp,
    ) -> Result<(EventType, ConfigVersion)> {
        let work = catalogue::update_event_type(self, name, update, now);
        self.call("update an event type", work).await
    }

    async fn add_schema_version(&self, version: &SchemaVersion) -> Result<ConfigVersion> {
        let work = catalogue::add_schema_version(self, version);
        self.call("add a schema version", work).await
    }

    async fn event_type(&self, name: &str) -> Result<EventType> {
        self.call("read an event type", catalogue::event_type(self, name)).await
    }

    async fn event_types(
        &self,
        schema_id: Option<&str>,
        page: &Page<String>,
    ) -> Result<Vec<EventType>> {
        self.call("list event types", catalogue::event_types(self, schema_id, page)).await
    }

    async fn schema_version(&self, schema_id: &str, version: Option<u32>) -> Result<SchemaVersion> {
        let work = catalogue::schema_version(self, schema_id, version);
        self.call("read a schema version", work).await
    }

    async fn schema_versions(
        &self,
        schema_id: &str,
        page: &Page<u32>,
    ) -> Result<Vec<SchemaVersion>> {
        let work = catalogue::schema_versions(self, schema_id, page);
        self.call("list schema versions", work).await
    }

    async fn answered(&self, name: &Name, now: Timestamp) -> Result<Option<Answered>> {
        self.call("read an answer", repeats::answered(self, name, now)).await
    }

    async fn forget_answers(&self, now: Timestamp) -> Result<u64> {
        self.call("forget answers", repeats::forget(self, now)).await
    }

    async fn audit(&self, deeds: &[Deed]) -> Result<()> {
        self.call("write the audit log", audit::note(self, deeds)).await
    }

    async fn audit_entries(&self, query: &AuditQuery, page: &Page<u64>) -> Result<Vec<AuditEntry>> {
        self.call("read the audit log", audit::list(self, query, page)).await
    }

    async fn account_at(&self, account: AccountSid, at: Timestamp) -> Result<Past> {
        self.call("read the past of an account", history::account_at(self, account, at)).await
    }

    async fn event_type_at(&self, name: &str, at: Timestamp) -> Result<Option<EventType>> {
        self.call("read the past of an event type", history::event_type_at(self, name, at)).await
    }

    async fn is_compacted(&self) -> Result<bool> {
        self.call("read how far the change log reaches", history::is_compacted(self)).await
    }

    async fn compact(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.call("compact the change log", history::compact(self, before, limit)).await
    }

    async fn forget_audit(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.call("shorten the audit log", audit::forget(self, before, limit)).await
    }
}
