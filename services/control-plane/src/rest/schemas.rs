//! `/v1/Schemas`, and the documents themselves.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use millrace_domain::{schema::SchemaVersion, secret::SecretHash};
use serde_json::{Value, json};

use super::{
    answer::{Answer, committed, date, json as answer},
    listing::{Paged, Place},
    request::{At, Base, Form, Query},
};
use crate::{
    App,
    auth::Caller,
    catalog::{NewSchemaVersion, Registration},
    status::{Failure, Kind, code},
};

/// How REST spells the fields of an operation.
const NAMES: [(&str, &str); 3] =
    [("schema_id", "Id"), ("version", "SchemaVersion"), ("document", "Document")];

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

/// Registers a version of a schema of the platform's own: 201 where it is new, 200 where it was there.
pub(super) async fn register(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(id): At<String>,
    Form(form): Form,
) -> Answer {
    caller.must_be_platform()?;
    let version = form.one("SchemaVersion")?.map(|text| match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number),
        _ => {
            Err(Failure::invalid(code::SCHEMA_INVALID, "SchemaVersion", "must be a number from 1"))
        }
    });
    let new = NewSchemaVersion {
        schema_id: id,
        version: version.transpose()?,
        document: form.required("Document", code::SCHEMA_INVALID)?.to_owned(),
    };
    let done = app.catalog.register_version(caller, new).await;
    let done = done.map_err(|failure| failure.spelt(&NAMES))?;
    let Registration { version, created } = done.value;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(committed(done.version, answer(status, render(&base, &version))))
}

/// The JSON Schema of a version, for everybody, to be kept: a version never changes. Where its fields are not known, it says only
/// that `data` is an object, and is to be asked for again.
pub(super) async fn raw(
    State(app): State<Arc<App>>,
    At((id, version)): At<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let version = app.catalog.schema_version(&id, Some(number(&id, &version)?)).await?;
    let kept = match version.document {
        Some(_) => "public, max-age=86400",
        None => "public, no-cache",
    };
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
    let tag = format!("\"{}\"", SecretHash::of(&document).to_hex());
    let about = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, kept.to_owned())];
    if asked_for_other(&headers, &tag) {
        let content_type = [(header::CONTENT_TYPE, "application/schema+json")];
        return Ok((about, content_type, document).into_response());
    }
    Ok((StatusCode::NOT_MODIFIED, about).into_response())
}

/// Whether the caller has another text, or none (RFC 9110, section 13.1.2).
fn asked_for_other(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    !known.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
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
