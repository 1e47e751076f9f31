//! Subscriptions and the event types inside them.

use millrace_domain::{
    AccountSid, ConfigVersion, SinkSid, SinkStatus, SubscribedEvent, Subscription, SubscriptionSid,
    SubscriptionUpdate, Timestamp,
};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{
    Fault, SqlStore, accounts,
    rows::{self, already_exists, not_found},
    sinks,
    transaction::Write,
};
use crate::{Changed, Error, Page, Resource};

fn select(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT sid, account, description, sink, types, include_subaccounts, created, updated
         FROM subscriptions {rest}"
    ))
}

fn subscription_of(row: &AnyRow) -> Result<Subscription, Fault> {
    Ok(Subscription {
        sid: rows::parsed(row, "sid")?,
        account: rows::parsed(row, "account")?,
        description: row.try_get("description")?,
        sink: rows::parsed(row, "sink")?,
        types: rows::json(row, "types")?,
        include_subaccounts: rows::number::<i64>(row, "include_subaccounts")? != 0,
        created: rows::time(row, "created")?,
        updated: rows::time(row, "updated")?,
    })
}

pub(super) async fn create(
    store: &SqlStore,
    subscription: &Subscription,
    limit: u32,
) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    let (sid, account) = (subscription.sid.to_string(), subscription.account.to_string());
    let same = "SELECT 1 FROM subscriptions WHERE sid = $1";
    if rows::exists(write.connection(), same, &sid).await? {
        return Err(already_exists(subscription.sid).into());
    }
    accounts::must_be_open(write.connection(), subscription.account).await?;
    let (owner, sink) = (subscription.account, subscription.sink);
    if sinks::status(write.connection(), owner, sink).await? == SinkStatus::Failed {
        return Err(Error::SinkFailed.into());
    }
    let count = "SELECT count(*) AS n FROM subscriptions WHERE account = $1";
    let row = sqlx::query(count).bind(account).fetch_one(write.connection()).await?;
    if rows::number::<i64>(&row, "n")? >= i64::from(limit) {
        return Err(Error::LimitReached { limit }.into());
    }
    insert(&mut write, subscription).await?;
    write.record(&Changed::Upserted(Resource::Subscription(subscription.clone()))).await?;
    write.commit().await
}

