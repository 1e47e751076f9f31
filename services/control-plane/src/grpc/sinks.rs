//! `millrace.v1.SinkService`.

use std::mem;

use millrace_domain::{Refusal, Sink, SinkConfiguration, SinkSid, SinkType, SinkUpdate};
use millrace_proto::v1::{self, sink_service_server::SinkService};
use millrace_store::{Resource, SinkFilter};
use tonic::{Request, Response, Status};

use super::{Asked, Face, committed, once::Named, optional_sid, required, scope, sid};
use crate::{
    sinks::NewSink,
    status::{Failure, code},
};

/// How gRPC spells REST's fields, those of configurations apart: their names have the type in them.
const NAMES: [(&str, &str); 6] = [
    ("Description", "sink.description"),
    ("SinkType", "sink.configuration"),
    ("Headers", "sink.headers"),
    ("RateLimit", "sink.rate_limit"),
    ("MaxConcurrency", "sink.max_concurrency"),
    ("DeliveryWindow", "sink.delivery_window"),
];

#[tonic::async_trait]
impl SinkService for Face {
    async fn create_sink(
        &self,
        request: Request<v1::CreateSinkRequest>,
    ) -> Result<Response<v1::CreateSinkResponse>, Status> {
        self.within(request, |caller, mut request| async move {
            let id = mem::take(&mut request.request_id);
            let named = Named::of(caller, id, ("CreateSink", &request))?;
            let work = async {
                let sink = required("sink", request.sink)?;
                let named = optional_sid("sink.account_sid", &sink.account_sid)?;
                let account = caller.account("sink.account_sid", named)?;
                let new = new_sink(sink)?;
                let sink_type = new.configuration.sink_type();
                let created = self.app.sinks.create(account, new).await;
                let done = created.map_err(|failure| spelt(failure, Some(sink_type)))?;
                Ok(committed(done, |sink| answer(&sink)))
            };
            let render = |made: &Resource| match made {
                Resource::Sink(sink) => Some(answer(sink)),
                _ => None,
            };
            self.once(named, render, work).await
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

    async fn get_sink_status(
        &self,
        request: Request<v1::GetSinkStatusRequest>,
    ) -> Result<Response<v1::GetSinkStatusResponse>, Status> {
        self.within(request, |caller, request| async move {
            let status = self.app.sinks.status(caller, sid("sid", &request.sid)?).await?;
            Ok(Response::new(v1::GetSinkStatusResponse { status: Some(status) }))
        })
        .await
    }

    async fn test_sink(
        &self,
        request: Request<v1::TestSinkRequest>,
    ) -> Result<Response<v1::TestSinkResponse>, Status> {
        self.within(request, |caller, request| async move {
            let test = self.app.sinks.test(caller, sid("sid", &request.sid)?).await?;
            Ok(Response::new(v1::TestSinkResponse { test: Some(test) }))
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
            let rest =
                v1::ListSinksRequest { page_size: 0, page_token: String::new(), ..request.clone() };
            let scope = scope("sinks", Some(account), &rest);
            let asked = Asked::<SinkSid>::read(scope, request.page_size, &request.page_token)?;
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
            let sink = required("sink", request.sink)?;
            let sid = sid("sink.sid", &sink.sid)?;
            let update = update(&sink, request.update_mask.as_ref())?;
            let sink_type = update.configuration.as_ref().map(SinkConfiguration::sink_type);
            let updated = self.app.sinks.update(caller, sid, &update).await;
            let done = updated.map_err(|failure| spelt(failure, sink_type))?;
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

fn answer(sink: &Sink) -> v1::CreateSinkResponse {
    v1::CreateSinkResponse { sink: Some(sink.into()) }
}

fn new_sink(sink: v1::Sink) -> Result<NewSink, Failure> {
    let delivery = sink.checked_delivery().map_err(refused)?;
    let headers = sink.checked_headers().map_err(refused)?;
    let configuration = required("sink.configuration", sink.configuration)?;
    let configuration = SinkConfiguration::try_from(&configuration).map_err(refused)?;
    Ok(NewSink { description: sink.description, configuration, headers, delivery })
}

/// The new values that the mask names; an empty one means the description.
fn update(sink: &v1::Sink, mask: Option<&prost_types::FieldMask>) -> Result<SinkUpdate, Failure> {
    let paths = mask.map_or(&[][..], |mask| &mask.paths);
    let mut update = SinkUpdate::default();
    if paths.is_empty() {
        update.description = Some(sink.description.clone());
    }
    for path in paths {
        match path.as_str() {
            "description" => update.description = Some(sink.description.clone()),
            "headers" => update.headers = Some(sink.checked_headers().map_err(refused)?),
            path if SinkType::ALL.iter().any(|known| known.as_str() == path) => {
                update.configuration = Some(configuration(sink, path)?);
            }
            "paused" => update.paused = Some(sink.paused),
            "rate_limit" => update.rate_limit = Some(sink.checked_rate_limit().map_err(refused)?),
            "max_concurrency" => {
                update.max_concurrency = Some(sink.checked_max_concurrency().map_err(refused)?);
            }
            "delivery_window" => {
                update.window = Some(sink.checked_delivery_window().map_err(refused)?);
            }
            other => {
                let message = format!("`{other}` cannot be changed");
                return Err(Failure::invalid(code::BAD_REQUEST, "update_mask", message));
            }
        }
    }
    Ok(update)
}

/// The configuration that a path of the mask names.
fn configuration(sink: &v1::Sink, path: &str) -> Result<SinkConfiguration, Failure> {
    let named = sink.configuration.as_ref().filter(|found| found.sink_type().as_str() == path);
    let named = required(&format!("sink.{path}"), named)?;
    SinkConfiguration::try_from(named).map_err(refused)
}

/// A refusal of the domain in gRPC's words.
fn refused(refusal: Refusal) -> Failure {
    spelt(Failure::refused(code::SINK_INVALID, refusal), None)
}

/// A failure in gRPC's words, where it is about a sink of a type.
fn spelt(failure: Failure, sink_type: Option<SinkType>) -> Failure {
    let place = sink_type.map_or("configuration", SinkType::as_str);
    failure.spelt(&NAMES).spelt(&[("SinkConfiguration", &format!("sink.{place}"))])
}
