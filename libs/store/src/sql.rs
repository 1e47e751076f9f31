//! The store in an SQL database: one text of SQL for Postgres and SQLite, over sqlx's `Any` driver.
//!
//! What keeps the sequence in commit order is in [`transaction`]; one module for each kind of resource holds its SQL, and [`store`]
//! names each call and bounds its time.
//! What the two databases do differently is [`Dialect`] and the modules that open them.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use metrics::{counter, histogram};
use sqlx::AnyPool;
use tokio::{sync::Mutex, time};

use self::wake::Wake;
use crate::{Error, Keyring, Result};

mod accounts;
mod api_keys;
mod audit;
mod catalogue;
mod changes;
mod history;
mod repeats;
mod rows;
mod sinks;
mod store;
mod subscriptions;
mod tokens;
mod transaction;
pub(crate) mod wake;

pub(crate) use transaction::CHANNEL;

/// Longest a call may take, waiting for a connection and for locks included.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A [`ResourceStore`](crate::ResourceStore) in an SQL database; made by [`crate::postgres::open`] and [`crate::sqlite::open`].
pub struct SqlStore {
    pool: AnyPool,
    dialect: Dialect,
    keyring: Keyring,
    wake: Wake,
}

/// Which database it is, and what that one needs for its writers to take turns.
#[derive(Clone, Debug)]
pub(crate) enum Dialect {
    /// Writers take turns by an advisory lock of the database.
    Postgres,
    /// Writers of this process take turns here, so that none polls for the file's lock.
    Sqlite {
        /// Held for as long as a write lasts.
        turn: Arc<Mutex<()>>,
    },
}

impl SqlStore {
    pub(crate) fn new(pool: AnyPool, dialect: Dialect, keyring: Keyring, wake: Wake) -> Self {
        Self { pool, dialect, keyring, wake }
    }

    /// Closes all connections, after what is under way. A call afterwards is [`Error::Unavailable`].
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs one call: bounds its time and names it in its error.
    async fn call<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T> {
        within(CALL_TIMEOUT, operation, work).await
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

/// Why work inside a call failed: with an answer for the caller, or with the database.
#[derive(Debug)]
pub(crate) enum Fault {
    Answer(Error),
    Database(Box<dyn StdError + Send + Sync>),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

pub(crate) async fn within<T>(
    limit: Duration,
    operation: &'static str,
    work: impl Future<Output = Result<T, Fault>> + Send,
) -> Result<T> {
    let started = time::Instant::now();
    let done = time::timeout(limit, work).await;
    histogram!("millrace_database_seconds", "operation" => operation).record(started.elapsed());
    let source = match done {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(Fault::Answer(error))) => return Err(error),
        Ok(Err(Fault::Database(source))) => source,
        Err(late) => late.into(),
    };
    counter!("millrace_database_errors_total").increment(1);
    Err(Error::Unavailable { operation, source })
}
