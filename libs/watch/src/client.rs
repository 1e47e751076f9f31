//! The stream from control-plane: read, put in place, and opened again whenever it breaks.

use std::{future::Future, mem, time::Duration};

use futures::FutureExt;
use millrace_domain::backoff::Backoff;
use millrace_proto::internal::{
    WatchRequest, WatchResponse, WatchView, config_service_client::ConfigServiceClient,
};
use tokio::time::{sleep, timeout};
use tonic::{
    Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{
    Configuration, Publisher, Watch,
    assembly::{Assembly, Misplaced},
    channel,
};

/// Without a message for so long, a stream is dead: control-plane sends a sign of life more often.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Longest message taken: a part of a snapshot is far smaller.
const MESSAGE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Most messages put in place at once.
const GATHERED_MAX: usize = 1_000;
/// Waits between tries.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(10) };

/// What of the configuration to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Hashes of credentials, subscriptions, types and schemas.
    Router,
    /// Sinks, and the secrets that sign.
    Deliverer,
}

/// Why a watch cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of control-plane is none.
    #[error("`{address}` is not an address such as `http://control-plane:8080`")]
    Address {
        /// As it was given.
        address: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// The internal token has characters that no header takes.
    #[error("the internal token must be plain ASCII")]
    Token,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("control-plane answered {:?}: {}", .0.code(), .0.message())]
    Status(#[from] Status),
    #[error("control-plane ended the stream")]
    Ended,
    #[error("control-plane was silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("control-plane broke the protocol: {0}")]
    Protocol(#[from] Misplaced),
}

/// Makes a channel to control-plane, connected when it is first used.
///
/// # Errors
/// [`Error::Address`].
pub fn connect(address: &str) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|source| Error::Address { address: address.to_owned(), source })?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        .connect_lazy())
}

/// Keeps a [`Watch`] up to date while [`Self::run`] runs.
#[derive(Debug)]
pub struct Client {
    service: ConfigServiceClient<Channel>,
    authorization: MetadataValue<Ascii>,
    view: WatchView,
    publisher: Publisher,
    assembly: Assembly,
}

impl Client {
    /// Makes a client that asks over `channel` with the token that services know each other by, and the watch it fills.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub fn new(
        channel_to: Channel,
        internal_token: &str,
        view: View,
    ) -> Result<(Self, Watch), Error> {
        let mut authorization = MetadataValue::try_from(format!("Bearer {internal_token}"))
            .map_err(|_| Error::Token)?;
        authorization.set_sensitive(true);
        let (publisher, watch) = channel();
        let client = Self {
            service: ConfigServiceClient::new(channel_to)
                .max_decoding_message_size(MESSAGE_MAX_BYTES),
            authorization,
            view: match view {
                View::Router => WatchView::Router,
                View::Deliverer => WatchView::Deliverer,
            },
            publisher,
            assembly: Assembly::default(),
        };
        Ok((client, watch))
    }

    /// Follows control-plane until `stopping`. Whatever breaks is tried again, with one log line for each outage.
    pub async fn run(mut self, stopping: impl Future<Output = ()>) {
        let following = self.follow();
        // What a cancelled follow had read and not put in place is asked for again by who runs next.
        tokio::select! {
            () = stopping => {}
            () = following => {}
        }
    }

    async fn follow(&mut self) {
        let mut failures = 0_u32;
        loop {
            let broken = self.stream(&mut failures).await;
            self.assembly.interrupt();
            failures = failures.saturating_add(1);
            if failures == 1 {
                tracing::warn!(
                    error = %broken,
                    "cannot follow the configuration; goes on with what is known and tries again"
                );
            }
            sleep(BACKOFF.delay(failures, fastrand::f64(), None)).await;
        }
    }

    /// Reads one stream to its end. The first message ends the outage that `failures` counts.
    async fn stream(&mut self, failures: &mut u32) -> Broken {
        let mut stream = match self.open().await {
            Ok(stream) => stream,
            Err(broken) => return broken,
        };
        loop {
            let batch = match next(&mut stream).await {
                Ok(batch) => batch,
                Err(broken) => return broken,
            };
            if let Err(broken) = self.take(batch) {
                return broken;
            }
            if mem::take(failures) > 0 {
                tracing::info!("follows the configuration again");
            }
        }
    }

    async fn open(&mut self) -> Result<Streaming<WatchResponse>, Broken> {
        let version = self.assembly.known().map(Configuration::version);
        let mut request = Request::new(WatchRequest {
            epoch: version.map_or(0, |version| version.epoch),
            seq: version.map_or(0, |version| version.seq),
            view: self.view.into(),
        });
        request.metadata_mut().insert("authorization", self.authorization.clone());
        let answer = timeout(SILENCE_MAX, self.service.watch(request)).await;
        Ok(answer.map_err(|_| Broken::Silent)??.into_inner())
    }

    /// Puts messages that came together in place as one new version.
    fn take(&mut self, batch: Vec<WatchResponse>) -> Result<(), Broken> {
        let mut changed = false;
        let taken = batch.into_iter().try_for_each(|message| {
            changed |= self.assembly.take(message)?;
            Ok(())
        });
        // What came before a broken message is whole, and stays.
        if let Some(known) = self.assembly.known().filter(|_| changed) {
            self.publisher.publish(known.clone());
        }
        taken
    }
}

