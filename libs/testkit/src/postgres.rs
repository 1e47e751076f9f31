//! A database per test, on a shared server or a private one; and servers that a test may kill.
//!
//! The server is the one of `MILLRACE_TEST_POSTGRES_URL` (as `make test` sets it) or else one that this
//! process starts in a temporary directory. Databases on it are the tests' own, so tests run side by side.

mod dump;

use std::{
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::Signal,
    unistd::{Pid, Uid, User},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

/// Names a server that tests share, such as `postgres://postgres@127.0.0.1:5433`.
pub const URL_VARIABLE: &str = "MILLRACE_TEST_POSTGRES_URL";
/// What to do where there is no PostgreSQL.
const INSTALL: &str = "install PostgreSQL 15 or newer: apt-get install postgresql";
/// Longest wait for a server to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A new, empty database. Dropped at the end of the test, and its private server with it.
#[derive(Debug)]
pub struct Database {
    url: String,
    name: String,
    server_url: String,
    /// Stops with the last of its databases; none where the server is not this process's.
    _server: Option<Arc<Server>>,
}

/// Makes a database for one test.
///
/// # Panics
/// Where no server can be reached or started; says what to install.
pub async fn database() -> Database {
    Database::make().await.unwrap_or_else(|error| panic!("no test database: {error:#}; {INSTALL}"))
}

impl Database {
    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many transactions it has ended, committed or not. What a connection did counts about a second later.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn transactions(&self) -> Result<u64> {
        let mut connection = PgConnection::connect(&self.url).await?;
        // https://www.postgresql.org/docs/15/monitoring-stats.html
        let ended: i64 = sqlx::query_scalar(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(u64::try_from(ended)?)
    }

    /// Runs a query of one column of text, and gives its rows.
    ///
    /// # Errors
    /// If the server does not answer, or with an error.
    pub async fn texts(&self, sql: &str) -> Result<Vec<String>> {
        let mut connection = PgConnection::connect(&self.url).await?;
        let sql = AssertSqlSafe(sql.to_owned());
        let rows = sqlx::query_scalar(sql).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(rows)
    }

    /// Runs statements.
    ///
    /// # Errors
    /// If the server does not answer, or with an error.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    async fn make() -> Result<Self> {
        if let Some(url) = std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty()) {
            return Self::on(url.trim_end_matches('/').to_owned(), None).await;
        }
        let server = tokio::task::spawn_blocking(Server::private).await??;
        Self::on(server.url(), Some(server)).await
    }

    async fn on(server_url: String, server: Option<Arc<Server>>) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{}_{number}", std::process::id(), nanos()?);
        run(&server_url, &format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        Ok(Self { url: format!("{server_url}/{name}"), name, server_url, _server: server })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let url = self.server_url.clone();
        // A thread of its own: the test's runtime may be ending. A failure costs disk space, no more.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(&url, &sql))
        });
        drop(dropped.join());
    }
}

async fn run(server_url: &str, sql: &str) -> Result<()> {
    let url = format!("{server_url}/postgres");
    let mut connection =
        PgConnection::connect(&url).await.with_context(|| format!("cannot connect to {url}"))?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// A number that no earlier process of the same id used.
fn nanos() -> Result<u32> {
    let file = tempfile::NamedTempFile::new()?;
    Ok(file.as_file().metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH)?.subsec_nanos())
}

/// A private PostgreSQL server on a port of its own; stopped at the end. What is committed survives a kill of the
/// server, not of the machine: it never syncs, unless it was started durable.
#[derive(Debug)]
pub struct Server {
    binaries: PathBuf,
    directory: TempDir,
    port: u16,
    durable: bool,
    process: Mutex<Option<Child>>,
}

