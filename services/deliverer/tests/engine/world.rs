//! Everything that a test of the engine has: a queue, sinks, a configuration that changes, and deliverers that come and go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use millrace_deliverer::{Seams, Settings, build_with};
use millrace_domain::{AccountSid, ConfigVersion, Partition, SinkSid};
use millrace_proto::internal::{
    BacklogState, Chunk, ChunkEvent, ConfigAccount, ConfigSink, Resource, Variant, resource,
};
use millrace_queue::{Queue, chunk};
use millrace_runtime::{Process, config::MaskedSecret};
use millrace_sinks::Drivers;
use millrace_watch::{Configuration, Watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, Troubles},
    memory::MemoryQueue,
    sinks::{Scripted, Sinks},
};

pub(crate) const ACCOUNT: AccountSid = AccountSid::from_u128(1);
pub(crate) const PARTITIONS: u16 = 4;

/// SID of a sink.
pub(crate) fn sid(number: u128) -> SinkSid {
    SinkSid::from_u128(number)
}

/// Home of [`ACCOUNT`].
pub(crate) fn home() -> Partition {
    Partition::home_of(ACCOUNT, PARTITIONS)
}

/// `a-0` … `a-(n-1)`.
pub(crate) fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}-{n}")).collect()
}

/// A sink of [`ACCOUNT`] as the configuration feed tells of it.
pub(crate) fn sink(number: u128) -> ConfigSink {
    let json = r#"{"sink_type":"webhook","destination":"https://a.example/","method":"POST","batch_events":false}"#;
    ConfigSink {
        sid: sid(number).to_string(),
        account_sid: ACCOUNT.to_string(),
        configuration_json: json.to_owned(),
        signing_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
        ..ConfigSink::default()
    }
}

