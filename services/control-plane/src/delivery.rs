//! How delivery to a sink goes: asked of the deliverer that owns the sink's partition, over internal gRPC.

use std::time::Duration;

use millrace_domain::{AccountSid, Partition, SinkSid};
use millrace_proto::{
    internal::{
        GetSinkStatusRequest, GetSinkStatusResponse, TestSinkRequest,
        delivery_service_client::DeliveryServiceClient,
    },
    v1,
};
use millrace_runtime::config::MaskedSecret;
use tonic::{
    Code, Request,
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint},
};

use crate::{
    queue::QueueHandle,
    status::{Failure, Kind, code},
};

mod reporting;

/// Longest wait for a connection to a deliverer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for its answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a test: it is bounded by the deliverer.
const TEST_TIMEOUT: Duration = Duration::from_secs(13);
/// Owners asked before it is given up: a partition may move between looking its owner up and asking it.
const OWNERS_ASKED: usize = 2;

/// Partitions whose owners are looked up for a test where that of the sink's has none.
const OWNERS_LOOKED_UP: usize = 16;

/// The deliverers, as the queue tells where they are.
#[derive(Clone)]
pub(crate) struct Deliverers {
    pub(crate) queue: QueueHandle,
    pub(crate) partitions: u16,
    pub(crate) token: MaskedSecret,
}

impl Deliverers {
    /// How delivery to a sink of `account` goes. UNAVAILABLE where nobody that serves it answers.
    pub(crate) async fn status_of(
        &self,
        account: AccountSid,
        sink: SinkSid,
    ) -> Result<v1::DeliveryStatus, Failure> {
        Ok(self.answer_of(account, sink).await?.status.unwrap_or_default())
    }

    /// Which attempts to the sinks of `account` are reported: the deliverer's setting. `sink`: any of them, if it has one.
    pub(crate) async fn attempts_reported(
        &self,
        account: AccountSid,
        sink: Option<SinkSid>,
    ) -> Result<String, Failure> {
        // Of no sink nothing is known; the setting for all is told then.
        let sink = sink.unwrap_or(SinkSid::from_u128(0));
        Ok(self.answer_of(account, sink).await?.attempts_reported)
    }

    async fn answer_of(
        &self,
        account: AccountSid,
        sink: SinkSid,
    ) -> Result<GetSinkStatusResponse, Failure> {
        let partition = Partition::home_of(account, self.partitions);
        let queue = self.queue.get()?;
        for _ in 0..OWNERS_ASKED {
            let owner = queue.owner_of(partition).await.map_err(|error| {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "cannot look up which deliverer serves a sink");
                away("the queue does not answer")
            })?;
            let address = owner.ok_or_else(|| away("no deliverer serves this sink"))?;
            if let Some(answer) = self.ask(&address, partition, sink).await? {
                return Ok(answer);
            }
        }
        Err(away("the sink is moving from one deliverer to another"))
    }

    /// Asks a deliverer; `None`: the partition is not its.
    async fn ask(
        &self,
        address: &str,
        partition: Partition,
        sink: SinkSid,
    ) -> Result<Option<GetSinkStatusResponse>, Failure> {
        let message =
            GetSinkStatusRequest { partition: u32::from(partition.0), sink_sid: sink.to_string() };
        let request = self.authorized(message, address)?;
        match self.client(address, TIMEOUT).await?.get_sink_status(request).await {
            Ok(answer) => Ok(Some(answer.into_inner())),
            Err(status) if status.code() == Code::FailedPrecondition => Ok(None),
            Err(status) => Err(silent(address, &status)),
        }
    }

    /// Has a sink of `account` tested: by the owner of its partition, else by the owner of another. UNAVAILABLE where there is
    /// none that answers.
    pub(crate) async fn test(
        &self,
        account: AccountSid,
        message: TestSinkRequest,
    ) -> Result<v1::SinkTest, Failure> {
        let queue = self.queue.get()?;
        let home = Partition::home_of(account, self.partitions);
        let others = (0..self.partitions).map(Partition).filter(|other| *other != home);
        for partition in std::iter::once(home).chain(others.take(OWNERS_LOOKED_UP)) {
            let owner = queue.owner_of(partition).await.map_err(|error| {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "cannot look up a deliverer for a test");
                away("the queue does not answer")
            })?;
            // Before it has the message another may be asked; after that the sink may have the event.
            let Some(address) = owner else { continue };
            let Ok(mut client) = self.client(&address, TEST_TIMEOUT).await else { continue };
            let request = self.authorized(message, &address)?;
            return match client.test_sink(request).await {
                Ok(answer) => Ok(answer.into_inner().test.unwrap_or_default()),
                Err(status) if status.code() == Code::ResourceExhausted => {
                    Err(Failure::new(Kind::NoRoom, code::NO_ROOM, status.message()))
                }
                Err(status) => Err(silent(&address, &status)),
            };
        }
        Err(away("no deliverer answers"))
    }

    async fn client(
        &self,
        address: &str,
        timeout: Duration,
    ) -> Result<DeliveryServiceClient<Channel>, Failure> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| silent(address, &error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout);
        let channel = endpoint.connect().await.map_err(|error| silent(address, &error))?;
        Ok(DeliveryServiceClient::new(channel))
    }

    /// A request with the token that the services share.
    fn authorized<T>(&self, message: T, address: &str) -> Result<Request<T>, Failure> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token.reveal());
        let bearer =
            AsciiMetadataValue::try_from(bearer).map_err(|error| silent(address, &error))?;
        request.metadata_mut().insert("authorization", bearer);
        Ok(request)
    }
}

/// A deliverer that does not answer as it should.
fn silent(address: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    tracing::warn!(address, error, "a deliverer does not say how a sink does");
    away("the deliverer that serves this sink does not answer")
}

/// UNAVAILABLE, and why.
fn away(why: &str) -> Failure {
    let message = format!("{why} at the moment: try again");
    Failure::new(Kind::Unavailable, code::UNAVAILABLE, message)
}
