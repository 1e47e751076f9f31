//! `millrace.v1.EventTypeService`.

use millrace_domain::schema::{EventType, EventTypeStatus, check_name};
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
            let done = registered.map_err(|failure| match failure.field.as_str() {
                "" => failure,
                field => {
                    let field = format!("event_type.{field}");
                    failure.at(field)
                }
            })?;
            Ok(committed(done, |event_type| v1::CreateEventTypeResponse {
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

fn new_event_type(asked: v1::EventType) -> Result<NewEventType, Failure> {
    let status = v1::EventTypeStatus::try_from(asked.status)
        .map_err(|_| Failure::invalid(code::SCHEMA_INVALID, "event_type.status", "is no status"))?;
    let status = match status {
        v1::EventTypeStatus::Unspecified | v1::EventTypeStatus::Available => {
            EventTypeStatus::Available
        }
        v1::EventTypeStatus::Deprecated => EventTypeStatus::Deprecated,
        v1::EventTypeStatus::Restricted => EventTypeStatus::Restricted,
        v1::EventTypeStatus::Discontinued => EventTypeStatus::Discontinued,
    };
    Ok(NewEventType {
        name: asked.r#type,
        schema_id: asked.schema_id,
        description: asked.description,
        status,
        documentation_url: Some(asked.documentation_url).filter(|url| !url.is_empty()),
    })
}
