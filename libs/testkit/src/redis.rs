//! Redis for tests: a key prefix of one's own on a server that tests share, or private servers to stop and kill:
//! one alone, one with a replica and a sentinel, a cluster.

mod cluster;
mod keys;
mod replicated;
mod tls;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub use self::{cluster::Cluster, replicated::Replicated};

/// Where `make test` says the server is that all tests share.
const SHARED_URL: &str = "MILLRACE_TEST_REDIS_URL";
/// Where a sentinel keeps what it knows.
const SENTINEL_FILE: &str = "sentinel.conf";
/// Longest time a server takes to start, on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A Redis to test on: the shared one, or one for this test alone, which ends when this is dropped.
pub struct Redis {
    url: String,
    prefix: String,
    server: Option<Server>,
}

impl Redis {
    /// Gives the shared server if there is one, else starts one.
    ///
    /// # Errors
    /// If `redis-server` is not installed or does not start.
    pub async fn start() -> Result<Self> {
        if let Ok(url) = std::env::var(SHARED_URL) {
            return Ok(Self { url, prefix: prefix(), server: None });
        }
        Self::private(ServerOptions::default()).await
    }

    /// Starts a server for this test alone, to break.
    ///
    /// # Errors
    /// If `redis-server` is not installed or does not start.
    pub async fn private(options: ServerOptions) -> Result<Self> {
        let server = Server::start(options).await?;
        Ok(Self { url: server.url(), prefix: prefix(), server: Some(server) })
    }

    /// The server, where it is this test's alone.
    pub fn server(&mut self) -> Option<&mut Server> {
        self.server.as_mut()
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the keys of this test begin with. Nobody else's do: as `t123`, so that the key of a partition is
    /// `{t123:7}:ready`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Has the lease of a partition end at once, whoever holds it.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn end_lease(&self, partition: u16) -> Result<()> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let owner = format!("{{{}:{partition}}}:owner", self.prefix);
        Ok(redis::cmd("DEL").arg(owner).exec_async(&mut connection).await?)
    }
}

/// A key prefix that no other test has.
pub fn prefix() -> String {
    format!("t{:x}", RandomState::new().build_hasher().finish())
}

/// What a private server is to be like.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Writes an append-only file, flushed at each write: a kill loses nothing that was answered.
    pub durable: bool,
    /// Is a node of a cluster: its port leaves room for that of the cluster bus.
    pub clustered: bool,
    /// Further arguments of `redis-server`, such as `["--replicaof", "127.0.0.1 6379"]`.
    pub arguments: Vec<String>,
}

/// A private server on a port of its own, to stop, kill and start again. Ends when it is dropped.
pub struct Server {
    directory: TempDir,
    options: ServerOptions,
    /// Keeps no data, and watches others.
    sentinel: bool,
    /// Speaks TLS only, and whom to trust then: PEM.
    tls_ca: Option<Vec<u8>>,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// If `redis-server` is not installed or does not start.
    pub async fn start(options: ServerOptions) -> Result<Self> {
        let directory = tempfile::tempdir().context("no directory for Redis")?;
        Self { directory, options, sentinel: false, tls_ca: None, port: 0, process: None }
            .started()
            .await
    }

    /// Starts a sentinel that knows what `settings` say.
    async fn start_sentinel(settings: &str) -> Result<Self> {
        let directory = tempfile::tempdir().context("no directory for a sentinel")?;
        std::fs::write(directory.path().join(SENTINEL_FILE), settings)?;
        let options = ServerOptions::default();
        Self { directory, options, sentinel: true, tls_ca: None, port: 0, process: None }
            .started()
            .await
    }

    async fn started(mut self) -> Result<Self> {
        // Another process may take the port between its choice and its use.
        for _ in 0..5 {
            self.port = if self.options.clustered { cluster_port()? } else { free_port()? };
            self.restart().await?;
            if self.process.is_some() {
                return Ok(self);
            }
        }
        bail!("redis-server does not start: {}", self.log())
    }

