//! `/v1/Types`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_domain::schema::{
    EventType, EventTypeStatus, EventTypeUpdate, Validation, check_name,
};
use serde_json::{Value, json};

use super::{
    answer::{Answer, committed, date, json as answer},
    form::Fields,
    listing::{Paged, Place},
    request::{At, Base, Form, Query},
};
use crate::{
    App,
    auth::Caller,
    catalog::NewEventType,
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

/// How REST spells the fields of an operation.
const NAMES: [(&str, &str); 6] = [
    ("type", "Type"),
    ("schema_id", "SchemaId"),
    ("description", "Description"),
    ("status", "Status"),
    ("documentation_url", "DocumentationUrl"),
    ("validation", "Validation"),
];

/// Registers a type of the platform's own, or changes it: 201 where it is new, 200 otherwise.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    Form(form): Form,
) -> Answer {
    caller.must_be_platform()?;
    let new = NewEventType {
        name: form.required("Type", code::SCHEMA_INVALID)?.to_owned(),
        schema_id: form.required("SchemaId", code::SCHEMA_INVALID)?.to_owned(),
        description: form.one("Description")?.unwrap_or_default().to_owned(),
        status: status(&form)?.unwrap_or(EventTypeStatus::Available),
        documentation_url: page(&form)?.flatten(),
        validation: validation(&form)?,
    };
    let done = app.catalog.register(caller, new).await;
    let done = done.map_err(|failure| failure.spelt(&NAMES))?;
    let (event_type, created) = done.value;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(committed(done.version, answer(status, render(&base, &event_type))))
}

/// Changes the fields that are given.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(name): At<String>,
    Form(form): Form,
) -> Answer {
    caller.must_be_platform()?;
    form.refuse("Type", "cannot be changed")?;
    form.refuse("SchemaId", "cannot be changed: subscriptions are pinned to its versions")?;
    let update = EventTypeUpdate {
        description: form.one("Description")?.map(str::to_owned),
        status: status(&form)?,
        documentation_url: page(&form)?,
        validation: validation(&form)?,
    };
    let done = app.catalog.update(caller, &name, &update).await;
    let done = done.map_err(|failure| failure.spelt(&NAMES))?;
    Ok(committed(done.version, answer(StatusCode::OK, render(&base, &done.value))))
}

fn status(form: &Fields) -> Result<Option<EventTypeStatus>, Failure> {
    let status = form.one("Status")?.map(|word| match word {
        "available" => Ok(EventTypeStatus::Available),
        "deprecated" => Ok(EventTypeStatus::Deprecated),
        "restricted" => Ok(EventTypeStatus::Restricted),
        "discontinued" => Ok(EventTypeStatus::Discontinued),
        _ => Err(Failure::invalid(
            code::SCHEMA_INVALID,
            "Status",
            "must be `available`, `deprecated`, `restricted` or `discontinued`",
        )),
    });
    status.transpose()
}

fn validation(form: &Fields) -> Result<Option<Validation>, Failure> {
    let validation = form.one("Validation")?.map(|word| match word {
        "enforce" => Ok(Validation::Enforce),
        "warn" => Ok(Validation::Warn),
        "off" => Ok(Validation::Off),
        _ => Err(Failure::invalid(
            code::SCHEMA_INVALID,
            "Validation",
            "must be `enforce`, `warn` or `off`",
        )),
    });
    validation.transpose()
}

/// The page that is given; an empty one is none.
fn page(form: &Fields) -> Result<Option<Option<String>>, Failure> {
    let given = form.one("DocumentationUrl")?;
    Ok(given.map(|page| Some(page.to_owned()).filter(|page| !page.is_empty())))
}

fn render(base: &Base, event_type: &EventType) -> Value {
    let (base, name, schema_id) = (&base.0, &event_type.name, &event_type.schema_id);
    let mut rendered = json!({
        "type": name,
        "schema_id": schema_id,
        "date_created": date(event_type.created),
        "date_updated": date(event_type.updated),
        "description": event_type.description,
        "status": event_type.status.as_str(),
        "documentation_url": event_type.documentation_url,
        "url": format!("{base}/v1/Types/{name}"),
        "links": { "schema": format!("{base}/v1/Schemas/{schema_id}/Versions") },
    });
    // An extension, absent unless it was set.
    if event_type.validation != Validation::default_of(name) {
        rendered["validation"] = json!(event_type.validation.as_str());
    }
    rendered
}
