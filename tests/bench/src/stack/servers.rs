//! The services as processes of their own, on a private Redis and a private PostgreSQL.

use std::{path::Path, time::Duration};

use anyhow::Result;
use millrace_domain::{Secret, secret::SecretHash};
use millrace_testkit::{
    postgres::{self, Database},
    redis::{self, ServerOptions},
};
use tempfile::TempDir;

use super::{Stack, command, free_address, random_key};
use crate::{child::Child, redis::Redis, setup::Api};

/// What deliverers are called in the report.
const DELIVERERS: [&str; 4] = ["deliverer", "deliverer-2", "deliverer-3", "deliverer-4"];
/// Longest time the database takes to be made.
const MIGRATE_PATIENCE: Duration = Duration::from_secs(60);

/// The servers that Millrace stands on. Databases are declared before their server, to end before it.
pub(super) struct Backing {
    database: Database,
    postgres: postgres::Server,
    redis: redis::Server,
}

impl Backing {
    async fn start() -> Result<Self> {
        let postgres = tokio::task::spawn_blocking(postgres::Server::start_durable).await??;
        let database = postgres.database().await?;
        let redis =
            redis::Server::start(ServerOptions { durable: true, ..ServerOptions::default() })
                .await?;
        // As most installations have it; what is at risk is what two seconds bring.
        redis.configure("appendfsync", "everysec").await?;
        Ok(Self { database, postgres, redis })
    }

    /// How to ask the Redis.
    pub(super) fn redis(&self) -> Redis {
        Redis::on(self.redis.port())
    }

    /// Runs statements in the database.
    pub(super) async fn execute(&self, sql: &str) -> Result<()> {
        self.database.execute(sql).await
    }

    /// Transactions that the PostgreSQL has ended.
    pub(super) async fn transactions(&self) -> Result<u64> {
        self.database.transactions().await
    }

    /// Their processes.
    pub(super) fn pids(&self) -> Vec<(&'static str, u32)> {
        let of = |name, pid: Option<u32>| pid.map(|pid| (name, pid));
        let pids =
            [of("redis", self.redis.process_id()), of("postgres", self.postgres.process_id())];
        pids.into_iter().flatten().collect()
    }
}

pub(super) async fn start(
    millrace: &Path,
    settings: &[(&str, &str)],
    deliverers: usize,
) -> Result<Stack> {
    let backing = Backing::start().await?;
    let directory = tempfile::Builder::new().prefix("millrace-bench-").tempdir()?;
    let platform_key = random_key("platform-")?;
    let installation = Installation {
        millrace,
        directory: &directory,
        control_plane: free_address()?,
        token: random_key("token-")?,
        redis_url: backing.redis.url(),
        database_url: backing.database.url().to_owned(),
    };
    installation.migrate().await?;
    let router = free_address()?;
    let mut services =
        vec![installation.control_plane(&platform_key).await?, installation.router(&router).await?];
    for name in DELIVERERS.iter().take(deliverers) {
        services.push(installation.deliverer(name, settings).await?);
    }
    let api = Api {
        url: format!("http://{}", installation.control_plane),
        publish_url: format!("http://{router}"),
        platform_key,
    };
    Ok(Stack { api, services, backing: Some(backing), _directory: directory })
}

/// What the services of one installation have in common.
struct Installation<'a> {
    millrace: &'a Path,
    directory: &'a TempDir,
    control_plane: String,
    token: String,
    redis_url: String,
    database_url: String,
}

impl Installation<'_> {
    async fn migrate(&self) -> Result<()> {
        let command = command(self.millrace, "migrate", &[("database.url", &self.database_url)]);
        let migrate = Child::spawn("migrate", command, self.directory.path())?;
        migrate.ended(MIGRATE_PATIENCE).await.map(drop)
    }

    async fn control_plane(&self, platform_key: &str) -> Result<Child> {
        let hash = SecretHash::of(platform_key).to_hex();
        let seal_key = self.seal_key().await?;
        let settings = [
            ("control_plane.listen", self.control_plane.as_str()),
            ("control_plane.platform_keys", &format!("[\"{hash}\"]")),
            ("database.url", &self.database_url),
            ("queue.url", &self.redis_url),
            ("seal.keys", seal_key.reveal()),
            ("delivery.allow_http", "true"),
            ("delivery.allow_cidrs", "[\"127.0.0.0/8\"]"),
        ];
        self.service("control-plane", "control-plane", &settings).await
    }

    async fn router(&self, listen: &str) -> Result<Child> {
        let address = format!("http://{}", self.control_plane);
        let settings = [
            ("router.listen", listen),
            ("queue.url", &self.redis_url),
            ("control_plane.address", &address),
        ];
        self.service("router", "router", &settings).await
    }

    async fn deliverer(&self, name: &'static str, more: &[(&str, &str)]) -> Result<Child> {
        let address = format!("http://{}", self.control_plane);
        let listen = free_address()?;
        let settings = [
            ("deliverer.listen", listen.as_str()),
            ("queue.url", &self.redis_url),
            ("control_plane.address", &address),
            ("delivery.allow_http", "true"),
            ("delivery.allow_cidrs", "[\"127.0.0.0/8\"]"),
        ];
        self.service(name, "deliverer", &[&settings, more].concat()).await
    }

    async fn service(
        &self,
        name: &'static str,
        role: &str,
        settings: &[(&str, &str)],
    ) -> Result<Child> {
        let admin = free_address()?;
        let all = [("admin.listen", admin.as_str()), ("internal.token", &self.token)];
        let command = command(self.millrace, role, &[&all, settings].concat());
        let mut child = Child::spawn(name, command, self.directory.path())?;
        child.serves(&format!("http://{admin}/readyz")).await?;
        Ok(child)
    }

    /// A new key for what is sealed, made as an operator makes it.
    async fn seal_key(&self) -> Result<Secret> {
        let mut command = command(self.millrace, "migrate", &[]);
        command.args(["--new-seal-key", "bench"]);
        let made = Child::spawn("seal-key", command, self.directory.path())?;
        Ok(Secret::new(made.ended(MIGRATE_PATIENCE).await?.trim()))
    }
}