/// Waits for a message, and takes along what has come behind it.
async fn next(stream: &mut Streaming<WatchResponse>) -> Result<Vec<WatchResponse>, Broken> {
    let first = timeout(SILENCE_MAX, stream.message()).await.map_err(|_| Broken::Silent)??;
    let mut batch = vec![first.ok_or(Broken::Ended)?];
    // What breaks here breaks at the next wait too, once this batch is in place.
    while batch.len() < GATHERED_MAX
        && let Some(Ok(Some(message))) = stream.message().now_or_never()
    {
        batch.push(message);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, sync::Arc};

    use futures::Stream;
    use millrace_proto::internal::{
        Resource, SnapshotPart,
        config_service_server::{ConfigService, ConfigServiceServer},
        resource::Resource as Kind,
    };
    use tokio::{
        net::TcpListener,
        sync::{Mutex, mpsc, oneshot},
    };
    use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
    use tonic::Response;

    use super::*;

    type Messages = mpsc::Sender<Result<WatchResponse, Status>>;

    /// A control-plane whose every stream the test itself writes.
    struct ControlPlane {
        streams: mpsc::Sender<(WatchRequest, Messages)>,
    }

    #[tonic::async_trait]
    impl ConfigService for ControlPlane {
        type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

        async fn watch(
            &self,
            request: Request<WatchRequest>,
        ) -> Result<Response<Self::WatchStream>, Status> {
            if request.metadata().get("authorization").is_none_or(|token| token != "Bearer secret")
            {
                return Err(Status::unauthenticated("not a service"));
            }
            let (messages, written) = mpsc::channel(16);
            self.streams.send((request.into_inner(), messages)).await.expect("the test listens");
            Ok(Response::new(Box::pin(ReceiverStream::new(written))))
        }
    }

    struct Fixture {
        opened: Mutex<mpsc::Receiver<(WatchRequest, Messages)>>,
        watch: Watch,
        stop: oneshot::Sender<()>,
        client: tokio::task::JoinHandle<()>,
    }

    impl Fixture {
        #[expect(clippy::disallowed_methods, reason = "the tasks end with the test")]
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = format!("http://{}", listener.local_addr().expect("bound"));
            let (streams, opened) = mpsc::channel(16);
            let server = tonic::transport::Server::builder()
                .add_service(ConfigServiceServer::new(ControlPlane { streams }));
            drop(tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener))));
            let channel = connect(&address).expect("an address");
            let (client, watch) = Client::new(channel, "secret", View::Router).expect("a token");
            let (stop, stopped) = oneshot::channel();
            let client = tokio::spawn(client.run(async { drop(stopped.await) }));
            Self { opened: Mutex::new(opened), watch, stop, client }
        }

        /// Waits for the client to ask, and gives what it asked for and where to write.
        async fn asked(&self) -> (u64, u64, Messages) {
            let mut opened = self.opened.lock().await;
            let (request, messages) = timeout(Duration::from_secs(10), opened.recv())
                .await
                .expect("in time")
                .expect("open");
            assert_eq!(request.view(), WatchView::Router);
            (request.epoch, request.seq, messages)
        }

        async fn reaches(&self, epoch: u64, seq: u64) -> Arc<Configuration> {
            let version = millrace_domain::ConfigVersion { epoch, seq };
            assert!(self.watch.reached(version, Duration::from_secs(10)).await, "{version}");
            self.watch.current().expect("in place before its version is told")
        }
    }

    fn message(epoch: u64, seq: u64, part: SnapshotPart, key: u8) -> Result<WatchResponse, Status> {
        let key = Resource { resource: Some(Kind::PlatformKeyHash(vec![key; 32].into())) };
        Ok(WatchResponse { epoch, seq, part: part.into(), upserts: vec![key], deletes: vec![] })
    }

    fn has(configuration: &Configuration, key: u8) -> bool {
        let hash = millrace_domain::secret::SecretHash::from_bytes(&[key; 32]).expect("32 bytes");
        configuration.is_platform_key(&hash)
    }

    #[tokio::test]
    async fn follows_a_snapshot_and_changes_and_resumes_where_it_was() {
        let fixture = Fixture::start().await;
        let (epoch, seq, messages) = fixture.asked().await;
        assert_eq!((epoch, seq), (0, 0));
        messages.send(message(7, 3, SnapshotPart::First, 1)).await.expect("read");
        assert!(fixture.watch.current().is_none());
        messages.send(message(7, 3, SnapshotPart::Last, 2)).await.expect("read");
        messages.send(message(7, 4, SnapshotPart::Unspecified, 3)).await.expect("read");
        let known = fixture.reaches(7, 4).await;
        assert!(has(&known, 1) && has(&known, 2) && has(&known, 3) && !has(&known, 4));

        drop(messages);
        let (epoch, seq, messages) = fixture.asked().await;
        assert_eq!((epoch, seq), (7, 4));
        assert!(fixture.watch.current().is_some(), "what is known stays in force");
        messages.send(message(7, 5, SnapshotPart::Unspecified, 4)).await.expect("read");
        assert!(has(&*fixture.reaches(7, 5).await, 4));

        messages.send(Err(Status::unavailable("restarts"))).await.expect("read");
        let (_, _, messages) = fixture.asked().await;
        messages.send(message(8, 1, SnapshotPart::Whole, 5)).await.expect("read");
        let restored = fixture.reaches(8, 1).await;
        assert!(has(&restored, 5) && !has(&restored, 1), "another epoch starts from nothing");

        messages.send(message(9, 1, SnapshotPart::Unspecified, 6)).await.expect("read");
        let (epoch, seq, _messages) = fixture.asked().await;
        assert_eq!((epoch, seq), (8, 1), "a misplaced message is not taken");
        fixture.stop.send(()).expect("running");
        fixture.client.await.expect("ends when told");
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_that_does_not_come_is_not_waited_for_longer_than_asked() {
        let version = millrace_domain::ConfigVersion { epoch: 1, seq: 2 };
        let watch = Watch::fixed(Configuration::empty(version));
        let later = millrace_domain::ConfigVersion { seq: 3, ..version };
        assert!(watch.reached(version, Duration::ZERO).await);
        assert!(!watch.reached(later, Duration::from_secs(1)).await);
        let (_publisher, unknown) = channel();
        assert!(!unknown.reached(version, Duration::from_secs(1)).await);
    }
}
