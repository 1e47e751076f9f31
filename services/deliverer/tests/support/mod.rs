//! A deliverer on a real queue, with a configuration that the test writes, delivering to a real receiver.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millrace_deliverer::Settings;
use millrace_domain::{AccountSid, ConfigVersion, Partition, SinkSid};
use millrace_proto::internal::{
    BacklogState, Chunk, ChunkEvent, ConfigAccount, ConfigSink, DropReport, DropReports, Resource,
    Variant, resource,
};
use millrace_queue::{
    Class, Park, ParkedId, Queue, Report, ReportKind, Settlement, Token, chunk,
    sqlite::{SqliteOptions, SqliteQueue},
};
use millrace_runtime::{Process, config::MaskedSecret};
use millrace_testkit::eventually::eventually_eq;
use millrace_watch::{Configuration, Watch};
use prost::Message;
use uuid::Uuid;

pub(crate) const ACCOUNT: AccountSid = AccountSid::from_u128(1);
pub(crate) const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const PARTITIONS: u16 = 4;

/// A queue in memory.
pub(crate) async fn queue() -> Arc<dyn Queue> {
    let options = SqliteOptions { partitions: PARTITIONS, ..SqliteOptions::default() };
    Arc::new(SqliteQueue::open(options).await.expect("a queue in memory"))
}

/// Settings with everything shrunk, so that tests wait little.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.queue.partitions = PARTITIONS;
    settings.internal.token = MaskedSecret::new("an internal token of the test");
    settings.deliverer.lease = Duration::from_secs(3);
    settings.deliverer.renew = Duration::from_millis(200);
    settings.deliverer.quiet = Duration::from_millis(100);
    settings.delivery.allow_http = true;
    settings.delivery.allow_cidrs = vec!["127.0.0.0/8".parse().expect("a network")];
    settings.delivery.backoff_base = Duration::from_millis(50);
    settings.delivery.backoff_cap = Duration::from_millis(400);
    settings.delivery.gather = Duration::from_millis(50);
    settings
}

/// A sink of [`ACCOUNT`].
pub(crate) fn sink(number: u128, destination: &str, batch_events: bool) -> Resource {
    let json = serde_json::json!({"sink_type": "webhook", "destination": destination, "method": "POST", "batch_events": batch_events});
    Resource {
        resource: Some(resource::Resource::Sink(ConfigSink {
            sid: sid(number).to_string(),
            account_sid: ACCOUNT.to_string(),
            deleted: false,
            configuration_json: json.to_string(),
            signing_secret: SIGNING_SECRET.to_owned(),
            ..ConfigSink::default()
        })),
    }
}

/// The tombstone of a sink.
pub(crate) fn tombstone(number: u128) -> Resource {
    let mut resource = sink(number, "http://127.0.0.1:1/", false);
    if let Some(resource::Resource::Sink(sink)) = &mut resource.resource {
        sink.deleted = true;
    }
    resource
}

/// A configuration that has the account and `resources`.
pub(crate) fn watch(resources: Vec<Resource>) -> Watch {
    let account = ConfigAccount {
        sid: ACCOUNT.to_string(),
        status: "active".to_owned(),
        auth_token: AUTH_TOKEN.to_owned(),
        ..ConfigAccount::default()
    };
    let account = Resource { resource: Some(resource::Resource::Account(account)) };
    Watch::fixed(Configuration::of(
        ConfigVersion { epoch: 1, seq: 1 },
        [vec![account], resources].concat(),
    ))
}

/// A deliverer that runs until it is stopped.
pub(crate) struct Deliverer {
    pub(crate) process: Process,
}

impl Deliverer {
    pub(crate) async fn start(settings: &Settings, queue: &Arc<dyn Queue>, watch: Watch) -> Self {
        let process = Process::default();
        millrace_deliverer::build(settings, Arc::clone(queue), watch, &process)
            .await
            .expect("a deliverer");
        Self { process }
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.process.tasks.stop(Duration::from_secs(20)).await.expect("it ends in time");
    }
}

/// SID of a sink.
pub(crate) fn sid(number: u128) -> SinkSid {
    SinkSid::from_u128(number)
}

/// Home of [`ACCOUNT`].
pub(crate) fn home() -> Partition {
    Partition::home_of(ACCOUNT, PARTITIONS)
}

/// Publishes events of these ids to these sinks, in one chunk.
pub(crate) async fn publish(
    queue: &Arc<dyn Queue>,
    ids: impl IntoIterator<Item = String>,
    sinks: &[u128],
) {
    let chunk =
        Chunk { config_seq: 1, events: ids.into_iter().map(|id| event(id, sinks)).collect() };
    queue.append(home(), chunk::encode(&chunk)).await.expect("room");
}

/// `a-0` … `a-(n-1)`.
pub(crate) fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}-{n}")).collect()
}

/// Waits until nothing is unsettled and nothing is parked.
pub(crate) async fn until_all_is_settled(queue: &Arc<dyn Queue>) {
    eventually_eq((0, 0), || async {
        (
            queue.depth().await.expect("a depth"),
            queue.backlogs(home()).await.expect("backlogs").len(),
        )
    })
    .await;
}

/// What was dropped so far.
pub(crate) async fn drops(queue: &Arc<dyn Queue>) -> Vec<DropReport> {
    dropped_in(queue.reports(ReportKind::Drops, "test", 1_000).await.expect("reports"))
}

pub(crate) fn dropped_in(reports: Vec<Report>) -> Vec<DropReport> {
    reports
        .into_iter()
        .flat_map(|report| DropReports::decode(report.body).expect("a report").drops)
        .collect()
}

/// Parks a chunk of one event for sink 1, as an owner before would have.
pub(crate) async fn park(queue: &Arc<dyn Queue>, class: Class, chunk: Bytes) {
    let (token, now) = (Token(Uuid::now_v7()), queue.now().await.expect("a time"));
    queue.acquire(&[home()], token, Duration::from_secs(5)).await.expect("a lease");
    let park = Park {
        sink: sid(1),
        id: ParkedId(Uuid::now_v7()),
        class,
        at: now,
        expires: now.plus(Duration::from_secs(3600)),
        chunk,
    };
    let state = BacklogState {
        events: 1,
        bytes: 12,
        account: chunk::account_bytes(ACCOUNT),
        ..BacklogState::default()
    };
    let settlement = Settlement {
        parks: vec![park],
        backlogs: vec![(sid(1), Some(state))],
        ..Settlement::default()
    };
    queue.settle(home(), token, &settlement).await.expect("settled");
    queue.release(&[home()], token).await.expect("released");
}

/// A parked chunk of one event, accepted now.
pub(crate) async fn parked_event(queue: &Arc<dyn Queue>, id: &str) -> Bytes {
    let mut event = event(id.to_owned(), &[1]);
    event.accepted_ms = queue.now().await.expect("a time").as_millis();
    chunk::encode(&Chunk { config_seq: 0, events: vec![event] })
}

fn event(id: String, sinks: &[u128]) -> ChunkEvent {
    ChunkEvent {
        account: chunk::account_bytes(ACCOUNT),
        r#type: "com.example.a".to_owned(),
        variants: vec![Variant {
            schema_version: 1,
            event: Bytes::from(format!(
                r#"{{"specversion":"1.0","type":"com.example.a","source":"/a","id":"{id}","data":{{}}}}"#
            )),
            sinks: chunk::sinks_bytes(sinks.iter().map(|number| sid(*number))),
        }],
        id,
        ..ChunkEvent::default()
    }
}
