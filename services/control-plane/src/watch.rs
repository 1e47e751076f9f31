//! `ConfigService.Watch`: a snapshot in parts, then every change, to routers and deliverers.
//!
//! A watcher costs little memory however slow it is: parts go through a channel of few places, changes are read a page at
//! a time, few snapshots are open at once, and one that is not taken in time is given up.

use std::{iter, mem, sync::Arc, time::Duration};

use millrace_domain::{ConfigVersion, secret::SecretHash};
use millrace_proto::internal::{self as wire, config_service_server::ConfigService};
use millrace_runtime::{CancellationToken, Tasks};
use millrace_store::{Change, Changes, Resource, ResourceStore};
use prost::Message as _;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    commit::Commits,
    status::{About, Failure, code},
};

mod view;

pub(crate) use view::View;

/// Resources in a part of a snapshot, and changes in a response.
const PART: usize = 500;
/// Bytes after which a part or a response ends, whatever is in it: schemas are large.
const PART_BYTES: usize = 1024 * 1024;
/// How often a watcher hears something, were it nothing.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Longest wait for a watcher to take a response.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the catalogue; then the watcher is asked to come back.
const REGISTERED_TIMEOUT: Duration = Duration::from_secs(5);
/// Most snapshots in memory at once.
const SNAPSHOTS_MAX: usize = 4;
/// Responses that wait for a watcher.
const WAITING: usize = 2;

/// What a watch is served from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) commits: Commits,
    pub(crate) platform_keys: Arc<[SecretHash]>,
    pub(crate) schemas_url: Arc<str>,
}

/// Serves watchers.
pub(crate) struct Watch {
    source: Source,
    internal_token: SecretHash,
    tasks: Tasks,
    snapshots: Arc<Semaphore>,
    registered: watch::Receiver<bool>,
}

impl Watch {
    /// Serves nobody before the catalogue is `registered`: a router that knows no event types would refuse events for good.
    pub(crate) fn new(
        source: Source,
        internal_token: SecretHash,
        tasks: Tasks,
        registered: watch::Receiver<bool>,
    ) -> Self {
        let snapshots = Arc::new(Semaphore::new(SNAPSHOTS_MAX));
        Self { source, internal_token, tasks, snapshots, registered }
    }

    async fn until_registered(&self) -> Result<(), Status> {
        let mut registered = self.registered.clone();
        match timeout(REGISTERED_TIMEOUT, registered.wait_for(|registered| *registered)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Status::unavailable("the catalogue is not registered yet")),
        }
    }

    fn check_token(&self, request: &Request<wire::WatchRequest>) -> Result<(), Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|header| header.split_once(' '));
        match token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            Some((_, token)) if SecretHash::of(token.trim()).matches(&self.internal_token) => {
                Ok(())
            }
            _ => Err(Status::unauthenticated("the internal token is missing or wrong")),
        }
    }
}

#[tonic::async_trait]
impl ConfigService for Watch {
    type WatchStream = ReceiverStream<Result<wire::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.check_token(&request)?;
        self.until_registered().await?;
        let request = request.into_inner();
        let view = match request.view() {
            wire::WatchView::Router => View::Router,
            wire::WatchView::Deliverer => View::Deliverer,
            wire::WatchView::Unspecified => {
                let message = "must be router or deliverer";
                return Err(Failure::invalid(code::BAD_REQUEST, "view", message).into());
            }
        };
        let told = ConfigVersion { epoch: request.epoch, seq: request.seq };
        let (responses, received) = mpsc::channel(WAITING);
        let watcher = Watcher {
            source: self.source.clone(),
            snapshots: Arc::clone(&self.snapshots),
            view,
            version: self.source.commits.turned(told),
            fresh: request.epoch == 0,
            responses,
        };
        self.tasks.spawn("watch-configuration", |stopping| watcher.run(stopping));
        Ok(Response::new(ReceiverStream::new(received)))
    }
}

/// Somebody who watches.
struct Watcher {
    source: Source,
    snapshots: Arc<Semaphore>,
    view: View,
    /// What it has, as the store knows it.
    version: ConfigVersion,
    /// Whether it has nothing.
    fresh: bool,
    responses: mpsc::Sender<Result<wire::WatchResponse, Status>>,
}

/// The watcher is gone, or too slow.
struct Gone;

