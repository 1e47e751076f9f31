//! `millrace.internal.v1.DeliveryService`: what this deliverer does at the moment.

use std::sync::Arc;

use millrace_domain::{Partition, SinkSid, secret::SecretHash};
use millrace_proto::internal::{
    GetSinkStatusRequest, GetSinkStatusResponse, ListPartitionsRequest, ListPartitionsResponse,
    TestSinkRequest, TestSinkResponse, delivery_service_server::DeliveryService,
};
use millrace_watch::Sink;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::{
    config::AttemptLog, context::Context, ownership::Tenures, status, trial, trimmed::Trimmed,
};

/// Answers for one deliverer, to who knows the internal token.
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) cx: Arc<Context>,
    pub(crate) tenures: Arc<Tenures>,
    pub(crate) token: SecretHash,
    /// Places for tests.
    pub(crate) tests: Semaphore,
    /// When reports of attempts were given up.
    pub(crate) trimmed: Arc<Trimmed>,
}

#[tonic::async_trait]
impl DeliveryService for Delivery {
    async fn list_partitions(
        &self,
        request: Request<ListPartitionsRequest>,
    ) -> Result<Response<ListPartitionsResponse>, Status> {
        self.authorize(&request)?;
        let (chunks, bytes) = self.cx.unsettled.open();
        Ok(Response::new(ListPartitionsResponse {
            deliverer_id: self.id.clone(),
            partitions: self
                .tenures
                .partitions()
                .iter()
                .map(|partition| u32::from(partition.0))
                .collect(),
            unsettled_chunks: chunks as u64,
            unsettled_bytes: bytes as u64,
            attempts_reported: self.cx.logs.attempts.as_str().to_owned(),
            attempts_reported_of: self
                .cx
                .logs
                .accounts
                .iter()
                .map(|(sid, attempts)| (sid.clone(), attempts.as_str().to_owned()))
                .collect(),
            trimmed: self.trimmed.periods(),
        }))
    }

    async fn get_sink_status(
        &self,
        request: Request<GetSinkStatusRequest>,
    ) -> Result<Response<GetSinkStatusResponse>, Status> {
        self.authorize(&request)?;
        let (partition, sink) = asked(request.get_ref())?;
        let tenure = self.tenures.of(partition).ok_or_else(|| {
            Status::failed_precondition("the partition is not this deliverer's at the moment")
        })?;
        match status::of(&tenure, sink).await {
            Ok(status) => Ok(Response::new(GetSinkStatusResponse {
                status: Some(status),
                attempts_reported: self.attempts_of(sink).as_str().to_owned(),
            })),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "cannot tell how a sink does");
                Err(Status::unavailable("the queue does not answer: try again"))
            }
        }
    }

    async fn test_sink(
        &self,
        request: Request<TestSinkRequest>,
    ) -> Result<Response<TestSinkResponse>, Status> {
        self.authorize(&request)?;
        let _place = self.tests.try_acquire().map_err(|_| {
            Status::resource_exhausted("too many tests run at the moment: try again")
        })?;
        let asked = request.into_inner();
        let wrong = || Status::invalid_argument("sink: cannot be read by this deliverer");
        let test = trial::run(&self.cx, asked).await.ok_or_else(wrong)?;
        Ok(Response::new(TestSinkResponse { test: Some(test) }))
    }
}

/// Tests at once. Each holds a connection for a few seconds at most.
pub(crate) const TESTS: usize = 32;

/// Reads the partition and the sink that are asked about.
fn asked(request: &GetSinkStatusRequest) -> Result<(Partition, SinkSid), Status> {
    let partition = u16::try_from(request.partition)
        .map_err(|_| Status::invalid_argument("partition: is no number of a partition"))?;
    let sid = request.sink_sid.parse();
    Ok((Partition(partition), sid.map_err(|_| Status::invalid_argument("sink_sid: is no SID"))?))
}

impl Delivery {
    /// Which attempts to a sink are reported: its account's may differ from the others'.
    fn attempts_of(&self, sink: SinkSid) -> AttemptLog {
        let configuration = self.cx.watch.current();
        let account = match configuration.as_ref().and_then(|known| known.sink(sink)) {
            Some(Sink::Live(live)) => live.account,
            Some(Sink::Deleted { account }) => *account,
            None => return self.cx.logs.attempts,
        };
        self.cx.logs.of(account)
    }

    fn authorize<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        match given.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(token) if SecretHash::of(token).matches(&self.token) => Ok(()),
            _ => Err(Status::unauthenticated(
                "give the internal token as `authorization: Bearer <token>`",
            )),
        }
    }
}
