//! The gRPC face: `millrace.v1.PublishService`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    middleware::{Next, from_fn_with_state},
    response::Response as HttpResponse,
};
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
use tonic::{Request, Response, Status, Streaming};
use tower::ServiceExt;

use crate::{
    intake::Charge,
    metrics,
    publish::{Batch, EVENTS_MAX, Opened, Outcome, PUBLISH_MAX_BYTES, PublishResult, Publisher},
    status::Problem,
};

mod stream;

/// Most bytes of a message that are decoded: a publish, and room for its framing.
const DECODE_MAX_BYTES: usize = 5 * 1024 * 1024;

/// The request of one batch.
const PUBLISH: &str = "/Publish";

/// The services of this face, by their full names.
pub(crate) const SERVICES: &[&str] = &["millrace.v1.PublishService"];

/// The routes of this face.
pub(crate) fn routes(publisher: Arc<Publisher>, tasks: Tasks) -> Router {
    let opening = from_fn_with_state(Arc::clone(&publisher), open);
    let service = PublishServiceServer::new(Grpc { publisher, tasks })
        .max_decoding_message_size(DECODE_MAX_BYTES)
        .map_request(|request: axum::extract::Request| request.map(tonic::body::Body::new));
    Router::new().route_service("/millrace.v1.PublishService/{*rpc}", service).layer(opening)
}

/// Looks at a publish's metadata before its message is read: whom nobody knows has nothing decoded.
async fn open(
    State(publisher): State<Arc<Publisher>>,
    mut request: axum::extract::Request,
    next: Next,
) -> HttpResponse {
    if request.uri().path().ends_with(PUBLISH) {
        match publisher.open(request.headers()).await {
            Ok(opened) => drop(request.extensions_mut().insert(Arc::new(opened))),
            Err(problem) => return Status::from(problem).into_http(),
        }
    }
    next.run(request).await
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
        let mut batch = self.publisher.batch(&opened, "account_sid", request.deduplicate);
        request.events.iter().for_each(|event| add(&mut batch, event));
        let results = self.publisher.publish(batch, charge).await;
        metrics::published("grpc", &results, started.elapsed());
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
