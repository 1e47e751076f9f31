//! The whole product, up and running, and what tests do with it whichever way it runs; the resources that they make there are
//! in [`make`].

use std::{path::PathBuf, sync::Mutex, time::Duration};

use millrace_proto::{
    internal::{
        ListPartitionsRequest, ListPartitionsResponse,
        delivery_service_client::DeliveryServiceClient,
    },
    v1::{Event, publish_result::Outcome},
};
use millrace_testkit::{eventually, postgres::Database, redis};
use tempfile::TempDir;

use crate::{
    Answer, Identity, Process, Publisher, Rest, embedded,
    publisher::{authorized, channel},
    servers::{self, Servers},
};

mod make;

pub use make::Sink;

/// How the product runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `millrace dev`: one process, on files.
    Embedded,
    /// Each service a process of its own, on Postgres and Redis.
    Servers,
}

/// What differs from one test to another.
pub struct Options {
    /// Control-planes, on servers; of several, the others find whichever is there at one address.
    pub control_planes: usize,
    /// Routers, on servers.
    pub routers: usize,
    /// Deliverers, on servers.
    pub deliverers: usize,
    /// Settings of the deliverer, such as `("delivery.timeout", "1s")`, of the queue for all, and of `limits` and `rest` for
    /// control-plane; the last of a name holds.
    pub settings: Vec<(&'static str, &'static str)>,
    /// What the environment of the deliverer has besides.
    pub environment: Vec<(&'static str, String)>,
    /// A database of the test's own making, on servers.
    pub database: Option<Database>,
    /// A Redis of the test's own, to break, on servers; none: the one that tests share.
    pub redis: Option<redis::ServerOptions>,
    /// Where the queue is instead, such as in a cluster of the test's own, on servers.
    pub queue_url: Option<String>,
    /// Where processes send what is recorded of traces: on servers, of those that a caller began, and their logs are JSON then;
    /// embedded, of all.
    pub collector: Option<String>,
    /// File of whom they trust to vouch for it, on servers.
    pub collector_ca: Option<PathBuf>,
    /// Whether there is a gate between deliverers and control-plane, on servers.
    pub gate: bool,
    /// What all processes begin as, instead of the program under test, on servers.
    pub program: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        // As in production, but what a test would wait for comes sooner.
        let settings = vec![
            ("deliverer.lease", "6s"),
            ("deliverer.renew", "1s"),
            ("delivery.backoff_base", "200ms"),
            ("delivery.backoff_cap", "2s"),
        ];
        Self {
            control_planes: 1,
            routers: 1,
            deliverers: 1,
            settings,
            environment: Vec::new(),
            database: None,
            redis: None,
            queue_url: None,
            collector: None,
            collector_ca: None,
            gate: false,
            program: None,
        }
    }
}

impl Options {
    /// Adds settings of the deliverer.
    #[must_use]
    pub fn set(mut self, settings: &[(&'static str, &'static str)]) -> Self {
        self.settings.extend_from_slice(settings);
        self
    }
}

/// One of a stack's processes. Embedded, all are the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The control-plane.
    ControlPlane,
    /// A router, by number.
    Router(usize),
    /// A deliverer, by number.
    Deliverer(usize),
}

/// The product; ends when it is dropped, its data with it.
pub struct Stack {
    /// Who may use it.
    pub identity: Identity,
    nodes: Nodes,
    /// The newest version of the configuration that a change of this test made.
    version: Mutex<Option<String>>,
    _directory: TempDir,
}

pub(crate) enum Nodes {
    Embedded { process: Box<Process>, url: String },
    Servers(Box<Servers>),
}

impl Stack {
    /// Brings it up, with one account, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not start; with what to install, or with its logs.
    pub async fn start(mode: Mode, options: Options) -> Self {
        let (identity, directory) =
            (Identity::default(), tempfile::tempdir().expect("a directory"));
        let nodes = match mode {
            Mode::Embedded => embedded::start(&identity, &options, directory.path()).await,
            Mode::Servers => {
                let servers = servers::start(&identity, options, directory.path()).await;
                Nodes::Servers(Box::new(servers))
            }
        };
        Self { identity, nodes, version: Mutex::default(), _directory: directory }
    }