impl Server {
    /// The one that this process's databases share, for as long as there are any.
    fn private() -> Result<Arc<Self>> {
        static PRIVATE: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut private = PRIVATE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = private.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start()?);
        *private = Arc::downgrade(&server);
        Ok(server)
    }

    /// Makes a cluster and starts it; blocks for some seconds.
    ///
    /// # Errors
    /// Where the programs of PostgreSQL are not found, or fail.
    pub fn start() -> Result<Self> {
        Self::make(false)
    }

    /// Like [`Server::start`], with PostgreSQL's own settings for durability: for measurements.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_durable() -> Result<Self> {
        Self::make(true)
    }

    fn make(durable: bool) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("millrace-postgres-").tempdir()?;
        let (binaries, port) = (binaries()?, free_port()?);
        let server = Self { binaries, directory, port, durable, process: Mutex::new(None) };
        if let Some(user) = other_user()? {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            std::os::unix::fs::chown(server.directory.path(), Some(uid), Some(gid))?;
        }
        let options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"];
        let made = server.command("initdb")?.arg("-D").arg(server.data()).args(options).status()?;
        ensure!(made.success(), "initdb failed: {}", server.log());
        server.start_again()?;
        Ok(server)
    }

    /// Starts the stopped or killed server again, on the same port; waits until it serves.
    ///
    /// # Errors
    /// When it does not start; with its log.
    pub fn start_again(&self) -> Result<()> {
        let mut process = self.process();
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let mut child = match process.take() {
                Some(child) => child,
                None => self.spawn()?,
            };
            // It gives up while what is left of a killed one still holds its memory; so once more.
            if child.try_wait()?.is_none() {
                *process = Some(child);
            }
            let port = self.port.to_string();
            let ready = self.command("pg_isready")?.args(["-h", "127.0.0.1", "-p", &port]).status();
            if ready?.success() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the server does not start: {}", self.log())
    }

    /// Stops the server in order; its connections are closed.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&self) -> Result<()> {
        // "Fast shutdown": https://www.postgresql.org/docs/15/server-shutdown.html
        self.end(Signal::SIGINT)
    }

    /// Kills the server, as `kill -9` does; waits until it is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        self.end(Signal::SIGKILL)
    }

    /// Its first process; `None`: it does not run.
    pub fn process_id(&self) -> Option<u32> {
        self.process().as_ref().map(Child::id)
    }

    /// Its URL, without a database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Makes a database on it for one test. It must not outlive the server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn database(&self) -> Result<Database> {
        Database::on(self.url(), None).await
    }

    fn spawn(&self) -> Result<Child> {
        let mut command = self.command("postgres")?;
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        command.arg("-k").arg(self.directory.path());
        let unsafe_and_fast = ["fsync=off", "full_page_writes=off"];
        let durability = if self.durable { &[][..] } else { &unsafe_and_fast };
        for setting in
            ["listen_addresses=127.0.0.1", "max_connections=200"].iter().chain(durability)
        {
            command.args(["-c", setting]);
        }
        Ok(command.spawn()?)
    }

    fn end(&self, signal: Signal) -> Result<()> {
        let mut child = self.process().take().context("the server does not run")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        nix::sys::signal::kill(pid, signal)?;
        child.wait()?;
        Ok(())
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().expect("no test panics while it starts or ends a server")
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A program of PostgreSQL, run by a user that may, writing to the log.
    fn command(&self, program: &str) -> Result<Command> {
        let log = self.directory.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(self.directory.path());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(user) = other_user()? {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        Ok(command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error says that it does not run any more, which is as good.
        drop(self.end(Signal::SIGQUIT));
    }
}

/// The newest PostgreSQL that Debian's packages put in its place, or the one of `PATH`.
fn binaries() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse::<u32>().ok()?;
            Some((version, entry.path().join("bin"))).filter(|(_, bin)| has_server(bin))
        })
        .max();
    if let Some((_, directory)) = installed {
        return Ok(directory);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|directory| has_server(directory)).context(INSTALL)
}

fn has_server(directory: &Path) -> bool {
    directory.join("initdb").is_file() && directory.join("postgres").is_file()
}

/// Whom to run PostgreSQL as, since it refuses to be root's.
fn other_user() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    Ok(Some(User::from_name("postgres")?.context("there is no user `postgres`")?))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answers(url: &str) -> bool {
        let Ok(mut connection) = PgConnection::connect(url).await else {
            return false;
        };
        connection.ping().await.is_ok()
    }

    #[tokio::test]
    async fn each_test_has_a_database_of_its_own_that_ends_with_it() {
        let (a, b) = (database().await, database().await);
        assert_ne!(a.url(), b.url());
        assert!(answers(a.url()).await && answers(b.url()).await);
        let gone = a.url().to_owned();
        drop(a);
        assert!(!answers(&gone).await && answers(b.url()).await);
    }

    #[tokio::test]
    async fn a_private_server_is_killed_and_comes_back_with_its_data() {
        let server = Server::start().expect(INSTALL);
        let database = server.database().await.expect("serves");
        assert!(answers(database.url()).await);
        server.kill().expect("ran");
        assert!(!answers(database.url()).await);
        server.start_again().expect("starts again");
        assert!(answers(database.url()).await);
        server.stop().expect("stops");
        assert!(!answers(database.url()).await);
        server.start_again().expect("starts again");
    }
}
