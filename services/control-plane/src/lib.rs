//! Control-plane: the resource API (REST as `events/v1`, gRPC `millrace.v1`), credentials, the catalogue, and the feed of
//! configuration to routers and deliverers.
//!
//! It is the only service that touches the database, through [`ResourceStore`], and keeps nothing else: replicas are equal.
//! A face (`rest`, `grpc`) reads a request, calls an operation (`sinks`, `subscriptions`, `catalog`, `accounts`) and writes
//! its answer; `status` turns one failure into both faces' errors.

use std::{error::Error as _, sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn};
use millrace_runtime::{Process, admin, grpc as standard, server, telemetry};
use millrace_store::{LogStore, OpenError, ResourceStore, logs::open_postgres, postgres};
use tokio::sync::{Semaphore, mpsc};

mod accounts;
mod announce;
mod attribution;
mod auth;
mod catalog;
mod commit;
pub mod config;
mod delivery;
mod explain;
mod grpc;
mod health;
mod history;
mod logs;
mod metrics;
pub mod operations;
mod paging;
mod quarantine;
mod queue;
mod random;
mod reports;
mod rest;
mod retention;
mod sinks;
mod status;
mod subscriptions;
mod throttle;
mod trace;
mod watch;

pub use commit::Barrier;
pub use config::Settings;
pub use queue::QueueHandle;

use accounts::Accounts;
use announce::Announcer;
use auth::Auth;
use catalog::Catalog;
use commit::Commits;
use delivery::Deliverers;
use explain::Explain;
use logs::Logs;
use quarantine::Quarantine;
use reports::{health::Health, problems::Problems, quota::Quota, storing::Storing, tally::Tally};
use rest::openapi::Documents;
use sinks::Sinks;
use subscriptions::Subscriptions;
use watch::{Source, Watch};

/// The wait before the database is tried again at start-up.
const OPEN_RETRY: Duration = Duration::from_secs(1);

/// Connections that read logs, besides `database.max_connections`; two more write them, one more
/// counts them.
const LOG_CONNECTIONS: u32 = 3;

/// News that waits to be told.
const NEWS_MAX: usize = 1_000;

/// Longest wait for a connection of the pool: while the database is away, callers are told so within it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the service stands on.
pub struct Backing {
    /// Resources and their change log.
    pub store: Arc<dyn ResourceStore>,
    /// What became of events.
    pub logs: Arc<dyn LogStore>,
    /// The queue, whose reports are kept.
    pub queue: QueueHandle,
}

/// What the process serves and what runs beside it.
pub struct Service {
    /// REST and gRPC, without a fallback: several services may share a port. See [`with_fallback`].
    pub routes: Router,
    /// Full names of the gRPC services, for health and reflection.
    pub grpc_services: &'static [&'static str],
}

/// The operations, for both faces.
pub(crate) struct App {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) logs: Logs,
    pub(crate) auth: Auth,
    pub(crate) sinks: Sinks,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) catalog: Catalog,
    pub(crate) accounts: Accounts,
    pub(crate) quarantine: Quarantine,
    pub(crate) explain: Explain,
    pub(crate) site: Site,
    pub(crate) documents: Documents,
}

/// What answers are made of: URLs, none of which ends with a slash, and whether secrets stand in them.
pub(crate) struct Site {
    pub(crate) public_url: Option<String>,
    pub(crate) schemas_url: Arc<str>,
    pub(crate) mask_secrets: bool,
}

