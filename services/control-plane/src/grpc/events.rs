//! `millrace.v1.EventService`.

use millrace_proto::v1::{self, event_service_server::EventService};
use tonic::{Request, Response, Status};

use super::{Face, logs::time, optional_sid};
use crate::{
    explain::{Asked, Subject},
    random,
};

#[tonic::async_trait]
impl EventService for Face {
    async fn explain_event(
        &self,
        request: Request<v1::ExplainEventRequest>,
    ) -> Result<Response<v1::ExplainEventResponse>, Status> {
        self.within(request, |caller, request| async move {
            let named = optional_sid("account_sid", &request.account_sid)?;
            let scope = self.app.explain.scope(caller, ("account_sid", named)).await?;
            let at = time("event_time", request.event_time)?;
            let asked = Asked::read(scope, &request.event_id, at, &request.r#type)
                .map_err(|failure| failure.spelt(&[("EventId", "event_id"), ("Type", "type")]))?;
            let explanation = Some(self.app.explain.event(&asked).await?);
            Ok(Response::new(v1::ExplainEventResponse { explanation }))
        })
        .await
    }

    async fn match_event(
        &self,
        request: Request<v1::MatchEventRequest>,
    ) -> Result<Response<v1::MatchEventResponse>, Status> {
        self.within(request, |caller, request| async move {
            let named = optional_sid("account_sid", &request.account_sid)?;
            let scope = self.app.explain.scope(caller, ("account_sid", named)).await?;
            let at = time("at_time", request.at_time)?.unwrap_or_else(random::now);
            let subject = Subject::read(request.event)
                .map_err(|failure| failure.spelt(&[("Event", "event")]))?;
            let matching = Some(self.app.explain.matching(scope, subject, at).await?);
            Ok(Response::new(v1::MatchEventResponse { matching }))
        })
        .await
    }
}
