//! The store in SQLite: for `millrace dev`, one process, one file. It migrates itself.
//!
//! Durable to the last commit: write-ahead log, `synchronous=FULL`.

use std::{
    path::{self, Path},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _,
    any::{AnyPoolOptions, install_default_drivers},
    sqlite::SqliteConnectOptions,
};
use tokio::sync::Mutex;

use crate::{
    Keyring, OpenError, SqlStore, migrations,
    sql::{Dialect, wake::Wake},
};

/// Connections to a file: readers go on beside the one writer.
pub(crate) const CONNECTIONS: u32 = 4;
/// Longest wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Said to every new connection. Foreign keys are sqlx's default; written out all the same. SQLite does not let those in first
/// who waited longest, hence the long busy timeout: among many writers one may wait for most of them.
const SETTINGS: &str = "PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";

/// Opens the database in the file `path`, makes it if need be, and migrates it.
///
/// # Errors
/// [`OpenError::Connect`], [`OpenError::Migrate`].
pub async fn open(path: &Path, keyring: Keyring) -> Result<SqlStore, OpenError> {
    let path = path::absolute(path).map_err(|error| OpenError::Connect { source: error.into() })?;
    // sqlx unescapes `%` in a path and forgets to escape it.
    let path = path.to_string_lossy().replace('%', "%25");
    let url = SqliteConnectOptions::new().filename(path).create_if_missing(true).to_url_lossy();
    probe(url.as_str()).await.map_err(|error| OpenError::Connect { source: error.into() })?;
    connect(url.as_str(), CONNECTIONS, keyring).await
}

/// Opens a new database in memory; it is gone with the store.
///
/// # Errors
/// [`OpenError::Connect`], [`OpenError::Migrate`].
pub async fn open_ephemeral(keyring: Keyring) -> Result<SqlStore, OpenError> {
    // Every further connection would be to a database of its own.
    connect("sqlite::memory:", 1, keyring).await
}

/// Fails at once, and says why, where the pool would try for its whole timeout.
pub(crate) async fn probe(url: &str) -> Result<(), sqlx::Error> {
    install_default_drivers();
    let mut connection = AnyConnection::connect(url).await?;
    connection.execute(SETTINGS).await?;
    connection.close().await
}

/// A pool whose connections are kept.
pub(crate) async fn pool(url: &str, connections: u32) -> Result<AnyPool, OpenError> {
    install_default_drivers();
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection in memory holds the database: it must not be let go.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(SETTINGS).await.map(drop) })
        })
        .connect(url)
        .await
        .map_err(|error| OpenError::Connect { source: error.into() })
}

async fn connect(url: &str, connections: u32, keyring: Keyring) -> Result<SqlStore, OpenError> {
    let pool = pool(url, connections).await?;
    let acquired = pool.acquire().await;
    let mut connection = acquired.map_err(|error| OpenError::Connect { source: error.into() })?;
    migrations::migrate(&mut connection, migrations::SQLITE).await?;
    drop(connection);
    let dialect = Dialect::Sqlite { turn: Arc::new(Mutex::new(())) };
    Ok(SqlStore::new(pool, dialect, keyring, Wake::default()))
}
