//! The catalogue: event types, and versions of schemas.

use std::collections::HashMap;

use millrace_domain::{
    ConfigVersion, Timestamp,
    schema::{EventType, EventTypeStatus, EventTypeUpdate, SchemaVersion, Validation},
};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{Fault, SqlStore, rows, transaction::Write};
use crate::{Changed, Error, Page, Resource};

fn select_types(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT name, schema_id, description, status, documentation_url, validation, created, updated
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
        validation: rows::word::<Validation>(row, "validation")?,
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
    let query = "SELECT schema_id, version, CASE WHEN document IS NULL THEN 0 ELSE 1 END AS known
                 FROM schema_versions";
    let rows = sqlx::query(query).fetch_all(write.connection()).await?;
    let mut known = rows
        .iter()
        .map(|row| {
            let key = (row.try_get("schema_id")?, rows::number(row, "version")?);
            Ok((key, rows::number::<i64>(row, "known")? == 1))
        })
        .collect::<Result<HashMap<(String, u32), bool>, Fault>>()?;
    for version in versions {
        let key = (version.schema_id.clone(), version.version);
        match known.insert(key, true) {
            None => insert_version(write, version).await?,
            Some(false) if version.document.is_some() => give_document(write, version).await?,
            Some(_) => {}
        }
    }
    Ok(())
}

/// Gives a version the document that it had none of.
async fn give_document(write: &mut Write<'_>, version: &SchemaVersion) -> Result<(), Fault> {
    sqlx::query("UPDATE schema_versions SET document = $3 WHERE schema_id = $1 AND version = $2")
        .bind(version.schema_id.clone())
        .bind(i64::from(version.version))
        .bind(version.document.clone())
        .execute(write.connection())
        .await?;
    write.record(&Changed::Upserted(Resource::SchemaVersion(version.clone()))).await
}

pub(super) async fn add_schema_version(
    store: &SqlStore,
    version: &SchemaVersion,
) -> Result<ConfigVersion, Fault> {
    let mut write = store.write().await?;
    let row = sqlx::query(select_versions(
        "WHERE schema_id = $1 AND version >= $2 ORDER BY version DESC LIMIT 1",
    ))
    .bind(version.schema_id.clone())
    .bind(i64::from(version.version) - 1)
    .fetch_optional(write.connection())
    .await?;
    let latest = row.as_ref().map(version_of).transpose()?;
    let number = version.version;
    match latest {
        Some(latest) if latest.version == number && latest.document.is_none() => {
            let given = SchemaVersion { created: latest.created, ..version.clone() };
            give_document(&mut write, &given).await?;
        }
        Some(latest) if latest.version >= number => {
            let what = format!("version {number} of schema `{}`", version.schema_id);
            return Err(Error::AlreadyExists { what }.into());
        }
        None if number > 1 => {
            let what = format!("version {} of schema `{}`", number - 1, version.schema_id);
            return Err(Error::NotFound { what }.into());
        }
        _ => insert_version(&mut write, version).await?,
    }
    write.commit().await
}

pub(super) async fn update_event_type(
    store: &SqlStore,
    name: &str,
    update: &EventTypeUpdate,
    now: Timestamp,
) -> Result<(EventType, ConfigVersion), Fault> {
    let mut write = store.write().await?;
    let row = sqlx::query(select_types("WHERE name = $1"))
        .bind(name.to_owned())
        .fetch_optional(write.connection())
        .await?;
    let mut event_type = event_type_of(&row.ok_or_else(|| no_event_type(name))?)?;
    if update.apply(&mut event_type) {
        event_type.updated = now;
        upsert_type(&mut write, &event_type).await?;
    }
    Ok((event_type, write.commit().await?))
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
                validation: known.validation,
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
           (name, schema_id, description, status, documentation_url, validation, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (name) DO UPDATE SET description = excluded.description,
           status = excluded.status, documentation_url = excluded.documentation_url,
           validation = excluded.validation, updated = excluded.updated",
    )
    .bind(event_type.name.clone())
    .bind(event_type.schema_id.clone())
    .bind(event_type.description.clone())
    .bind(event_type.status.as_str())
    .bind(event_type.documentation_url.clone())
    .bind(event_type.validation.as_str())
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
    event_type_of(&row.ok_or_else(|| no_event_type(name))?)
}

fn no_event_type(name: &str) -> Error {
    Error::NotFound { what: format!("event type `{name}`") }
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
