//! Migrations of a database that others use: a step that would wait for them gives up within seconds, for whoever comes
//! after it would wait too. Whoever runs it tries again.

use sqlx::{AnyConnection, AssertSqlSafe, Executor as _, migrate::Migrate as _};

use super::{Options, connect, origin};
use crate::{OpenError, migrations};

/// Said where tables are changed. Everybody queues behind a change that waits for a lock: so it does not wait long. What
/// takes longer than this while it holds one must be done in parts, or without a transaction.
const SETTINGS: &str = "SET application_name = 'millrace migrate'; SET lock_timeout = '2s';
    SET statement_timeout = '5min'; SET idle_in_transaction_session_timeout = '1min'";
/// Said before and after waiting for one's turn: who migrates holds up nobody else.
const TURN: (&str, &str) = ("SET lock_timeout = '1min'", "SET lock_timeout = '2s'");
/// Whose transactions are the oldest: they hold what a migration waits for. Of other roles' a plain role sees nothing.
const HOLDERS: &str = "SELECT coalesce(string_agg(line, ', '), 'the database does not tell whose') FROM (
    SELECT concat('process ', pid, ' of `', coalesce(nullif(application_name, ''), usename::TEXT),
        '`, in a transaction for ', extract(epoch FROM clock_timestamp() - xact_start)::BIGINT, ' s') AS line
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        AND backend_type = 'client backend'
    ORDER BY xact_start LIMIT 3) AS oldest";

/// Brings the database at `url` to this release's tables; several at once take turns, a repeat does nothing.
///
/// # Errors
/// [`OpenError::Locked`] within seconds where others hold a lock that a step needs: the steps before are done.
/// [`OpenError::TooNew`], [`OpenError::Connect`], [`OpenError::Migrate`].
pub async fn migrate(url: &str) -> Result<(), OpenError> {
    migrated(url, false).await
}

/// As [`migrate`], of a database that was restored from a backup: it gets a new epoch, so that whoever watches its
/// configuration takes a snapshot.
///
/// # Errors
/// As [`migrate`].
pub async fn restored(url: &str) -> Result<(), OpenError> {
    migrated(url, true).await
}

async fn migrated(url: &str, was_restored: bool) -> Result<(), OpenError> {
    let options = Options { max_connections: 1, ..Options::default() };
    let pool = connect(url, &options, SETTINGS).await?;
    let problem = |error: sqlx::Error| OpenError::Connect { source: error.into() };
    let mut connection = pool.acquire().await.map_err(problem)?;
    let migrated = match in_turn(&mut connection).await {
        Err(OpenError::Locked { what, .. }) => {
            let holders = sqlx::query_scalar(AssertSqlSafe(HOLDERS)).fetch_one(&mut *connection);
            Err(OpenError::Locked { what, holders: holders.await.unwrap_or_default() })
        }
        done => done,
    };
    drop(connection);
    let done = match migrated {
        Ok(()) => origin::note(&pool, was_restored).await.map_err(problem),
        failed => failed,
    };
    // With its connections goes the turn.
    pool.close().await;
    done
}

async fn in_turn(connection: &mut AnyConnection) -> Result<(), OpenError> {
    let turn = async {
        connection.execute(TURN.0).await?;
        // The lock of releases before this one, too.
        connection.lock().await?;
        connection.execute(TURN.1).await.map_err(sqlx::migrate::MigrateError::from)
    };
    match turn.await {
        Ok(_) => migrations::migrate(connection, migrations::POSTGRES).await,
        Err(error) => Err(migrations::refused(error)),
    }
}
