//! The services as commands of the one binary, and what an installation needs before them.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use millrace_domain::Secret;
use millrace_runtime::{
    config::{self, MaskedSecret, SettingsArgs},
    telemetry::{self, LogFormat, LogSettings},
};
use millrace_store::{Keyring, OpenError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::dev::random_hex;

/// Pause between tries to reach the database.
const WAIT_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the answer of a service.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// The services, and what an installation needs.
#[derive(Subcommand)]
pub(crate) enum ServiceCommand {
    /// Runs control-plane: resources by REST and gRPC, on Postgres.
    ControlPlane(SettingsArgs),
    /// Runs a router: accepts events by gRPC and HTTP, on Redis.
    Router(SettingsArgs),
    /// Runs a deliverer: delivers events to sinks, on Redis.
    Deliverer(SettingsArgs),
    /// Brings the database to this release, or makes a key.
    Migrate(MigrateArgs),
    /// Asks a service whether it is ready; the exit status tells. For health checks where no other program is.
    Ready(ReadyArgs),
}

/// Asks a service whether it is ready.
#[derive(Args)]
pub(crate) struct ReadyArgs {
    /// Its admin address, such as `127.0.0.1:9080`.
    #[arg(value_name = "HOST:PORT")]
    admin: String,
}

/// Brings the database to this release; a repeat does nothing.
#[derive(Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How long to try again while the database does not answer, such as `5m`; without it, not at all.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// How long to try again while others hold locks that a step needs; each try gives up after 2 s, so that nobody queues
    /// behind it for long.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "2m")]
    lock_wait: Duration,
    /// The database was restored from a backup: it gets a new epoch, by which routers and deliverers know to take its
    /// configuration anew.
    #[arg(long)]
    restored: bool,
    /// Print a new platform key, and its SHA-256 for `control_plane.platform_keys`, and do nothing else.
    #[arg(long)]
    new_platform_key: bool,
    /// Print a new key for `seal.keys` under this id, and do nothing else.
    #[arg(long, value_name = "ID")]
    new_seal_key: Option<String>,
}

/// The settings of `migrate`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MigrateSettings {
    database: DatabaseSettings,
}

/// Section `database`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DatabaseSettings {
    /// `postgres://user:password@host/name`.
    url: MaskedSecret,
}

/// What `migrate` logs: what it works on for long, and what it found.
const MIGRATE_LOG: &str = "warn,millrace_store=info";

/// Runs a service until it is told to stop.
///
/// # Errors
/// Settings, servers or ports that cannot be used.
pub(crate) async fn run(command: ServiceCommand) -> anyhow::Result<ExitCode> {
    match command {
        ServiceCommand::ControlPlane(args) => {
            let settings = config::load(&millrace_control_plane::Settings::default(), &args)?;
            if args.check {
                settings.validate()?;
                config::print(&settings)?;
            } else {
                millrace_control_plane::run(settings).await?;
            }
        }
        ServiceCommand::Router(args) => {
            let settings = config::load(&millrace_router::Settings::default(), &args)?;
            if args.check {
                settings.validate()?;
                config::print(&settings)?;
            } else {
                millrace_router::run(settings).await?;
            }
        }
        ServiceCommand::Deliverer(args) => {
            let settings = config::load(&millrace_deliverer::Settings::default(), &args)?;
            if args.check {
                settings.validate()?;
                config::print(&settings)?;
            } else {
                millrace_deliverer::run(settings).await?;
            }
        }
        ServiceCommand::Migrate(args) => migrate(args).await?,
        ServiceCommand::Ready(args) => ready(&args.admin).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn migrate(args: MigrateArgs) -> anyhow::Result<()> {
    if args.new_platform_key {
        let key = Secret::new(random_hex::<24>());
        println!("platform key  {}\nSHA-256       {}", key.reveal(), key.sha256().to_hex());
        return Ok(());
    }
    if let Some(id) = &args.new_seal_key {
        println!("{}", Keyring::generate(id).reveal());
        return Ok(());
    }
    let settings = config::load(&MigrateSettings::default(), &args.settings)?;
    if args.settings.check {
        return config::print(&settings);
    }
    let filter = MIGRATE_LOG.to_owned();
    telemetry::init(&LogSettings { filter, format: LogFormat::Auto })?;
    anyhow::ensure!(
        !settings.database.url.is_empty(),
        "wrong setting `database.url`: give the URL of a PostgreSQL database, such as `--set database.url=postgres://user:password@host/millrace`"
    );
    migrate_within(settings.database.url.reveal(), &args).await?;
    println!("the database is up to date");
    if args.restored {
        println!("it has a new epoch: routers and deliverers take its configuration anew");
    }
    Ok(())
}

/// Migrates, again and again for as long as it was told to: while the database does not answer, and while others hold locks.
async fn migrate_within(url: &str, args: &MigrateArgs) -> Result<(), OpenError> {
    let started = Instant::now();
    let mut told = false;
    loop {
        let tried = match args.restored {
            true => millrace_store::postgres::restored(url).await,
            false => millrace_store::postgres::migrate(url).await,
        };
        let patience = match &tried {
            Err(OpenError::Connect { .. }) => args.wait.unwrap_or_default(),
            Err(OpenError::Locked { .. }) => args.lock_wait,
            _ => Duration::ZERO,
        };
        match tried {
            Err(error) if started.elapsed() < patience => {
                if !std::mem::replace(&mut told, true) {
                    eprintln!("{:#}; tries again", anyhow::Error::from(error));
                }
            }
            done => return done,
        }
        sleep(WAIT_PAUSE).await;
    }
}

/// Fails unless the service with this admin address is ready.
async fn ready(admin: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(READY_TIMEOUT).no_proxy().build()?;
    let response = client.get(format!("http://{admin}/readyz")).send().await?;
    let is_ready = response.status().is_success();
    let answer = response.text().await?;
    anyhow::ensure!(is_ready, "{}", answer.trim_end());
    println!("{}", answer.trim_end());
    Ok(())
}