    /// Where it is.
    pub fn url(&self) -> String {
        let scheme = if self.tls_ca.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process; `None`: it does not run.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Changes one of its settings (`CONFIG SET`) for as long as it runs.
    ///
    /// # Errors
    /// If it does not answer, or has no such setting.
    pub async fn configure(&self, name: &str, value: &str) -> Result<()> {
        let done = self.run(redis::cmd("CONFIG").arg("SET").arg(name).arg(value)).await;
        done.with_context(|| format!("Redis does not take `{name}` = `{value}`"))
    }

    /// Runs one command on it, over a connection of its own.
    ///
    /// # Errors
    /// If it does not answer, or with an error.
    pub async fn run<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T> {
        let mut connection = self.client()?.get_multiplexed_async_connection().await?;
        Ok(command.query_async(&mut connection).await?)
    }

    /// Sends it a command, such as `["FLUSHALL"]`.
    ///
    /// # Errors
    /// If it does not answer, or with an error.
    pub async fn tell(&self, command: &[&str]) -> Result<()> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut sent = redis::Cmd::new();
        sent.arg(command);
        sent.exec_async(&mut connection).await.with_context(|| format!("Redis refuses {command:?}"))
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it again on the same port and directory, after [`Server::stop`] or [`Server::kill`].
    ///
    /// # Errors
    /// If `redis-server` is not installed, or what answers on the port is not ours.
    pub async fn restart(&mut self) -> Result<()> {
        let mut process = self.command().spawn().context(
            "cannot run redis-server: install it by `apt-get install redis-server`, or name a server in \
             MILLRACE_TEST_REDIS_URL",
        )?;
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            if process.try_wait()?.is_some() {
                return Ok(());
            }
            if self.answers_as(process.id()).await {
                self.process = Some(process);
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        end(process);
        bail!("redis-server does not answer: {}", self.log())
    }

    /// Stops it as an operator does.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        self.reap();
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.reap();
    }

    /// Suspends it: connections stay, nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Server::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn command(&self) -> Command {
        let mut command = Command::new("redis-server");
        let port = self.port.to_string();
        if self.sentinel {
            command.arg(self.directory.path().join(SENTINEL_FILE)).arg("--sentinel");
        } else {
            self.keep_data(&mut command);
        }
        if self.tls_ca.is_some() {
            command.args(tls::arguments(self.directory.path(), &port));
        } else {
            command.args(["--port", port.as_str()]);
        }
        command.args(["--bind", "127.0.0.1", "--daemonize", "no"]);
        command.arg("--dir").arg(self.directory.path());
        command.arg("--logfile").arg(self.directory.path().join("log"));
        command.args(&self.options.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn keep_data(&self, command: &mut Command) {
        command.args(["--save", "", "--maxmemory-policy", "noeviction"]);
        let append_only = if self.options.durable { "yes" } else { "no" };
        command.args(["--appendonly", append_only, "--appendfsync", "always"]);
        if self.options.clustered {
            command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        }
        // A replica is served at once, not after a pause in which others may come.
        command.args(["--repl-diskless-sync-delay", "0"]);
    }

    /// Whether the server on the port is the process, and serves.
    async fn answers_as(&self, process: u32) -> bool {
        let ask = async {
            let mut connection = self.client()?.get_multiplexed_async_connection().await?;
            redis::cmd("PING").exec_async(&mut connection).await?;
            redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await
        };
        let line = format!("process_id:{process}");
        ask.await.is_ok_and(|info| info.lines().any(|found| found.trim() == line))
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.process.as_ref().and_then(|child| i32::try_from(child.id()).ok()) {
            // It may have ended by itself.
            kill(Pid::from_raw(id), signal).ok();
        }
    }

    fn reap(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.wait().ok();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            end(process);
        }
    }
}

fn end(mut process: Child) {
    process.kill().ok();
    process.wait().ok();
}

/// A port of a node of a cluster: that of the bus is 10,000 higher, and must be one too. Below what the system gives
/// away by itself.
fn cluster_port() -> Result<u16> {
    let random = RandomState::new();
    for n in 0_u64..100 {
        let port = 10_000 + u16::try_from(random.hash_one(n) % 20_000)?;
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 10_000) {
            return Ok(port);
        }
    }
    bail!("no two free ports for a node of a cluster")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
