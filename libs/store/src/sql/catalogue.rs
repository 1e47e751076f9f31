//! The catalogue: event types, and versions of schemas.

use std::collections::{HashMap, HashSet};

use millrace_domain::{
    ConfigVersion,
    schema::{EventType, EventTypeStatus, SchemaVersion},
};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{Fault, SqlStore, rows, transaction::Write};
use crate::{Changed, Error, Page, Resource};

fn select_types(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT name, schema_id, description, status, documentation_url, created, updated
         FROM event_types {rest}"
    ))
}

fn select_versions(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT schema_id, version, document, created FROM schema_versions {rest}"
    ))
}

fn event_type_of(row: &AnyRow) -> Result<EventType, Fault> {
    Ok(EventType {
        name: row.try_get("name")?,
        schema_id: row.try_get("schema_id")?,
        description: row.try_get("description")?,
        status: rows::word::<EventTypeStatus>(row, "status")?,
        documentation_url: row.try_get("documentation_url")?,
        created: rows::time(row, "created")?,
        updated: rows::time(row, "updated")?,
    })
}

fn version_of(row: &AnyRow) -> Result<SchemaVersion, Fault> {
    Ok(SchemaVersion {
        schema_id: row.try_get("schema_id")?,
        version: rows::number(row, "version")?,
        document: row.try_get("document")?,
        created: rows::time(row, "created")?,
    })
}

pub(super) async fn register(
    store: &SqlStore,
    types: &[EventType],
    versions: &[SchemaVersion],
) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    register_versions(&mut write, versions).await?;
    register_types(&mut write, types).await?;
    write.commit().await
}

async fn register_versions(write: &mut Write<'_>, versions: &[SchemaVersion]) -> Result<(), Fault> {
    let rows = sqlx::query("SELECT schema_id, version FROM schema_versions")
        .fetch_all(write.connection())
        .await?;
    let mut known = rows
        .iter()
        .map(|row| Ok((row.try_get("schema_id")?, rows::number(row, "version")?)))
        .collect::<Result<HashSet<(String, u32)>, Fault>>()?;
    for version in versions {
        if known.insert((version.schema_id.clone(), version.version)) {
            insert_version(write, version).await?;
        }
    }
    Ok(())
}

async fn insert_version(write: &mut Write<'_>, version: &SchemaVersion) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO schema_versions (schema_id, version, document, created)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(version.schema_id.clone())
    .bind(i64::from(version.version))
    .bind(version.document.clone())
    .bind(version.created.as_millis())
    .execute(write.connection())
    .await?;
    write.record(&Changed::Upserted(Resource::SchemaVersion(version.clone()))).await
}

async fn register_types(write: &mut Write<'_>, types: &[EventType]) -> Result<(), Fault> {
    let rows = sqlx::query(select_types("")).fetch_all(write.connection()).await?;
    let mut known = rows
        .iter()
        .map(|row| event_type_of(row).map(|known| (known.name.clone(), known)))
        .collect::<Result<HashMap<_, _>, Fault>>()?;
    for wanted in types {
        let merged = match known.get(&wanted.name) {
            None => wanted.clone(),
            Some(known) if same(known, wanted) => continue,
            Some(known) => EventType {
                schema_id: known.schema_id.clone(),
                created: known.created,
                ..wanted.clone()
            },
        };
        upsert_type(write, &merged).await?;
        known.insert(merged.name.clone(), merged);
    }
    Ok(())
}

/// Whether nothing that may change differs.
fn same(known: &EventType, wanted: &EventType) -> bool {
    known.description == wanted.description
        && known.status == wanted.status
        && known.documentation_url == wanted.documentation_url
}

async fn upsert_type(write: &mut Write<'_>, event_type: &EventType) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO event_types
           (name, schema_id, description, status, documentation_url, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (name) DO UPDATE SET description = excluded.description,
           status = excluded.status, documentation_url = excluded.documentation_url,
           updated = excluded.updated",
    )
    .bind(event_type.name.clone())
    .bind(event_type.schema_id.clone())
    .bind(event_type.description.clone())
    .bind(event_type.status.as_str())
    .bind(event_type.documentation_url.clone())
    .bind(event_type.created.as_millis())
    .bind(event_type.updated.as_millis())
    .execute(write.connection())
    .await?;
    write.record(&Changed::Upserted(Resource::EventType(event_type.clone()))).await
}

pub(super) async fn event_type(store: &SqlStore, name: &str) -> Result<EventType, Fault> {
    let row = sqlx::query(select_types("WHERE name = $1"))
        .bind(name.to_owned())
        .fetch_optional(&store.pool)
        .await?;
    let missing = || Error::NotFound { what: format!("event type `{name}`") };
    event_type_of(&row.ok_or_else(missing)?)
}

pub(super) async fn event_types(
    store: &SqlStore,
    schema_id: Option<&str>,
    page: &Page<String>,
) -> Result<Vec<EventType>, Fault> {
    let rows = sqlx::query(select_types(
        "WHERE name > $1 AND ($2 IS NULL OR schema_id = $2) ORDER BY name LIMIT $3",
    ))
    .bind(page.after.clone().unwrap_or_default())
    .bind(schema_id.map(str::to_owned))
    .bind(i64::from(page.limit))
    .fetch_all(&store.pool)
    .await?;
    rows.iter().map(event_type_of).collect()
}

pub(super) async fn schema_version(
    store: &SqlStore,
    schema_id: &str,
    version: Option<u32>,
) -> Result<SchemaVersion, Fault> {
    let row = sqlx::query(select_versions(
        "WHERE schema_id = $1 AND ($2 IS NULL OR version = $2) ORDER BY version DESC LIMIT 1",
    ))
    .bind(schema_id.to_owned())
    .bind(version.map(i64::from))
    .fetch_optional(&store.pool)
    .await?;
    let missing = || Error::NotFound {
        what: match version {
            Some(version) => format!("version {version} of schema `{schema_id}`"),
            None => format!("schema `{schema_id}`"),
        },
    };
    version_of(&row.ok_or_else(missing)?)
}

pub(super) async fn schema_versions(
    store: &SqlStore,
    schema_id: &str,
    page: &Page<u32>,
) -> Result<Vec<SchemaVersion>, Fault> {
    schema_version(store, schema_id, None).await?;
    let rows = sqlx::query(select_versions(
        "WHERE schema_id = $1 AND version > $2 ORDER BY version LIMIT $3",
    ))
    .bind(schema_id.to_owned())
    .bind(i64::from(page.after.unwrap_or(0)))
    .bind(i64::from(page.limit))
    .fetch_all(&store.pool)
    .await?;
    rows.iter().map(version_of).collect()
}

/// Every schema version, then every event type.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<Resource>, Fault> {
    let versions = sqlx::query(select_versions("ORDER BY schema_id, version"))
        .fetch_all(&mut *connection)
        .await?;
    let types = sqlx::query(select_types("ORDER BY name")).fetch_all(connection).await?;
    let versions = versions.iter().map(|row| version_of(row).map(Resource::SchemaVersion));
    versions.chain(types.iter().map(|row| event_type_of(row).map(Resource::EventType))).collect()
}
