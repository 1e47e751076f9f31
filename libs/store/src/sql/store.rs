//! What the store is asked, call by call: each goes to the module of its resources, under a name and a limit of time.

use std::time::Duration;

use async_trait::async_trait;
use millrace_domain::{
    Account, AccountSid, AccountUpdate, ApiKey, ApiKeySid, ConfigVersion, SecondaryAuthToken, Sink,
    SinkSid, SinkStatus, SinkUpdate, SubscribedEvent, Subscription, SubscriptionSid,
    SubscriptionUpdate, Timestamp,
    schema::{EventType, EventTypeUpdate, SchemaVersion},
};

use super::{
    SqlStore, accounts, api_keys, audit, catalogue, changes, history, repeats, sinks,
    subscriptions, tokens, within,
};
use crate::{
    AccountFilter, Changes, Page, Past, Resource, ResourceStore, Result, SinkFilter,
    audit::{AuditEntry, AuditQuery, Deed},
    repeats::{Answered, Name},
};

/// Longest a snapshot may take: it reads every row.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest a registration may take: the first writes the whole catalogue, several statements an entry, in one transaction.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(60);

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
