//! `millrace.v1.EventTypeService`.

use millrace_domain::schema::{
    EventType, EventTypeStatus, EventTypeUpdate, Validation, check_name,
};
use millrace_proto::v1::{self, event_type_service_server::EventTypeService};
use tonic::{Request, Response, Status};

use super::{Asked, Face, committed, required, scope};
use crate::{
    catalog::NewEventType,
    status::{Failure, code},
};

#[tonic::async_trait]
impl EventTypeService for Face {
    async fn create_event_type(
        &self,
        request: Request<v1::CreateEventTypeRequest>,
    ) -> Result<Response<v1::CreateEventTypeResponse>, Status> {
        self.within(request, |caller, request| async move {
            caller.must_be_platform()?;
            let new = new_event_type(required("event_type", request.event_type)?)?;
            let registered = self.app.catalog.register(caller, new).await;
            let done = registered.map_err(of_event_type)?;
            Ok(committed(done, |(event_type, _)| v1::CreateEventTypeResponse {
                event_type: Some((&event_type).into()),
            }))
        })
        .await
    }

    async fn update_event_type(
        &self,
        request: Request<v1::UpdateEventTypeRequest>,
    ) -> Result<Response<v1::UpdateEventTypeResponse>, Status> {
        self.within(request, |caller, request| async move {
            caller.must_be_platform()?;
            let asked = required("event_type", request.event_type)?;
            let update = update(&asked, request.update_mask.as_ref())?;
            let updated = self.app.catalog.update(caller, &asked.r#type, &update).await;
            let done = updated.map_err(of_event_type)?;
            Ok(committed(done, |event_type| v1::UpdateEventTypeResponse {
                event_type: Some((&event_type).into()),
            }))
        })
        .await
    }

    async fn get_event_type(
        &self,
        request: Request<v1::GetEventTypeRequest>,
    ) -> Result<Response<v1::GetEventTypeResponse>, Status> {
        self.within(request, |_, request| async move {
            let event_type = self.app.catalog.event_type(&request.r#type).await?;
            let event_type = Some((&event_type).into());
            Ok(Response::new(v1::GetEventTypeResponse { event_type }))
        })
        .await
    }

    async fn list_event_types(
        &self,
        request: Request<v1::ListEventTypesRequest>,
    ) -> Result<Response<v1::ListEventTypesResponse>, Status> {
        self.within(request, |_, request| async move {
            let schema_id = Some(request.schema_id.as_str()).filter(|id| !id.is_empty());
            if let Some(id) = schema_id {
                check_name("schema_id", id)
                    .map_err(|refusal| Failure::refused(code::SCHEMA_INVALID, refusal))?;
            }
            let rest = v1::ListEventTypesRequest {
                page_size: 0,
                page_token: String::new(),
                ..request.clone()
            };
            let scope = scope("event_types", None, &rest);
            let asked = Asked::<String>::read(scope, request.page_size, &request.page_token)?;
            let list = self.app.catalog.event_types(schema_id, asked.after.clone(), asked.size + 1);
            let mut listed = list.await?;
            let next_page_token = asked.next(&mut listed, |row: &EventType| row.name.clone());
            let event_types = listed.iter().map(Into::into).collect();
            Ok(Response::new(v1::ListEventTypesResponse { event_types, next_page_token }))
        })
        .await
    }
}

/// Spells the field of a failure as a field of the message.
fn of_event_type(failure: Failure) -> Failure {
    match failure.field.as_str() {
        "" => failure,
        field => {
            let field = format!("event_type.{field}");
            failure.at(field)
        }
    }
}

fn new_event_type(asked: v1::EventType) -> Result<NewEventType, Failure> {
    Ok(NewEventType {
        status: status(&asked)?.unwrap_or(EventTypeStatus::Available),
        validation: validation(&asked)?,
        name: asked.r#type,
        schema_id: asked.schema_id,
        description: asked.description,
        documentation_url: Some(asked.documentation_url).filter(|url| !url.is_empty()),
    })
}

/// The new values that the mask names; an empty one means the description.
fn update(
    asked: &v1::EventType,
    mask: Option<&prost_types::FieldMask>,
) -> Result<EventTypeUpdate, Failure> {
    let paths = mask.map_or(&[][..], |mask| &mask.paths);
    let mut update = EventTypeUpdate::default();
    if paths.is_empty() {
        update.description = Some(asked.description.clone());
    }
    for path in paths {
        match path.as_str() {
            "description" => update.description = Some(asked.description.clone()),
            "status" => update.status = Some(said("status", status(asked)?)?),
            "documentation_url" => {
                let page = Some(asked.documentation_url.clone());
                update.documentation_url = Some(page.filter(|page| !page.is_empty()));
            }
            "validation" => update.validation = Some(said("validation", validation(asked)?)?),
            other => {
                let message = format!("`{other}` cannot be changed");
                return Err(Failure::invalid(code::SCHEMA_INVALID, "update_mask", message));
            }
        }
    }
    Ok(update)
}

fn status(asked: &v1::EventType) -> Result<Option<EventTypeStatus>, Failure> {
    let status = v1::EventTypeStatus::try_from(asked.status);
    status.map(v1::EventTypeStatus::to_domain).map_err(|_| unknown("status"))
}

fn validation(asked: &v1::EventType) -> Result<Option<Validation>, Failure> {
    let mode = v1::ValidationMode::try_from(asked.validation);
    mode.map(v1::ValidationMode::to_domain).map_err(|_| unknown("validation"))
}

fn unknown(field: &str) -> Failure {
    Failure::invalid(code::SCHEMA_INVALID, format!("event_type.{field}"), "is none that is known")
}

fn said<T>(field: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| {
        Failure::invalid(code::SCHEMA_INVALID, format!("event_type.{field}"), "is required")
    })
}
