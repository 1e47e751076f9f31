//! The audit log: written by the transaction that changes what it tells of.

use millrace_domain::{Timestamp, secret};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{
    Fault, SqlStore, changes,
    rows::{self, number},
    transaction::Write,
};
use crate::{
    Changed, Error, Keyring, Page, Resource,
    audit::{self, Attribution, AuditEntry, AuditQuery, Deed},
};

/// Largest state of a resource that is kept whole, in bytes of JSON.
const STATE_MAX_BYTES: usize = 64 * 1024;

/// What an entry says, besides who and when.
struct Entry {
    account: Option<String>,
    action: &'static str,
    kind: &'static str,
    key: String,
    seq: Option<i64>,
    changed: Vec<String>,
    before: Option<Value>,
    after: Option<Value>,
}

/// Writes what change `seq` was. `before` is the last change of the same resource, if there was one.
pub(super) async fn record(
    connection: &mut AnyConnection,
    (seq, changed, before): (i64, &Changed, Option<&Changed>),
) -> Result<(), Fault> {
    let (old, new) = (before.and_then(resource), resource(changed));
    let action = match (old, new) {
        // What is forgotten now was deleted before.
        (None, None) if matches!(changed, Changed::SinkForgotten(_)) => return Ok(()),
        (None, Some(_)) => "create",
        (Some(_), Some(_)) => "update",
        (_, None) => "delete",
    };
    let about = changes::about(changed);
    let account = about.account.or_else(|| changes::about(before?).account);
    let entry = Entry {
        account,
        action,
        kind: about.kind,
        key: about.key,
        seq: Some(seq),
        changed: differing(old, new)?,
        before: masked(old)?,
        after: masked(new)?,
    };
    insert(connection, entry).await
}

pub(super) async fn note(store: &SqlStore, deeds: &[Deed]) -> Result<(), Fault> {
    let mut write = store.write().await?;
    for deed in deeds {
        insert(write.connection(), entry_about(deed)).await?;
    }
    write.commit_quietly().await
}

fn entry_about(deed: &Deed) -> Entry {
    Entry {
        account: deed.account.map(|sid| sid.to_string()),
        action: deed.action,
        kind: deed.kind,
        key: deed.key.clone(),
        seq: None,
        changed: Vec::new(),
        before: None,
        after: Some(deed.detail.clone()),
    }
}

async fn insert(connection: &mut AnyConnection, entry: Entry) -> Result<(), Fault> {
    let Attribution { actor, request } = audit::attribution().ok_or(Error::Unattributed)?;
    sqlx::query(
        "INSERT INTO audit_log
           (account, actor, request, action, kind, key, seq, changed, old_state, new_state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(entry.account)
    .bind(actor)
    .bind(request)
    .bind(entry.action)
    .bind(entry.kind)
    .bind(entry.key)
    .bind(entry.seq)
    .bind(rows::json_text(&entry.changed)?)
    .bind(entry.before.map(text))
    .bind(entry.after.map(text))
    .execute(connection)
    .await?;
    Ok(())
}

/// The resource that a change left, unless it removed it.
fn resource(changed: &Changed) -> Option<&Resource> {
    match changed {
        Changed::Upserted(Resource::SinkTombstone(..)) => None,
        Changed::Upserted(resource) => Some(resource),
        _ => None,
    }
}

/// Whether a change leaves nothing that a configuration has.
pub(super) fn removes(changed: &Changed) -> bool {
    !matches!(changed, Changed::Upserted(_))
}

/// What people may read of a resource.
fn masked(resource: Option<&Resource>) -> Result<Option<Value>, Fault> {
    secret::masked(|| plain(resource))
}

fn plain(resource: Option<&Resource>) -> Result<Option<Value>, Fault> {
    let Some(resource) = resource else { return Ok(None) };
    let value = serde_json::to_value(resource).map_err(|e| sqlx::Error::Encode(e.into()))?;
    // Outermost is the name of the variant.
    Ok(match value {
        Value::Object(fields) => fields.into_iter().next().map(|(_, inner)| inner),
        other => Some(other),
    })
}

/// Pointers to what differs between two states, secrets compared as they are.
fn differing(old: Option<&Resource>, new: Option<&Resource>) -> Result<Vec<String>, Fault> {
    let (Some(old), Some(new)) = (plain(old)?, plain(new)?) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    compare(&old, &new, &mut String::new(), &mut found);
    Ok(found)
}

fn compare(old: &Value, new: &Value, at: &mut String, found: &mut Vec<String>) {
    if old == new {
        return;
    }
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return found.push(at.clone());
    };
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    for name in after.keys().chain(gone) {
        if at.is_empty() && name == "updated" {
            continue;
        }
        let length = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        let none = Value::Null;
        compare(before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none), at, found);
        at.truncate(length);
    }
}