    /// One of its processes.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn process(&mut self, kind: Kind) -> &mut Process {
        match &mut self.nodes {
            Nodes::Embedded { process, .. } => process,
            Nodes::Servers(servers) => servers.process(kind),
        }
    }

    /// One of its processes, to be looked at.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn process_ref(&self, kind: Kind) -> &Process {
        match &self.nodes {
            Nodes::Embedded { process, .. } => process,
            Nodes::Servers(servers) => servers.process_ref(kind),
        }
    }

    /// What runs on servers, and only there.
    ///
    /// # Panics
    /// Embedded.
    pub fn servers(&mut self) -> &mut Servers {
        match &mut self.nodes {
            Nodes::Embedded { .. } => panic!("embedded, there is one process"),
            Nodes::Servers(servers) => servers,
        }
    }

    /// URL of one of its services.
    pub fn url(&self, kind: Kind) -> String {
        match &self.nodes {
            Nodes::Embedded { url, .. } => url.clone(),
            Nodes::Servers(servers) => servers.url(kind),
        }
    }

    /// REST with the account's credentials.
    pub fn rest(&self) -> Rest {
        self.rest_as(Some(&self.identity.basic()))
    }

    /// REST with any credentials.
    pub fn rest_as(&self, authorization: Option<&str>) -> Rest {
        Rest::new(&self.url(Kind::ControlPlane), authorization)
    }

    /// Producers that may publish for every account, one at each router.
    pub fn platform_publishers(&self) -> Vec<Publisher> {
        let router = |number| self.url(Kind::Router(number));
        let routers = (0..self.routers()).map(router);
        routers.map(|url| Publisher::new(&url, &self.identity.bearer())).collect()
    }

    /// A producer with the account's credentials, at a router.
    pub fn publisher(&self, router: usize) -> Publisher {
        Publisher::new(&self.url(Kind::Router(router)), &self.identity.basic())
    }

    /// Waits until all routers have what this test changed.
    pub async fn settled(&self) {
        let version = self.version.lock().expect("not poisoned").clone();
        let Some(version) = version else { return };
        for router in 0..self.routers() {
            let publisher = self.publisher(router);
            eventually("the router knows", || async {
                publisher.publish_after(&version, Vec::new()).await.ok()
            })
            .await;
        }
    }

    /// Publishes by gRPC at the first router.
    ///
    /// # Panics
    /// If an event is not accepted.
    pub async fn publish(&self, events: impl IntoIterator<Item = Event>) {
        let answer = self.publisher(0).publish(events.into_iter().collect()).await;
        let results = answer.expect("the router answers").results;
        for result in results {
            let accepted = matches!(result.outcome, Some(Outcome::Accepted(_)));
            assert!(accepted, "not accepted: {result:?}");
        }
    }

    /// What a deliverer owns.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn partitions(&self, deliverer: usize) -> ListPartitionsResponse {
        let url = self.url(Kind::Deliverer(deliverer));
        let request = format!("Bearer {}", self.identity.internal_token);
        let mut request = authorized(ListPartitionsRequest {}, &request);
        request.set_timeout(Duration::from_secs(10));
        let answer = DeliveryServiceClient::new(channel(&url)).list_partitions(request).await;
        answer.expect("the deliverer answers").into_inner()
    }

    fn routers(&self) -> usize {
        match &self.nodes {
            Nodes::Embedded { .. } => 1,
            Nodes::Servers(servers) => servers.routers(),
        }
    }

    /// Has [`Stack::settled`] wait for a change, which was answered so.
    ///
    /// # Panics
    /// If it was none.
    pub fn note(&self, answer: &Answer) {
        let version = answer.version.clone().expect("a change tells its version");
        *self.version.lock().expect("not poisoned") = Some(version);
    }
}