/// Builds the service on what it stands on: gives its routes, and spawns its tasks on `process`; binds nothing. With a `barrier`, a
/// mutation answers after the barrier has its version, or after 5 s.
///
/// # Errors
/// A wrong setting.
pub async fn build(
    settings: &Settings,
    backing: Backing,
    process: &Process,
    barrier: Option<Arc<dyn Barrier>>,
) -> anyhow::Result<Service> {
    let checked = settings.check()?;
    let Backing { store, logs, queue } = backing;
    let commits = Commits::new(&checked.platform_keys, barrier);
    let schemas_url: Arc<str> = checked.schemas_url.into();
    let catalog = Catalog {
        store: Arc::clone(&store),
        commits: commits.clone(),
        registering: Arc::new(Semaphore::new(1)),
    };
    let (told, registered) = tokio::sync::watch::channel(false);
    let watch = Watch::new(
        Source {
            store: Arc::clone(&store),
            commits: commits.clone(),
            platform_keys: Arc::clone(&checked.platform_keys),
            schemas_url: Arc::clone(&schemas_url),
        },
        checked.internal_token,
        process.tasks.clone(),
        registered,
    );
    spawn_tasks(process, &store, &schemas_url, told);
    let (news, heard) = mpsc::channel(NEWS_MAX);
    let deliverers = Deliverers {
        queue: queue.clone(),
        partitions: settings.queue.partitions,
        token: settings.internal.token.clone(),
    };
    let storing = Storing::default();
    let task = LogTasks {
        store: &store,
        logs: &logs,
        queue: &queue,
        deliverers: &deliverers,
        schemas_url: &schemas_url,
        storing: &storing,
    };
    task.spawn(process, settings, heard);
    let app = Arc::new(App {
        explain: Explain {
            store: Arc::clone(&store),
            logs: Arc::clone(&logs),
            queue: queue.clone(),
            partitions: settings.queue.partitions,
            deliverers: deliverers.clone(),
            storing,
            checks: explain::Checks::default(),
        },
        auth: Auth::new(Arc::clone(&store), checked.platform_keys, checked.throttle),
        sinks: Sinks {
            store: Arc::clone(&store),
            commits: commits.clone(),
            policy: checked.policy,
            limit: settings.limits.sinks_per_account,
            files: settings.sinks.file.root().is_some(),
            role_accounts: millrace_domain::arn::RoleAccounts {
                allow: settings.sinks.kinesis.allow_accounts.clone(),
                refuse: settings.sinks.kinesis.refuse_accounts.clone(),
            },
            schemas_url: Arc::clone(&schemas_url),
            trials: sinks::Trials::default(),
            deliverers,
            news,
        },
        subscriptions: Subscriptions {
            store: Arc::clone(&store),
            commits: commits.clone(),
            catalog: catalog.clone(),
            limit: settings.limits.subscriptions_per_account,
        },
        accounts: Accounts {
            store: Arc::clone(&store),
            commits,
            keys_limit: settings.limits.api_keys_per_account,
            subaccounts_limit: settings.limits.subaccounts_per_account,
        },
        catalog,
        documents: Documents::new(checked.public_url.as_deref()),
        site: Site {
            public_url: checked.public_url,
            schemas_url,
            mask_secrets: settings.rest.mask_secrets,
        },
        quarantine: Quarantine {
            store: Arc::clone(&store),
            queue: queue.clone(),
            partitions: settings.queue.partitions,
        },
        logs: Logs {
            store: Arc::clone(&store),
            logs,
            queue,
            partitions: settings.queue.partitions,
            high_water_percent: settings.queue.high_water_percent,
            tasks: process.tasks.clone(),
        },
        store,
    });
    let routes = grpc::routes(&app, watch).merge(rest::routes(app));
    let routes = routes.layer(from_fn(attribution::attributed));
    Ok(Service { routes, grpc_services: &grpc::SERVICES })
}

/// Answers what none of the routes knows: with REST's 20404, or gRPC's UNIMPLEMENTED.
pub fn with_fallback(routes: Router) -> Router {
    routes.fallback(rest::not_found)
}

/// Runs control-plane as a process of its own, on Postgres and Redis, until it is told to stop.
///
/// # Errors
/// A wrong setting, before a port is bound; an address that is taken; a task that failed.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    settings.validate()?;
    let telemetry = telemetry::init(&settings.log)?
        .with_traces(&settings.telemetry, "millrace-control-plane")?;
    telemetry::describe(metrics::ALL);
    let process = Process::default();
    let (store, logs) = open(&settings).await?;
    let queue = QueueHandle::connecting(&settings.queue, &process.tasks)?;
    let backing = Backing { store, logs, queue };
    let service = build(&settings, backing, &process, None).await?;
    let descriptors = millrace_proto::DESCRIPTORS;
    let names = service.grpc_services;
    let (readiness, tasks) = (&process.readiness, &process.tasks);
    let standard = standard::standard_routes(names, descriptors, readiness, tasks).await?;
    let routes = with_fallback(service.routes.merge(standard));
    let admin = admin::routes(process.readiness.clone(), telemetry.metrics.clone());
    let listener = server::bind(&settings.control_plane.listen).await?;
    let admin_listener = server::bind(&settings.admin.listen).await?;
    process.serve("control-plane", listener, routes)?;
    process.serve("admin", admin_listener, admin)?;
    let ended = process.run(settings.shutdown.grace).await;
    telemetry.flush().await;
    ended
}