fn text(state: Value) -> String {
    let text = state.to_string();
    match text.len() {
        whole if whole <= STATE_MAX_BYTES => text,
        omitted => json!({ "omitted_bytes": omitted }).to_string(),
    }
}

/// The last change of a resource that the log has. One that does not open any more is as good as none.
pub(super) async fn last_change(
    connection: &mut AnyConnection,
    keyring: &Keyring,
    about: &changes::About,
) -> Result<Option<Changed>, Fault> {
    let sql = "SELECT seq, sealed FROM changes WHERE kind = $1 AND key = $2
               ORDER BY seq DESC LIMIT 1";
    let query = sqlx::query(sql).bind(about.kind).bind(about.key.clone());
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    Ok(changes::change_of(&row, keyring).ok().map(|change| change.changed))
}

pub(super) async fn list(
    store: &SqlStore,
    query: &AuditQuery,
    page: &Page<u64>,
) -> Result<Vec<AuditEntry>, Fault> {
    let mut sql = "SELECT id, at, account, actor, request, action, kind, key, seq, changed,
                          old_state, new_state
                     FROM audit_log WHERE id < $1 AND at >= $2 AND at < $3"
        .to_owned();
    let texts = [
        ("account", query.account.map(|sid| sid.to_string())),
        ("key", query.key.clone()),
        ("actor", query.actor.clone()),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let texts: Vec<_> = texts.collect();
    for ((name, _), place) in texts.iter().zip(5..) {
        sql.push_str(&format!(" AND {name} = ${place}"));
    }
    sql.push_str(" ORDER BY id DESC LIMIT $4");
    let after = page.after.and_then(|id| i64::try_from(id).ok()).unwrap_or(i64::MAX);
    let mut rows = sqlx::query(AssertSqlSafe(sql))
        .bind(after)
        .bind(query.since.map_or(i64::MIN, Timestamp::as_millis))
        .bind(query.until.map_or(i64::MAX, Timestamp::as_millis))
        .bind(i64::from(page.limit));
    for (_, text) in texts {
        rows = rows.bind(text);
    }
    rows.fetch_all(&store.pool).await?.iter().map(entry_of).collect()
}

fn entry_of(row: &AnyRow) -> Result<AuditEntry, Fault> {
    Ok(AuditEntry {
        id: number(row, "id")?,
        at: rows::time(row, "at")?,
        account: rows::parsed_or_none(row, "account")?,
        actor: row.try_get("actor")?,
        request: row.try_get("request")?,
        action: row.try_get("action")?,
        kind: row.try_get("kind")?,
        key: row.try_get("key")?,
        seq: row.try_get::<Option<i64>, _>("seq")?.map(i64::cast_unsigned),
        changed: rows::json(row, "changed")?,
        before: row.try_get("old_state")?,
        after: row.try_get("new_state")?,
    })
}

pub(super) async fn forget(store: &SqlStore, before: Timestamp, limit: u32) -> Result<u64, Fault> {
    let sql = "DELETE FROM audit_log WHERE id IN
                 (SELECT id FROM audit_log WHERE at < $1 ORDER BY at LIMIT $2)";
    let mut write = store.write().await?;
    let query = sqlx::query(sql).bind(before.as_millis()).bind(i64::from(limit));
    let gone = query.execute(write.connection()).await?.rows_affected();
    write.commit_quietly().await?;
    Ok(gone)
}

impl Write<'_> {
    /// Appends to the change log, and to the audit log what changed and by whom.
    pub(super) async fn record(&mut self, changed: &Changed) -> Result<(), Fault> {
        let about = changes::about(changed);
        let keyring = self.keyring();
        let before = last_change(self.connection(), &keyring, &about).await?;
        let seq = self.append(changed, about).await?;
        self.answer(seq, changed).await?;
        record(self.connection(), (seq, changed, before.as_ref())).await
    }
}
