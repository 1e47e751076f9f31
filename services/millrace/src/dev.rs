//! `millrace dev`: the same three services in one process, on one port, on SQLite. Nothing to install.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use clap::Args;
use millrace_control_plane::{Backing, Barrier, QueueHandle};
use millrace_domain::{Account, AccountStatus, ConfigVersion, Timestamp};
use millrace_queue::sqlite::{SqliteOptions, SqliteQueue};
use millrace_runtime::{
    Process, clock,
    config::MaskedSecret,
    grpc::standard_routes,
    server,
    telemetry::{self, LogFormat, LogSettings},
};
use millrace_store::{
    Error as StoreError, Keyring, ResourceStore,
    audit::{Actor, acting_as},
    logs, sqlite,
};
use millrace_watch::{Client, View, Watch};

use self::{
    data::{DataDirectory, Place},
    identity::Identity,
    settings::{control_plane_settings, deliverer_settings, sections},
};

mod data;
mod identity;
mod settings;

pub(crate) use identity::random_hex;

/// File of the data directory that keeps the resources.
const RESOURCES: &str = "resources.sqlite";
/// Partitions of the embedded queue: plenty for one process.
const PARTITIONS: u16 = 16;
/// Longest wait for the services to be ready, and for a change to be in force in all of them.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for open requests at the end.
const GRACE: Duration = Duration::from_secs(10);

/// Runs everything in one process, on files, with nothing to install.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Webhooks to loopback addresses and plain http are allowed. Prints `ready` alone on standard output when it serves."
)]
pub(crate) struct DevArgs {
    /// Address of REST and gRPC of all services.
    #[arg(long, env = "MILLRACE__DEV__LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Where everything is kept; one process at a time. Default: `millrace` in the user's data directory.
    #[arg(long, env = "MILLRACE__DEV__DATA_DIR", conflicts_with = "ephemeral")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep nothing.
    #[arg(long, env = "MILLRACE__DEV__EPHEMERAL")]
    pub(crate) ephemeral: bool,
    /// The account to make, `AC` and 32 hex digits. Default: a new one, kept in the data directory.
    #[arg(long, env = "MILLRACE__DEV__ACCOUNT_SID")]
    pub(crate) account_sid: Option<String>,
    /// Its auth token, 32 to 128 printable characters.
    #[arg(long, env = "MILLRACE__DEV__AUTH_TOKEN", hide_env_values = true)]
    pub(crate) auth_token: Option<String>,
    /// The platform key, at least 16 characters.
    #[arg(long, env = "MILLRACE__DEV__PLATFORM_KEY", hide_env_values = true)]
    pub(crate) platform_key: Option<String>,
    /// One setting of the sections `delivery`, `sinks`, `logs`, `limits`, `rest` and `telemetry`, such as `delivery.timeout=1s`; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// What to log, such as `info`.
    #[arg(long, env = "MILLRACE__DEV__LOG", default_value = "warn")]
    pub(crate) log: String,
}

impl DevArgs {
    /// On a free port, keeping nothing, with an account of its own.
    pub(crate) fn ephemeral() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            data_dir: None,
            ephemeral: true,
            account_sid: None,
            auth_token: None,
            platform_key: None,
            set: Vec::new(),
            log: "warn".to_owned(),
        }
    }
}

/// All services, running.
pub(crate) struct Dev {
    /// Ends them.
    pub(crate) process: Process,
    /// Where they serve.
    pub(crate) address: SocketAddr,
    /// Who may use them.
    pub(crate) identity: Identity,
    /// Holds the lock of the data directory until the process ends.
    _place: Place,
}

impl Dev {
    /// URL of REST and gRPC.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends everything in order.
    ///
    /// # Errors
    /// If something does not end in time.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let stopped = self.process.tasks.stop(GRACE * 2).await;
        stopped.map_err(|_| anyhow::anyhow!("some tasks did not end within {:?}", GRACE * 2))
    }
}

