//! The versions of schemas that were there at a time: one by one, as a schema may have many, each with a document.

use millrace_domain::{Timestamp, schema::SchemaVersion};
use millrace_store::{Error, ResourceStore, Result};

/// The latest version of a schema that was there at `at`.
pub(super) async fn latest_at(
    store: &dyn ResourceStore,
    schema_id: &str,
    at: Timestamp,
) -> Result<Option<SchemaVersion>> {
    let Some(newest) = found(store.schema_version(schema_id, None).await)? else { return Ok(None) };
    if newest.created <= at {
        return Ok(Some(newest));
    }
    // They are numbered from 1 without gaps, each newer than the one before.
    let (mut latest, mut low, mut high) = (None, 1, newest.version);
    while low < high {
        let middle = low + (high - low) / 2;
        let version = store.schema_version(schema_id, Some(middle)).await?;
        if version.created <= at {
            (latest, low) = (Some(version), middle + 1);
        } else {
            high = middle;
        }
    }
    Ok(latest)
}

/// Version `number` of a schema, if it is one of those up to `latest`.
pub(super) async fn numbered(
    store: &dyn ResourceStore,
    latest: Option<SchemaVersion>,
    number: u32,
) -> Result<Option<SchemaVersion>> {
    match latest {
        Some(latest) if number == latest.version => Ok(Some(latest)),
        Some(latest) if number < latest.version => {
            found(store.schema_version(&latest.schema_id, Some(number)).await)
        }
        _ => Ok(None),
    }
}

fn found(version: Result<SchemaVersion>) -> Result<Option<SchemaVersion>> {
    match version {
        Ok(version) => Ok(Some(version)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
