//! The change log and snapshots: how a configuration travels.

use millrace_domain::ConfigVersion;
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use super::{Fault, SqlStore, accounts, api_keys, catalogue, rows, sinks, subscriptions};
use crate::{Change, Changed, Changes, Keyring, Resource};

/// How far the change log goes.
pub(super) struct Current {
    /// Its end.
    pub(super) version: ConfigVersion,
    /// What is no longer in it.
    compacted_through: u64,
}

/// Reads how far the log goes, as this connection's transaction sees it.
pub(super) async fn current(connection: &mut AnyConnection) -> Result<Current, Fault> {
    let row =
        sqlx::query("SELECT epoch, seq, compacted_through FROM meta").fetch_one(connection).await?;
    let epoch = row.try_get::<i64, _>("epoch")?.cast_unsigned();
    let version = ConfigVersion { epoch, seq: rows::number(&row, "seq")? };
    Ok(Current { version, compacted_through: rows::number(&row, "compacted_through")? })
}

pub(super) async fn version(store: &SqlStore) -> Result<ConfigVersion, Fault> {
    let mut connection = store.pool.acquire().await?;
    Ok(current(&mut connection).await?.version)
}

pub(super) async fn snapshot(store: &SqlStore) -> Result<(ConfigVersion, Vec<Resource>), Fault> {
    let mut read = store.read().await?;
    let version = current(&mut read).await?.version;
    let mut resources = accounts::all(&mut read, &store.keyring).await?;
    resources.extend(api_keys::all(&mut read).await?);
    resources.extend(catalogue::all(&mut read).await?);
    resources.extend(sinks::all(&mut read, &store.keyring).await?);
    resources.extend(subscriptions::all(&mut read).await?);
    read.commit().await?;
    Ok((version, resources))
}

pub(super) async fn after(
    store: &SqlStore,
    version: ConfigVersion,
    limit: u32,
) -> Result<Changes, Fault> {
    let mut read = store.read().await?;
    let current = current(&mut read).await?;
    if !current.version.covers(version) || version.seq < current.compacted_through {
        return Ok(Changes::Gone);
    }
    let rows = sqlx::query("SELECT seq, sealed FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2")
        .bind(version.seq.cast_signed())
        .bind(i64::from(limit))
        .fetch_all(&mut *read)
        .await?;
    read.commit().await?;
    let changes = rows.iter().map(|row| change_of(row, &store.keyring));
    Ok(Changes::Some(changes.collect::<Result<_, _>>()?))
}

pub(super) fn change_of(row: &AnyRow, keyring: &Keyring) -> Result<Change, Fault> {
    let seq = rows::number::<i64>(row, "seq")?;
    let place = place(seq);
    let changed = rows::opened(&place, &keyring.open(&place, row.try_get("sealed")?)?)?;
    Ok(Change { seq: seq.cast_unsigned(), changed })
}

/// Where a change is sealed.
pub(super) fn place(seq: i64) -> String {
    format!("changes/{seq}")
}

/// What a change is about, in clear: for people who read the log, and for compaction by key.
pub(super) struct About {
    pub(super) kind: &'static str,
    pub(super) key: String,
    pub(super) account: Option<String>,
}

pub(super) fn about(changed: &Changed) -> About {
    let of = |kind, key: String, account: Option<String>| About { kind, key, account };
    match changed {
        Changed::Upserted(Resource::Account(account)) => {
            of("account", account.sid.to_string(), Some(account.sid.to_string()))
        }
        Changed::Upserted(Resource::ApiKey(key)) => {
            of("api_key", key.sid.to_string(), Some(key.account.to_string()))
        }
        Changed::Upserted(Resource::Sink(sink)) => {
            of("sink", sink.sid.to_string(), Some(sink.account.to_string()))
        }
        Changed::Upserted(Resource::SinkTombstone(sid, account)) => {
            of("sink", sid.to_string(), Some(account.to_string()))
        }
        Changed::Upserted(Resource::Subscription(subscription)) => {
            of("subscription", subscription.sid.to_string(), Some(subscription.account.to_string()))
        }
        Changed::Upserted(Resource::EventType(event_type)) => {
            of("event_type", event_type.name.clone(), None)
        }
        Changed::Upserted(Resource::SchemaVersion(version)) => {
            of("schema_version", format!("{}/{}", version.schema_id, version.version), None)
        }
        Changed::ApiKeyDeleted(sid, account) => {
            of("api_key", sid.to_string(), Some(account.to_string()))
        }
        Changed::SubscriptionDeleted(sid) => of("subscription", sid.to_string(), None),
        Changed::SinkForgotten(sid) => of("sink", sid.to_string(), None),
    }
}