/// Runs until it is told to stop.
pub(crate) async fn command(args: DevArgs) -> anyhow::Result<ExitCode> {
    let log = LogSettings { format: LogFormat::Auto, filter: args.log.clone() };
    let (of_delivery, _) = sections(&args.set)?;
    let traced = deliverer_settings(&of_delivery)?.telemetry;
    traced.check()?;
    let telemetry = telemetry::init(&log)?.with_traces(&traced, "millrace-dev")?;
    let dev = start(args).await?;
    eprintln!("{}", introduction(&dev));
    println!("ready");
    let ended = dev.process.run(GRACE * 2).await;
    telemetry.flush().await;
    ended.map(|()| ExitCode::SUCCESS)
}

/// Starts everything, and returns when it serves.
///
/// # Errors
/// An address that is taken, a data directory in use, a wrong flag: each says what to do.
pub(crate) async fn start(args: DevArgs) -> anyhow::Result<Dev> {
    let place = if args.ephemeral {
        Place::Memory
    } else {
        Place::Directory(DataDirectory::open(args.data_dir.clone())?)
    };
    let identity = identity::of(&args, &place)?;
    let (of_delivery, of_resources) = sections(&args.set)?;
    let mut deliverer = deliverer_settings(&of_delivery)?;
    let listener = server::bind(&args.listen).await?;
    let address = listener.local_addr()?;

    let (backing, queue) = open(&place, &identity).await?;
    ensure_account(backing.store.as_ref(), &identity).await?;
    let token = MaskedSecret::new(identity::random_hex::<32>());
    let process = Process::default();
    let router_watch = watch(address, &token, View::Router, &process)?;
    let deliverer_watch = watch(address, &token, View::Deliverer, &process)?;

    let barrier = InProcess { watches: vec![router_watch.clone(), deliverer_watch.clone()] };
    let control_plane = millrace_control_plane::build(
        &control_plane_settings(&identity, &token, &deliverer, &of_resources)?,
        backing,
        &process,
        Some(Arc::new(barrier)),
    )
    .await?;
    let mut router = millrace_router::Settings::default();
    router.internal.token = token.clone();
    router.queue.partitions = PARTITIONS;
    let router =
        millrace_router::build(&router, Arc::clone(&queue), router_watch.clone(), &process)?;
    deliverer.internal.token = token;
    deliverer.deliverer.advertise = reached_at(address);
    deliverer.queue.partitions = PARTITIONS;
    deliverer.check()?;
    let deliverer =
        millrace_deliverer::build(&deliverer, queue, deliverer_watch.clone(), &process).await?;

    let names: Vec<&'static str> =
        [control_plane.grpc_services, router.grpc_services, millrace_deliverer::GRPC_SERVICES]
            .concat();
    let standard =
        standard_routes(&names, millrace_proto::DESCRIPTORS, &process.readiness, &process.tasks)
            .await?;
    let routes = control_plane.routes.merge(router.routes).merge(deliverer.routes).merge(standard);
    process.serve("dev", listener, millrace_control_plane::with_fallback(routes))?;
    ready(&process, [router_watch, deliverer_watch]).await?;
    Ok(Dev { process, address, identity, _place: place })
}

async fn open(
    place: &Place,
    identity: &Identity,
) -> anyhow::Result<(Backing, Arc<dyn millrace_queue::Queue>)> {
    let keyring = Keyring::parse(identity.seal_key.reveal())?;
    let (resources, events) = (place.file(RESOURCES), place.file("queue.sqlite"));
    let history = place.file("logs.sqlite");
    for file in [&resources, &events, &history].into_iter().flatten() {
        data::keep_private(file)?;
    }
    let store = match resources {
        Some(file) => sqlite::open(&file, keyring).await?,
        None => sqlite::open_ephemeral(keyring).await?,
    };
    let options =
        SqliteOptions { path: events, partitions: PARTITIONS, ..SqliteOptions::default() };
    let logs = match history {
        Some(file) => logs::open_sqlite(&file).await?,
        None => logs::open_sqlite_ephemeral().await?,
    };
    let queue: Arc<dyn millrace_queue::Queue> = Arc::new(SqliteQueue::open(options).await?);
    let handle = QueueHandle::of(Arc::clone(&queue));
    Ok((Backing { store: Arc::new(store), logs: Arc::new(logs), queue: handle }, queue))
}

