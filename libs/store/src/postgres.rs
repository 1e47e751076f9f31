//! The store in PostgreSQL (15 or newer): for any number of control-plane replicas.
//!
//! Commits of other replicas are heard by LISTEN. Lost connections mend by themselves; until then
//! calls are [`crate::Error::Unavailable`] within seconds.

mod migrate;
mod origin;
pub(crate) mod outside;

use std::{sync::Arc, time::Duration};

use sqlx::{
    AnyPool, Executor as _,
    any::{AnyPoolOptions, install_default_drivers},
    postgres::PgListener,
};
use tokio::{sync::Notify, time};
use tracing::{info, warn};

use crate::{
    Keyring, OpenError, SqlStore, migrations,
    sql::{CHANNEL, Dialect, wake::Wake},
};

pub use self::migrate::{migrate, restored};

/// Said to every new connection: nothing waits for ever, neither for a lock nor for a client that went away.
pub(crate) const SETTINGS: &str = "SET application_name = 'millrace'; SET lock_timeout = '5s';
    SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '30s'";
/// The same where logs are read: a question that takes longer is one that nobody waits for any more.
pub(crate) const READ_SETTINGS: &str = "SET application_name = 'millrace'; SET lock_timeout = '5s';
    SET statement_timeout = '9s'; SET idle_in_transaction_session_timeout = '30s'";
/// First and longest wait before listening is tried again.
const LISTEN_AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// How to talk to the database.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most connections a process holds, besides one that listens. From 1.
    pub max_connections: u32,
    /// Longest wait for a connection; then a call is [`crate::Error::Unavailable`].
    pub acquire_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_connections: 10, acquire_timeout: Duration::from_secs(5) }
    }
}

/// Opens the database at `url` (`postgres://user:password@host/database?sslmode=…`), which must be migrated.
///
/// # Errors
/// [`OpenError::NotMigrated`] says to run `millrace migrate`; [`OpenError::Connect`].
pub async fn open(url: &str, keyring: Keyring, options: &Options) -> Result<SqlStore, OpenError> {
    let pool = connect(url, options, SETTINGS).await?;
    migrations::check(&pool, migrations::POSTGRES).await?;
    let problem = |error: sqlx::Error| OpenError::Connect { source: error.into() };
    origin::heed(&pool).await.map_err(problem)?;
    let (url, heeded) = (url.to_owned(), pool.clone());
    let wake = Wake::listening(|woken| async move {
        tokio::join!(listen(url, woken), origin::heed_for_ever(heeded));
    });
    Ok(SqlStore::new(pool, Dialect::Postgres, keyring, wake))
}

pub(crate) async fn connect(
    url: &str,
    options: &Options,
    settings: &'static str,
) -> Result<AnyPool, OpenError> {
    install_default_drivers();
    AnyPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(settings).await.map(drop) })
        })
        .connect(url)
        .await
        .map_err(|error| OpenError::Connect { source: error.into() })
}

/// Listens for ever, on a connection of its own; says once that it cannot, and once that it can again.
async fn listen(url: String, woken: Arc<Notify>) {
    let (first, longest) = LISTEN_AGAIN;
    let (mut wait, mut silent) = (first, false);
    loop {
        let error = match listener(&url).await {
            Ok(listener) => {
                if std::mem::take(&mut silent) {
                    info!("listening for changes again");
                }
                wait = first;
                hear(listener, &woken).await
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut silent, true) {
            let error: &dyn std::error::Error = &error;
            warn!(error, "cannot listen for changes, polling until that works again");
        }
        time::sleep(wait).await;
        wait = longest.min(wait * 2);
    }
}

async fn listener(url: &str) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect(url).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Wakes all for each word heard, and once at first: what was said before is lost. Ends when the connection does.
async fn hear(mut listener: PgListener, woken: &Notify) -> sqlx::Error {
    loop {
        woken.notify_waiters();
        match listener.try_recv().await {
            Ok(Some(_)) => {}
            Ok(None) => return std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into(),
            Err(error) => return error,
        }
    }
}
