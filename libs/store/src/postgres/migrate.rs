//! Migrations of a database that others use: a step that would wait for them gives up within seconds, for whoever comes
//! after it would wait too. Whoever runs it tries again.

use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe};
use tokio::time::{Instant, sleep};

use super::{Options, connect, origin};
use crate::{
    OpenError,
    migrations::{self, Migrations},
};

/// Said where tables are changed. Everybody queues behind a change that waits for a lock: so it does not wait long. What
/// takes longer than this while it holds one must be done in parts, or without a transaction.
const SETTINGS: &str = "SET application_name = 'millrace migrate'; SET lock_timeout = '2s';
    SET statement_timeout = '5min'; SET idle_in_transaction_session_timeout = '1min'";
/// Those of the settings that a step outside a transaction is let off.
pub(super) const LIMITS: &str = "SET lock_timeout = '2s'; SET statement_timeout = '5min'";
/// How long somebody waits for their turn, and how often it is asked for. Nobody stands in line in the database: who waits
/// there holds a snapshot, for which an index that is built concurrently waits in turn.
const TURN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(250));
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
    migrated(url, migrations::POSTGRES, false).await
}

/// As [`migrate`], of a database that was restored from a backup: it gets a new epoch, so that whoever watches its
/// configuration takes a snapshot.
///
/// # Errors
/// As [`migrate`].
pub async fn restored(url: &str) -> Result<(), OpenError> {
    migrated(url, migrations::POSTGRES, true).await
}

pub(super) async fn migrated(
    url: &str,
    migrations: Migrations,
    was_restored: bool,
) -> Result<(), OpenError> {
    let options = Options { max_connections: 1, ..Options::default() };
    let pool = connect(url, &options, SETTINGS).await?;
    let problem = |error: sqlx::Error| OpenError::Connect { source: error.into() };
    let mut connection = pool.acquire().await.map_err(problem)?;
    let migrated = match in_turn(&mut connection, migrations).await {
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

async fn in_turn(connection: &mut AnyConnection, migrations: Migrations) -> Result<(), OpenError> {
    let (longest, pause) = TURN;
    let until = Instant::now() + longest;
    let problem = |error: sqlx::Error| OpenError::Connect { source: error.into() };
    while !takes_turn(connection).await.map_err(problem)? {
        if Instant::now() >= until {
            return Err(OpenError::Locked { what: "migrating".to_owned(), holders: String::new() });
        }
        sleep(pause).await;
    }
    migrations::migrate(connection, migrations).await
}

/// Takes the turn for as long as the connection lives, unless another has it.
pub(super) async fn takes_turn(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let database: String =
        sqlx::query_scalar("SELECT current_database()::TEXT").fetch_one(&mut *connection).await?;
    let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(turn_of(&database));
    lock.fetch_one(connection).await
}

/// Key of the advisory lock, which is sqlx's: releases before this one take it by sqlx.
fn turn_of(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32(database.as_bytes()))
}

/// The checksum of ISO/IEC 8802-3 (<https://www.rfc-editor.org/rfc/rfc1952#section-8>), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let shifted = |sum: u32| if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
    let add = |sum: u32, byte: &u8| (0..8).fold(sum ^ u32::from(*byte), |sum, _| shifted(sum));
    !bytes.iter().fold(!0, add)
}

#[cfg(test)]
mod tests {
    use millrace_testkit::postgres::database;
    use sqlx::{
        Connection as _, PgConnection, any::install_default_drivers, migrate::Migrate as _,
    };

    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_everybody_knows() {
        // https://reveng.sourceforge.io/crc-catalogue/17plus.htm#crc.cat.crc-32-iso-hdlc
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[tokio::test]
    async fn releases_that_take_turns_by_sqlx_are_waited_for() {
        let database = database().await;
        let mut before = PgConnection::connect(database.url()).await.expect("connects");
        before.lock().await.expect("it is free");
        install_default_drivers();
        let mut now = AnyConnection::connect(database.url()).await.expect("connects");
        assert!(!takes_turn(&mut now).await.expect("answers"));
        before.unlock().await.expect("it was taken");
        assert!(takes_turn(&mut now).await.expect("answers"));
    }
}
