//! The gRPC face: `millrace.v1.PublishService`.

use std::{pin::Pin, sync::Arc};

use axum::Router;
use futures::Stream;
use millrace_domain::Refusal;
use millrace_proto::{
    event_from_wire, rejection,
    v1::{
        Accepted, PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse,
        publish_result,
        publish_service_server::{PublishService, PublishServiceServer},
    },
};
use prost::Message;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use tower::ServiceExt;

use crate::{
    intake::Charge,
    metrics,
    publish::{EVENTS_MAX, Outcome, PUBLISH_MAX_BYTES, PublishResult, Publisher},
    status::Problem,
};

/// Most bytes of a message that are decoded: a publish, and room for its framing.
const DECODE_MAX_BYTES: usize = 5 * 1024 * 1024;

/// The services of this face, by their full names.
pub(crate) const SERVICES: &[&str] = &["millrace.v1.PublishService"];

/// The routes of this face.
pub(crate) fn routes(publisher: Arc<Publisher>) -> Router {
    let service = PublishServiceServer::new(Grpc { publisher })
        .max_decoding_message_size(DECODE_MAX_BYTES)
        .map_request(|request: axum::extract::Request| request.map(tonic::body::Body::new));
    Router::new().route_service("/millrace.v1.PublishService/{*rpc}", service)
}

#[derive(Debug)]
struct Grpc {
    publisher: Arc<Publisher>,
}

#[tonic::async_trait]
impl PublishService for Grpc {
    type PublishStreamStream =
        Pin<Box<dyn Stream<Item = Result<PublishStreamResponse, Status>> + Send>>;

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let started = Instant::now();
        let charge = request.extensions().get::<Charge>().cloned().unwrap_or_default();
        let opened = self.publisher.open(request.metadata().as_ref()).await?;
        let request = request.into_inner();
        check_limits(&request)?;
        let mut batch = self.publisher.batch(&opened, "account_sid");
        for wire in &request.events {
            let account = (!wire.account_sid.is_empty()).then_some(&*wire.account_sid);
            match event_from_wire(wire) {
                Ok(event) => batch.add(event, account),
                Err(refusal) => batch.refuse(wire.id.clone(), refusal),
            }
        }
        let results = self.publisher.publish(batch, &charge).await;
        metrics::published("grpc", &results, started.elapsed());
        Ok(Response::new(PublishResponse { results: results.into_iter().map(wire).collect() }))
    }

    async fn publish_stream(
        &self,
        _request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        Err(Status::unimplemented("`PublishStream` is not served yet: use `Publish`"))
    }
}

fn check_limits(request: &PublishRequest) -> Result<(), Problem> {
    let refused = if request.events.len() > EVENTS_MAX {
        format!("a publish has at most {EVENTS_MAX} events; this one has {}", request.events.len())
    } else if request.encoded_len() > PUBLISH_MAX_BYTES {
        format!("a publish is at most {PUBLISH_MAX_BYTES} bytes; split it")
    } else {
        return Ok(());
    };
    Err(Problem::Refused(Refusal::too_large("events", refused)))
}

fn wire(result: PublishResult) -> millrace_proto::v1::PublishResult {
    let outcome = match result.outcome {
        Outcome::Accepted { sinks } => publish_result::Outcome::Accepted(Accepted { sinks }),
        Outcome::Rejected(refusal) => publish_result::Outcome::Rejected(rejection(&refusal)),
    };
    millrace_proto::v1::PublishResult { id: result.id, outcome: Some(outcome) }
}