/// One that takes batches.
pub(crate) fn batched(number: u128) -> ConfigSink {
    let mut sink = sink(number);
    sink.configuration_json = sink.configuration_json.replace("false", "true");
    sink
}

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) troubles: Arc<Troubles>,
    show: Box<dyn Fn(Configuration)>,
    watch: Watch,
    version: AtomicU64,
    account_status: Mutex<&'static str>,
    configured: Mutex<BTreeMap<String, ConfigSink>>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut settings = Settings::default();
        settings.queue.partitions = PARTITIONS;
        settings.internal.token = MaskedSecret::new("an internal token of the test");
        settings.deliverer.lease = Duration::from_secs(3);
        settings.deliverer.renew = Duration::from_millis(900);
        let nothing = Configuration::empty(ConfigVersion { epoch: 1, seq: 1 });
        let (watch, show) = Watch::shown(nothing);
        Self {
            settings,
            queue: MemoryQueue::new(),
            sinks: Arc::default(),
            troubles: Troubles::new(seed),
            show: Box::new(show),
            watch,
            version: AtomicU64::new(1),
            account_status: Mutex::new("active"),
            configured: Mutex::default(),
        }
    }

    /// A world with these sinks.
    pub(crate) fn with(sinks: impl IntoIterator<Item = ConfigSink>) -> Self {
        let world = Self::new(0);
        sinks.into_iter().for_each(|sink| world.note(sink));
        world.tell();
        world
    }

    /// Changes a sink, or adds it.
    pub(crate) fn configure(&self, sink: ConfigSink) {
        self.note(sink);
        self.tell();
    }

    fn note(&self, sink: ConfigSink) {
        self.configured.lock().expect("no panic").insert(sink.sid.clone(), sink);
    }

    /// Has the configuration not know a sink.
    pub(crate) fn forget(&self, number: u128) {
        self.configured.lock().expect("no panic").remove(&sid(number).to_string());
        self.tell();
    }

    /// `active`, `suspended` or `closed`.
    pub(crate) fn set_account(&self, status: &'static str) {
        *self.account_status.lock().expect("no panic") = status;
        self.tell();
    }

    fn tell(&self) {
        let account = ConfigAccount {
            sid: ACCOUNT.to_string(),
            status: (*self.account_status.lock().expect("no panic")).to_owned(),
            auth_token: "0123456789abcdef0123456789abcdef".to_owned(),
            ..ConfigAccount::default()
        };
        let sinks = self.configured.lock().expect("no panic");
        let sinks = sinks.values().cloned().map(resource::Resource::Sink);
        let all = [resource::Resource::Account(account)].into_iter().chain(sinks);
        let resources = all.map(|resource| Resource { resource: Some(resource) }).collect();
        let seq = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        (self.show)(Configuration::of(ConfigVersion { epoch: 1, seq }, resources));
    }

    /// Starts a deliverer.
    pub(crate) async fn start(&self) -> Deliverer {
        let (process, dead) = (Process::default(), CancellationToken::new());
        let seams = || Seams {
            queue: Arc::new(Connection {
                queue: Arc::clone(&self.queue),
                troubles: Arc::clone(&self.troubles),
                dead: dead.clone(),
            }),
            watch: self.watch.clone(),
            drivers: Drivers::of_one(Arc::new(Scripted {
                sinks: Arc::clone(&self.sinks),
                dead: dead.clone(),
            })),
        };
        // A process that cannot ask the queue for its time ends, and is started again.
        while build_with(&self.settings, seams(), &process).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        Deliverer { process, dead }
    }

    /// Publishes events of these ids to these sinks, in one chunk.
    pub(crate) async fn publish(&self, ids: impl IntoIterator<Item = String>, sinks: &[u128]) {
        self.publish_sized(200, ids, sinks).await;
    }

    /// The same, of this type.
    pub(crate) async fn publish_of(
        &self,
        r#type: &str,
        ids: impl IntoIterator<Item = String>,
        sinks: &[u128],
    ) {
        self.append(r#type, 200, ids, sinks).await;
    }

    /// The same, of so many bytes each.
    pub(crate) async fn publish_sized(
        &self,
        bytes: usize,
        ids: impl IntoIterator<Item = String>,
        sinks: &[u128],
    ) {
        self.append("com.example.a", bytes, ids, sinks).await;
    }

    /// The same as [`Self::publish`], in a partition that is not the sinks' home: as if they had several.
    pub(crate) async fn publish_in(
        &self,
        partition: Partition,
        ids: impl IntoIterator<Item = String>,
        sinks: &[u128],
    ) {
        let chunk = chunk_of("com.example.a", 200, ids, sinks);
        self.queue.append(partition, chunk).await.expect("it has room");
    }

    async fn append(
        &self,
        r#type: &str,
        bytes: usize,
        ids: impl IntoIterator<Item = String>,
        sinks: &[u128],
    ) {
        let chunk = chunk_of(r#type, bytes, ids, sinks);
        self.queue.append(home(), chunk).await.expect("it has room");
    }

    /// What is known of a sink's backlog.
    pub(crate) fn backlog(&self, number: u128) -> Option<BacklogState> {
        self.queue.state().backlogs.get(&(home().0, sid(number))).cloned()
    }

    /// Waits, in the test's own time, until `holds`.
    pub(crate) async fn until(&self, what: &str, within: Duration, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + within;
        while !holds(self) {
            assert!(Instant::now() < deadline, "not in time: {what}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Nothing is unsettled and nothing is parked.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.queue.state();
        state.ready.is_empty() && state.backlogs.is_empty()
    }
}

fn chunk_of(
    r#type: &str,
    bytes: usize,
    ids: impl IntoIterator<Item = String>,
    sinks: &[u128],
) -> Bytes {
    let event = |id: String| ChunkEvent {
        account: chunk::account_bytes(ACCOUNT),
        r#type: r#type.to_owned(),
        variants: vec![Variant {
            schema_version: 1,
            event: Bytes::from(vec![b'x'; bytes]),
            sinks: chunk::sinks_bytes(sinks.iter().map(|number| sid(*number))),
        }],
        id,
        ..ChunkEvent::default()
    };
    chunk::encode(&Chunk { config_seq: 1, events: ids.into_iter().map(event).collect() })
}

/// A deliverer that runs.
pub(crate) struct Deliverer {
    process: Process,
    dead: CancellationToken,
}

impl Deliverer {
    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.process.tasks.stop(Duration::from_secs(600)).await.expect("it ends in time");
    }

    /// Kills it: from now on it reaches nobody.
    pub(crate) fn kill(self) {
        self.dead.cancel();
    }
}
