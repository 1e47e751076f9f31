//! The gRPC face: `millrace.v1.PublishService`.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::Router;
use futures::{FutureExt, future::BoxFuture};
use millrace_domain::Refusal;
use millrace_proto::{
    event_from_wire, rejection,
    v1::{
        Accepted, Duplicate, Event, PublishRequest, PublishResponse, PublishStreamRequest,
        publish_result,
        publish_service_server::{PublishService, PublishServiceServer},
    },
};
use millrace_runtime::Tasks;
use prost::Message;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming, body::Body};
use tower::Service;

use crate::{
    intake::{Charge, Intake},
    metrics,
    publish::{Batch, EVENTS_MAX, Opened, Outcome, PUBLISH_MAX_BYTES, PublishResult, Publisher},
    status::Problem,
    trace,
};

mod stream;

/// Most bytes of a message that are decoded: a publish, and room for its framing.
const DECODE_MAX_BYTES: usize = 5 * 1024 * 1024;

/// The request of one batch.
const PUBLISH: &str = "/Publish";

/// The services of this face, by their full names.
pub(crate) const SERVICES: &[&str] = &["millrace.v1.PublishService"];

/// The routes of this face.
pub(crate) fn routes(publisher: Arc<Publisher>, intake: Intake, tasks: Tasks) -> Router {
    let service = PublishServiceServer::new(Grpc { publisher: Arc::clone(&publisher), tasks })
        .max_decoding_message_size(DECODE_MAX_BYTES);
    let front = Front { service, publisher, intake };
    Router::new().route_service("/millrace.v1.PublishService/{*rpc}", front)
}

/// What a request goes through before its message is read. One service, not a layer for each step: of a publish of one event,
/// layers cost as much as writing it does.
#[derive(Clone, Debug)]
struct Front {
    service: PublishServiceServer<Grpc>,
    publisher: Arc<Publisher>,
    intake: Intake,
}

impl Service<axum::extract::Request> for Front {
    type Response = axum::http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Meters the body, and looks at a publish's metadata: whom nobody knows has nothing decoded.
    fn call(&mut self, request: axum::extract::Request) -> Self::Future {
        let (mut service, publisher) = (self.service.clone(), Arc::clone(&self.publisher));
        let mut request = self.intake.meter(request).map(Body::new);
        async move {
            if request.uri().path().ends_with(PUBLISH) {
                match publisher.open(request.headers()).await {
                    Ok(mut opened) => {
                        opened.trace(&trace::GRPC);
                        request.extensions_mut().insert(Arc::new(opened));
                    }
                    Err(problem) => return Ok(Status::from(problem).into_http()),
                }
            }
            service.call(request).await
        }
        .boxed()
    }
}

#[derive(Debug)]
struct Grpc {
    publisher: Arc<Publisher>,
    tasks: Tasks,
}

#[tonic::async_trait]
impl PublishService for Grpc {
    type PublishStreamStream = stream::Answers;

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let started = Instant::now();
        let charge = request.extensions().get::<Charge>().cloned().unwrap_or_default();
        let opened = request.extensions().get::<Arc<Opened>>().cloned();
        let opened = opened.ok_or_else(|| Status::internal("a publish that was not opened"))?;
        let request = request.into_inner();
        check_limits(request.events.len(), &request)?;
        let mut batch =
            self.publisher.batch(&opened, "account_sid", request.deduplicate, request.events.len());
        let traced = opened.enter();
        request.events.iter().for_each(|event| add(&mut batch, event));
        drop(traced);
        let results = self.publisher.publish(batch, charge).await;
        metrics::published("grpc", &results, started.elapsed());
        trace::tell(opened.span(), &results);
        Ok(Response::new(PublishResponse { results: results.into_iter().map(wire).collect() }))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        stream::open(&self.publisher, request, &self.tasks).await.map(Response::new)
    }
}

fn add(batch: &mut Batch<'_>, wire: &Event) {
    let account = (!wire.account_sid.is_empty()).then_some(&*wire.account_sid);
    match event_from_wire(wire) {
        Ok(event) => batch.add(event, account),
        Err(refusal) => batch.refuse(wire.id.clone(), refusal),
    }
}

fn check_limits(events: usize, request: &impl Message) -> Result<(), Problem> {
    let refused = if events > EVENTS_MAX {
        format!("a publish has at most {EVENTS_MAX} events; this one has {events}")
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
        Outcome::Duplicate => publish_result::Outcome::Duplicate(Duplicate {}),
        Outcome::Rejected(refusal) => publish_result::Outcome::Rejected(rejection(&refusal)),
    };
    millrace_proto::v1::PublishResult { id: result.id, outcome: Some(outcome) }
}
