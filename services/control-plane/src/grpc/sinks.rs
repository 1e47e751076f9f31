//! `millrace.v1.SinkService`.

use millrace_domain::{Sink, SinkConfiguration, SinkSid};
use millrace_proto::v1::{self, sink_service_server::SinkService};
use millrace_store::SinkFilter;
use tonic::{Request, Response, Status};

use super::{Asked, Face, check_mask, committed, optional_sid, required, sid};
use crate::status::{Failure, code};

/// How gRPC spells REST's fields.
const NAMES: [(&str, &str); 2] =
    [("Description", "sink.description"), ("SinkConfiguration", "sink.webhook")];

#[tonic::async_trait]
impl SinkService for Face {
    async fn create_sink(
        &self,
        request: Request<v1::CreateSinkRequest>,
    ) -> Result<Response<v1::CreateSinkResponse>, Status> {
        self.within(request, |caller, request| async move {
            let sink = required("sink", request.sink)?;
            let named = optional_sid("sink.account_sid", &sink.account_sid)?;
            let account = caller.account("sink.account_sid", named)?;
            let configuration = required("sink.configuration", sink.configuration)?;
            let configuration = SinkConfiguration::try_from(&configuration)
                .map_err(|refusal| Failure::refused(code::SINK_INVALID, refusal))?;
            let created = self.app.sinks.create(account, sink.description, configuration).await;
            let done = created.map_err(|failure| failure.spelt(&NAMES))?;
            Ok(committed(done, |sink| v1::CreateSinkResponse { sink: Some((&sink).into()) }))
        })
        .await
    }

    async fn get_sink(
        &self,
        request: Request<v1::GetSinkRequest>,
    ) -> Result<Response<v1::GetSinkResponse>, Status> {
        self.within(request, |caller, request| async move {
            let sink = self.app.sinks.fetch(caller, sid("sid", &request.sid)?).await?;
            Ok(Response::new(v1::GetSinkResponse { sink: Some((&sink).into()) }))
        })
        .await
    }

    async fn list_sinks(
        &self,
        request: Request<v1::ListSinksRequest>,
    ) -> Result<Response<v1::ListSinksResponse>, Status> {
        self.within(request, |caller, request| async move {
            let named = optional_sid("account_sid", &request.account_sid)?;
            let account = caller.account("account_sid", named)?;
            let status = v1::SinkStatus::try_from(request.status)
                .map_err(|_| Failure::invalid(code::BAD_REQUEST, "status", "is no status"))?;
            let filter = SinkFilter { in_use: request.in_use, status: status.to_domain() };
            let asked = Asked::<SinkSid>::read(request.page_size, &request.page_token)?;
            let list = self.app.sinks.list(account, &filter, asked.after, asked.size + 1);
            let mut sinks = list.await?;
            let next_page_token = asked.next(&mut sinks, |sink: &Sink| sink.sid);
            let sinks = sinks.iter().map(Into::into).collect();
            Ok(Response::new(v1::ListSinksResponse { sinks, next_page_token }))
        })
        .await
    }

    async fn update_sink(
        &self,
        request: Request<v1::UpdateSinkRequest>,
    ) -> Result<Response<v1::UpdateSinkResponse>, Status> {
        self.within(request, |caller, request| async move {
            check_mask(request.update_mask.as_ref())?;
            let sink = required("sink", request.sink)?;
            let sid = sid("sink.sid", &sink.sid)?;
            let described = self.app.sinks.describe(caller, sid, &sink.description).await;
            let done = described.map_err(|failure| failure.spelt(&NAMES))?;
            Ok(committed(done, |sink| v1::UpdateSinkResponse { sink: Some((&sink).into()) }))
        })
        .await
    }

    async fn delete_sink(
        &self,
        request: Request<v1::DeleteSinkRequest>,
    ) -> Result<Response<v1::DeleteSinkResponse>, Status> {
        self.within(request, |caller, request| async move {
            let done = self.app.sinks.delete(caller, sid("sid", &request.sid)?).await?;
            Ok(committed(done, |()| v1::DeleteSinkResponse {}))
        })
        .await
    }
}
