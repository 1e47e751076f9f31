//! `/v1/Schemas`, and the documents themselves.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use millrace_domain::schema::SchemaVersion;
use serde_json::{Value, json};

use super::{
    answer::{Answer, date, json as answer},
    listing::{Paged, Place},
    request::{At, Base, Query},
};
use crate::{
    App,
    auth::Caller,
    status::{Failure, Kind, code},
};

pub(super) async fn fetch(
    State(app): State<Arc<App>>,
    _: Caller,
    base: Base,
    At(id): At<String>,
) -> Answer {
    let latest = app.catalog.schema_version(&id, None).await?;
    let url = format!("{}/v1/Schemas/{id}", base.0);
    let body = json!({
        "id": id,
        "links": { "versions": format!("{url}/Versions") },
        "url": url,
        "latest_version": latest.version,
        "latest_version_date_created": date(latest.created),
    });
    Ok(answer(StatusCode::OK, body))
}

pub(super) async fn versions(
    State(app): State<Arc<App>>,
    _: Caller,
    base: Base,
    At(id): At<String>,
    Query(query): Query,
) -> Answer {
    let paged = Paged::<u32>::read(&query, &[])?;
    let path = format!("/v1/Schemas/{id}/Versions");
    let place = Place { key: "schema_versions", path: &path, account: None, base: &base };
    let list = |after, limit| app.catalog.schema_versions(&id, after, limit);
    let key = |version: &SchemaVersion| version.version;
    paged.answer(place, list, key, |version| render(&base, version)).await
}

pub(super) async fn version(
    State(app): State<Arc<App>>,
    _: Caller,
    base: Base,
    At((id, version)): At<(String, String)>,
) -> Answer {
    let version = app.catalog.schema_version(&id, Some(number(&id, &version)?)).await?;
    Ok(answer(StatusCode::OK, render(&base, &version)))
}

/// The JSON Schema of a version, for everybody. Where a version's fields are not known, it says only that `data` is an object.
pub(super) async fn raw(
    State(app): State<Arc<App>>,
    At((id, version)): At<(String, String)>,
) -> Answer {
    let version = app.catalog.schema_version(&id, Some(number(&id, &version)?)).await?;
    let document = version.document.unwrap_or_else(|| {
        json!({
            "$id": format!("{}/{id}/{}", app.site.schemas_url, version.version),
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": id,
            "description": "The fields of this version are not known.",
            "type": "object",
        })
        .to_string()
    });
    Ok(([(header::CONTENT_TYPE, "application/schema+json")], document).into_response())
}

fn number(id: &str, version: &str) -> Result<u32, Failure> {
    version.parse().map_err(|_| {
        let message = format!("version `{version}` of schema `{id}` does not exist");
        Failure::new(Kind::NotFound, code::SCHEMA_NOT_FOUND, message)
    })
}

fn render(base: &Base, version: &SchemaVersion) -> Value {
    let url = format!("{}/v1/Schemas/{}/Versions/{}", base.0, version.schema_id, version.version);
    json!({
        "id": version.schema_id,
        "schema_version": version.version,
        "date_created": date(version.created),
        "raw": format!("{url}/Raw"),
        "url": url,
    })
}
