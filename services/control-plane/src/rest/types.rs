//! `/v1/Types`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_domain::schema::{EventType, check_name};
use serde_json::{Value, json};

use super::{
    answer::{Answer, date, json as answer},
    listing::{Paged, Place},
    request::{At, Base, Query},
};
use crate::{
    App,
    auth::Caller,
    status::{Failure, code},
};

pub(super) async fn list(
    State(app): State<Arc<App>>,
    _: Caller,
    base: Base,
    Query(query): Query,
) -> Answer {
    let schema_id = query.one("SchemaId")?.filter(|id| !id.is_empty());
    if let Some(id) = schema_id {
        check_name("SchemaId", id)
            .map_err(|refusal| Failure::refused(code::SCHEMA_INVALID, refusal))?;
    }
    let paged = Paged::<String>::read(&query, &["SchemaId"])?;
    let place = Place { key: "types", path: "/v1/Types", account: None, base: &base };
    let list = |after, limit| app.catalog.event_types(schema_id, after, limit);
    let key = |event_type: &EventType| event_type.name.clone();
    paged.answer(place, list, key, |event_type| render(&base, event_type)).await
}

pub(super) async fn fetch(
    State(app): State<Arc<App>>,
    _: Caller,
    base: Base,
    At(name): At<String>,
) -> Answer {
    let event_type = app.catalog.event_type(&name).await?;
    Ok(answer(StatusCode::OK, render(&base, &event_type)))
}

fn render(base: &Base, event_type: &EventType) -> Value {
    let (base, name, schema_id) = (&base.0, &event_type.name, &event_type.schema_id);
    json!({
        "type": name,
        "schema_id": schema_id,
        "date_created": date(event_type.created),
        "date_updated": date(event_type.updated),
        "description": event_type.description,
        "status": event_type.status.as_str(),
        "documentation_url": event_type.documentation_url,
        "url": format!("{base}/v1/Types/{name}"),
        "links": { "schema": format!("{base}/v1/Schemas/{schema_id}/Versions") },
    })
}