/// Makes the account, unless it is there.
async fn ensure_account(store: &dyn ResourceStore, identity: &Identity) -> anyhow::Result<()> {
    match store.account(identity.account_sid).await {
        Ok(account) if account.takes(&identity.auth_token.sha256()) => return Ok(()),
        Ok(_) => anyhow::bail!(
            "account {} is in the data directory with another auth token: give that, or another --data-dir",
            identity.account_sid
        ),
        Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let now = Timestamp::from_millis(clock::now_millis());
    let account = Account {
        sid: identity.account_sid,
        parent: None,
        friendly_name: "millrace dev".to_owned(),
        status: AccountStatus::Active,
        auth_token: identity.auth_token.clone(),
        secondary_auth_token: None,
        created: now,
        updated: now,
    };
    acting_as(Actor::Process("dev"), store.create_account(&account)).await?;
    Ok(())
}

/// Where this process reaches its own server: one that listens on every address is reached on loopback.
fn reached_at(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("127.0.0.1:{}", address.port())
    } else {
        address.to_string()
    }
}

fn watch(
    address: SocketAddr,
    token: &MaskedSecret,
    view: View,
    process: &Process,
) -> anyhow::Result<Watch> {
    let host = reached_at(address);
    let (client, watch) =
        Client::new(millrace_watch::connect(&format!("http://{host}"))?, token.reveal(), view)?;
    process.tasks.spawn("watch-configuration", |stopping| async move {
        client.run(stopping.cancelled_owned()).await;
        Ok(())
    });
    Ok(watch)
}

async fn ready(process: &Process, watches: [Watch; 2]) -> anyhow::Result<()> {
    let all = async {
        for watch in watches {
            watch.changed().wait_for(Option::is_some).await?;
        }
        process.readiness.watch().wait_for(|ready| *ready).await?;
        anyhow::Ok(())
    };
    let waited = tokio::time::timeout(READY_TIMEOUT, all).await;
    waited.with_context(|| {
        format!("not ready after {READY_TIMEOUT:?}: {}", process.readiness.missing().join(", "))
    })?
}

/// A change is answered when router and deliverer of this process have it.
struct InProcess {
    watches: Vec<Watch>,
}

#[async_trait]
impl Barrier for InProcess {
    async fn reached(&self, version: ConfigVersion) {
        for watch in &self.watches {
            watch.reached(version, READY_TIMEOUT).await;
        }
    }
}

fn introduction(dev: &Dev) -> String {
    let Identity { account_sid, auth_token, platform_key, .. } = &dev.identity;
    let (url, auth_token) = (dev.url(), auth_token.reveal());
    format!(
        "Millrace serves REST and gRPC on {url}

  account SID   {account_sid}
  auth token    {auth_token}
  platform key  {}

Try, in another terminal:

  millrace listen --listen 127.0.0.1:4000
  curl -u {account_sid}:{auth_token} {url}/v1/Sinks -d Description=mine -d SinkType=webhook \\
       --data-urlencode 'SinkConfiguration={{\"destination\":\"http://127.0.0.1:4000/\",\"method\":\"POST\"}}'
  millrace --server {url} --account-sid {account_sid} --auth-token {auth_token} \\
       subscriptions create --sink DG… --type com.twilio.messaging.message.sent --description mine

Ctrl-C ends it; what is not delivered yet is kept in the data directory (--ephemeral keeps nothing).",
        platform_key.reveal()
    )
}