async fn insert(write: &mut Write<'_>, subscription: &Subscription) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO subscriptions
             (sid, account, description, sink, types, include_subaccounts, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(subscription.sid.to_string())
    .bind(subscription.account.to_string())
    .bind(subscription.description.clone())
    .bind(subscription.sink.to_string())
    .bind(rows::json_text(&subscription.types)?)
    .bind(i64::from(subscription.include_subaccounts))
    .bind(subscription.created.as_millis())
    .bind(subscription.updated.as_millis())
    .execute(write.connection())
    .await?;
    Ok(())
}

pub(super) async fn get(
    store: &SqlStore,
    account: Option<AccountSid>,
    sid: SubscriptionSid,
) -> Result<Subscription, Fault> {
    let mut connection = store.pool.acquire().await?;
    one(&mut connection, account, sid).await
}

/// The subscription, unless it is another account's.
async fn one(
    connection: &mut AnyConnection,
    account: Option<AccountSid>,
    sid: SubscriptionSid,
) -> Result<Subscription, Fault> {
    let row = sqlx::query(select("WHERE sid = $1"))
        .bind(sid.to_string())
        .fetch_optional(connection)
        .await?;
    let subscription = subscription_of(&row.ok_or_else(|| not_found(sid))?)?;
    match account.is_none_or(|account| account == subscription.account) {
        true => Ok(subscription),
        false => Err(not_found(sid).into()),
    }
}

pub(super) async fn list(
    store: &SqlStore,
    account: AccountSid,
    sink: Option<SinkSid>,
    page: &Page<SubscriptionSid>,
) -> Result<Vec<Subscription>, Fault> {
    let rows = sqlx::query(select(
        "WHERE account = $1 AND sid > $2 AND ($3 IS NULL OR sink = $3) ORDER BY sid LIMIT $4",
    ))
    .bind(account.to_string())
    .bind(page.after.map_or_else(String::new, |sid| sid.to_string()))
    .bind(sink.map(|sink| sink.to_string()))
    .bind(i64::from(page.limit))
    .fetch_all(&store.pool)
    .await?;
    rows.iter().map(subscription_of).collect()
}

/// Changes a subscription by `change`, which may refuse.
async fn update(
    store: &SqlStore,
    (account, sid): (AccountSid, SubscriptionSid),
    change: impl FnOnce(&mut Subscription) -> Result<(), Error> + Send,
) -> Result<(Subscription, ConfigVersion), Fault> {
    let mut write = store.write().await?;
    let mut subscription = one(write.connection(), Some(account), sid).await?;
    change(&mut subscription)?;
    sqlx::query(
        "UPDATE subscriptions SET description = $2, types = $3, include_subaccounts = $4, updated = $5
         WHERE sid = $1",
    )
    .bind(sid.to_string())
    .bind(subscription.description.clone())
    .bind(rows::json_text(&subscription.types)?)
    .bind(i64::from(subscription.include_subaccounts))
    .bind(subscription.updated.as_millis())
    .execute(write.connection())
    .await?;
    write.record(&Changed::Upserted(Resource::Subscription(subscription.clone()))).await?;
    Ok((subscription, write.commit().await?))
}

pub(super) async fn change(
    store: &SqlStore,
    key: (AccountSid, SubscriptionSid),
    changes: &SubscriptionUpdate,
    now: Timestamp,
) -> Result<(Subscription, ConfigVersion), Fault> {
    update(store, key, |subscription| {
        if let Some(description) = &changes.description {
            description.clone_into(&mut subscription.description);
        }
        subscription.include_subaccounts =
            changes.include_subaccounts.unwrap_or(subscription.include_subaccounts);
        subscription.updated = now;
        Ok(())
    })
    .await
}

pub(super) async fn add_type(
    store: &SqlStore,
    key: (AccountSid, SubscriptionSid),
    event: &SubscribedEvent,
    limit: u32,
) -> Result<ConfigVersion, Fault> {
    let add = |subscription: &mut Subscription| match position(subscription, &event.event_type) {
        Ok(_) => Err(Error::AlreadyExists { what: subscribed(subscription, &event.event_type) }),
        Err(_) if subscription.types.len() >= limit as usize => Err(Error::LimitReached { limit }),
        Err(place) => {
            subscription.types.insert(place, event.clone());
            Ok(())
        }
    };
    Ok(update(store, key, add).await?.1)
}

pub(super) async fn pin_type(
    store: &SqlStore,
    key: (AccountSid, SubscriptionSid),
    event: &SubscribedEvent,
) -> Result<ConfigVersion, Fault> {
    let pin = |subscription: &mut Subscription| match position(subscription, &event.event_type) {
        Ok(place) => {
            subscription.types[place].schema_version = event.schema_version;
            Ok(())
        }
        Err(_) => Err(Error::NotFound { what: subscribed(subscription, &event.event_type) }),
    };
    Ok(update(store, key, pin).await?.1)
}

pub(super) async fn remove_type(
    store: &SqlStore,
    key: (AccountSid, SubscriptionSid),
    event_type: &str,
) -> Result<ConfigVersion, Fault> {
    let remove = |subscription: &mut Subscription| match position(subscription, event_type) {
        Ok(_) if subscription.types.len() == 1 => {
            Err(Error::InUse { what: format!("the last event type of {}", subscription.sid) })
        }
        Ok(place) => {
            subscription.types.remove(place);
            Ok(())
        }
        Err(_) => Err(Error::NotFound { what: subscribed(subscription, event_type) }),
    };
    Ok(update(store, key, remove).await?.1)
}

/// Where in the sorted list the type is (`Ok`) or belongs (`Err`).
fn position(subscription: &Subscription, event_type: &str) -> Result<usize, usize> {
    subscription.types.binary_search_by(|event| event.event_type.as_str().cmp(event_type))
}

fn subscribed(subscription: &Subscription, event_type: &str) -> String {
    format!("event type `{event_type}` of subscription {}", subscription.sid)
}

pub(super) async fn delete(
    store: &SqlStore,
    (account, sid): (AccountSid, SubscriptionSid),
) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    one(write.connection(), Some(account), sid).await?;
    sqlx::query("DELETE FROM subscriptions WHERE sid = $1")
        .bind(sid.to_string())
        .execute(write.connection())
        .await?;
    write.record(&Changed::SubscriptionDeleted(sid)).await?;
    write.commit().await
}

/// Deletes every subscription of an account.
pub(super) async fn delete_all(write: &mut Write<'_>, account: AccountSid) -> Result<(), Fault> {
    let sql = "DELETE FROM subscriptions WHERE account = $1 RETURNING sid";
    let deleted = sqlx::query(sql).bind(account.to_string()).fetch_all(write.connection()).await?;
    for row in &deleted {
        write.record(&Changed::SubscriptionDeleted(rows::parsed(row, "sid")?)).await?;
    }
    Ok(())
}

/// Every subscription.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<Resource>, Fault> {
    let rows = sqlx::query(select("ORDER BY sid")).fetch_all(connection).await?;
    rows.iter().map(|row| subscription_of(row).map(Resource::Subscription)).collect()
}