impl Watcher {
    /// Serves until the watcher is gone, the store fails or the process stops. Ends the stream with a status that says which;
    /// whoever watches comes back with the version it has.
    async fn run(mut self, stopping: CancellationToken) -> anyhow::Result<()> {
        let responses = self.responses.clone();
        // Cancelling loses nothing: the watcher has the version of the last response it took.
        let status = match stopping.run_until_cancelled(self.follow()).await {
            None => Status::unavailable("the process stops"),
            Some(Ok(Gone)) => return Ok(()),
            Some(Err(error)) => Failure::of_store(error, About::Catalog).into(),
        };
        drop(responses.try_send(Err(status)));
        Ok(())
    }

    async fn follow(&mut self) -> millrace_store::Result<Gone> {
        if self.fresh && self.snapshot().await?.is_err() {
            return Ok(Gone);
        }
        loop {
            let limit = u32::try_from(PART).expect("a part is small");
            let sent = match self.source.store.changes(self.version, limit).await? {
                Changes::Gone => self.snapshot().await?,
                Changes::Some(changes) if changes.is_empty() => self.wait().await,
                Changes::Some(changes) => self.send_changes(changes).await,
            };
            if sent.is_err() {
                return Ok(Gone);
            }
        }
    }

    /// Waits for a change; says that it is there when none comes.
    async fn wait(&mut self) -> Result<(), Gone> {
        let (closed, version) = (self.responses.clone(), self.version);
        // Both arms only wait: cancelling either loses nothing.
        let woken = tokio::select! {
            woken = timeout(SIGN_OF_LIFE, self.source.store.changed(version.seq)) => woken,
            () = closed.closed() => return Err(Gone),
        };
        match woken {
            Ok(()) => Ok(()),
            Err(_) => self.send(wire::SnapshotPart::Unspecified, Vec::new(), Vec::new()).await,
        }
    }

    async fn send_changes(&mut self, changes: Vec<Change>) -> Result<(), Gone> {
        let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for change in changes {
            self.version.seq = change.seq;
            match self.view.changed(change.changed, &self.source.schemas_url) {
                view::Shown::Upsert(resource) => {
                    bytes += resource.encoded_len();
                    upserts.push(resource);
                }
                view::Shown::Delete(key) => deletes.push(key),
                view::Shown::Nothing => {}
            }
            if bytes > PART_BYTES {
                bytes = 0;
                let (upserts, deletes) = (mem::take(&mut upserts), mem::take(&mut deletes));
                self.send(wire::SnapshotPart::Unspecified, upserts, deletes).await?;
            }
        }
        self.send(wire::SnapshotPart::Unspecified, upserts, deletes).await
    }

    async fn snapshot(&mut self) -> millrace_store::Result<Result<(), Gone>> {
        // Never closed, so this only waits.
        let place = Arc::clone(&self.snapshots).acquire_owned().await;
        let (version, resources) = self.source.store.snapshot().await?;
        self.version = version;
        let sent = self.send_snapshot(resources).await;
        drop(place);
        Ok(sent)
    }

    /// Sends a snapshot, and frees each part's resources as it goes.
    async fn send_snapshot(&mut self, resources: Vec<Resource>) -> Result<(), Gone> {
        let keys = self.view.platform_keys(&self.source.platform_keys);
        let (view, schemas_url) = (self.view, Arc::clone(&self.source.schemas_url));
        let shown = resources.into_iter().filter_map(|resource| view.show(resource, &schemas_url));
        let mut shown = keys.into_iter().chain(shown).peekable();
        let mut first = true;
        loop {
            let mut room = PART_BYTES;
            let part = iter::from_fn(|| {
                let next = shown.next_if(|_| room > 0)?;
                room = room.saturating_sub(next.encoded_len());
                Some(next)
            });
            let part: Vec<_> = part.take(PART).collect();
            let last = shown.peek().is_none();
            let place = match (first, last) {
                (true, true) => wire::SnapshotPart::Whole,
                (true, false) => wire::SnapshotPart::First,
                (false, false) => wire::SnapshotPart::Middle,
                (false, true) => wire::SnapshotPart::Last,
            };
            self.send(place, part, Vec::new()).await?;
            if last {
                return Ok(());
            }
            first = false;
        }
    }

    async fn send(
        &self,
        part: wire::SnapshotPart,
        upserts: Vec<wire::Resource>,
        deletes: Vec<wire::ResourceKey>,
    ) -> Result<(), Gone> {
        let ConfigVersion { epoch, seq } = self.source.commits.turned(self.version);
        let response = wire::WatchResponse { epoch, seq, part: part.into(), upserts, deletes };
        match timeout(TAKE_TIMEOUT, self.responses.send(Ok(response))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                tracing::warn!("a watcher takes nothing for {TAKE_TIMEOUT:?}, gives it up");
                Err(Gone)
            }
        }
    }
}