/// Opens the database, as often as it takes: it may start later than this process. Tables that are too old are an error.
async fn open(settings: &Settings) -> anyhow::Result<(Arc<dyn ResourceStore>, Arc<dyn LogStore>)> {
    let options = postgres::Options {
        max_connections: settings.database.max_connections,
        acquire_timeout: ACQUIRE_TIMEOUT,
    };
    let (url, keyring) = (settings.database.url.reveal(), settings.keyring()?);
    loop {
        let opened = async {
            let store = postgres::open(url, keyring.clone(), &options).await?;
            let few = postgres::Options { max_connections: LOG_CONNECTIONS, ..options.clone() };
            Ok((store, open_postgres(url, &few).await?))
        };
        match opened.await {
            Ok((store, logs)) => return Ok((Arc::new(store), Arc::new(logs))),
            Err(error @ OpenError::Connect { .. }) => {
                let cause = error.source();
                tracing::warn!(
                    cause,
                    "cannot open the database yet, tries again in {OPEN_RETRY:?}"
                );
                tokio::time::sleep(OPEN_RETRY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn spawn_tasks(
    process: &Process,
    store: &Arc<dyn ResourceStore>,
    schemas_url: &str,
    told: tokio::sync::watch::Sender<bool>,
) {
    let Process { tasks, readiness, .. } = process;
    readiness.set("catalogue", false);
    readiness.set("database", false);
    let (kept, url) = (Arc::clone(store), schemas_url.to_owned());
    let registered = catalog::seed::Registered { readiness: readiness.clone(), told };
    tasks.spawn("register-catalogue", |stopping| {
        catalog::seed::keep_registering(kept, url, registered, stopping)
    });
    let (kept, ready) = (Arc::clone(store), readiness.clone());
    tasks.spawn("probe-database", |stopping| health::keep_probing(kept, ready, stopping));
    let kept = Arc::clone(store);
    tasks.spawn("forget-sinks", |stopping| retention::keep_forgetting(kept, stopping));
    let kept = Arc::clone(store);
    tasks.spawn("forget-history", |stopping| history::keep_forgetting(kept, stopping));
}

/// What the tasks of the logs work with.
struct LogTasks<'a> {
    store: &'a Arc<dyn ResourceStore>,
    logs: &'a Arc<dyn LogStore>,
    queue: &'a QueueHandle,
    deliverers: &'a Deliverers,
    schemas_url: &'a Arc<str>,
    storing: &'a Storing,
}

impl LogTasks<'_> {
    fn spawn(
        self,
        process: &Process,
        settings: &Settings,
        news: mpsc::Receiver<announce::Announcement>,
    ) {
        let kept = Arc::clone(self.logs);
        process.tasks.spawn("keep-log-days", |stopping| reports::keep_days(kept, stopping));
        let host = std::env::var("HOSTNAME").unwrap_or_default();
        let (store, logs) = (Arc::clone(self.store), Arc::clone(self.logs));
        let partitions = settings.queue.partitions;
        let reports = reports::Reports {
            queue: self.queue.clone(),
            quota: Quota::new(settings.logs.dropped_bytes, settings.logs.dropped_events),
            health: Health::new(Arc::clone(&store), Arc::clone(&logs)),
            problems: Problems::new(Arc::clone(&logs)),
            tally: Tally::default(),
            announcer: Announcer::new(store, partitions, Arc::clone(self.schemas_url)),
            news,
            consumer: format!("{host}/{}", settings.control_plane.listen),
            storing: self.storing.clone(),
            logs,
        };
        let account = reports::account::Account {
            deliverers: self.deliverers.clone(),
            logs: Arc::clone(self.logs),
            storing: self.storing.clone(),
            open: reports::account::Open::default(),
            noted: Vec::new(),
        };
        process.tasks.spawn("keep-account-of-reports", |stopping| {
            reports::account::keep_account(account, stopping)
        });
        process.tasks.spawn("keep-reports", |stopping| reports::keep(reports, stopping));
    }
}
