//! Against real servers: whoever is in the way of an index is there for longer than any other step would wait.

use std::time::Duration;

use millrace_testkit::{
    eventually,
    postgres::{Database, database},
};
use sqlx::{Connection as _, PgConnection};

use super::{super::migrate::migrated, *};
use crate::{
    OpenError,
    migrations::{Migrations, POSTGRES},
};

const INDEX: &str = "-- no-transaction
-- An index for a test.
CREATE INDEX CONCURRENTLY IF NOT EXISTS of_a_test ON accounts (updated);
";
/// A step after it, which must not lack the limits of all others.
const AFTER: &str = "CREATE TABLE limits_of_a_test AS
    SELECT current_setting('lock_timeout') AS lock, current_setting('statement_timeout') AS statement";

fn with_index() -> Migrations {
    let more = [(9_990, "index_of_a_test", INDEX), (9_991, "after_it", AFTER)];
    [POSTGRES, &more].concat().leak()
}

async fn migrate(database: &Database) -> Result<(), OpenError> {
    migrated(database.url(), with_index(), false).await
}

/// A database of today, in which somebody has written and not yet committed.
struct InUse {
    database: Database,
    writer: PgConnection,
}

impl InUse {
    async fn start() -> Self {
        let database = database().await;
        migrated(database.url(), POSTGRES, false).await.expect("migrates");
        let mut writer = PgConnection::connect(database.url()).await.expect("connects");
        let write = "BEGIN; UPDATE accounts SET updated = updated";
        sqlx::raw_sql(write).execute(&mut writer).await.expect("writes");
        Self { database, writer }
    }

    /// Waits until somebody who migrates has waited so long for the writer.
    async fn until_it_waits(&self, at_least: Duration) {
        let waiting = format!(
            "SELECT pid::TEXT FROM pg_stat_activity WHERE datname = current_database()
                AND application_name = 'millrace migrate' AND wait_event = 'virtualxid'
                AND clock_timestamp() - query_start >= '{} s'",
            at_least.as_secs()
        );
        eventually("the index waits for the writer", || async {
            let waiting = self.database.texts(&waiting).await.expect("answers");
            (!waiting.is_empty()).then_some(())
        })
        .await;
    }

    async fn ends_writing(&mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.writer).await.expect("ends");
    }
}

/// Whether the index is valid; none: it is not there.
async fn is_valid(database: &Database) -> Option<bool> {
    let valid = "SELECT indisvalid::TEXT FROM pg_index WHERE indexrelid = to_regclass('of_a_test')";
    let valid = database.texts(valid).await.expect("answers");
    valid.first().map(|valid| valid == "true")
}

#[tokio::test]
async fn an_index_waits_for_whoever_uses_its_table_for_longer_than_other_steps_do() {
    let mut in_use = InUse::start().await;
    let url = in_use.database.url().to_owned();
    let waited = async {
        // Other steps give up after 2 s.
        in_use.until_it_waits(Duration::from_secs(4)).await;
        in_use.ends_writing().await;
    };
    let (built, ()) = tokio::join!(migrated(&url, with_index(), false), waited);
    built.expect("is built");
    assert_eq!(is_valid(&in_use.database).await, Some(true));
    let limits = "SELECT lock || ' ' || statement FROM limits_of_a_test";
    assert_eq!(in_use.database.texts(limits).await.expect("answers"), ["2s 5min"]);
    migrate(&in_use.database).await.expect("a repeat does nothing");
}

#[tokio::test]
async fn an_index_that_was_cut_off_half_way_is_built_anew_by_the_next_run() {
    let mut in_use = InUse::start().await;
    let url = in_use.database.url().to_owned();
    let killed = async {
        in_use.until_it_waits(Duration::ZERO).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'millrace migrate'";
        in_use.database.execute(kill).await.expect("kills");
    };
    let (failed, ()) = tokio::join!(migrated(&url, with_index(), false), killed);
    assert!(matches!(failed, Err(OpenError::Migrate { .. })), "{failed:?}");
    in_use.ends_writing().await;
    assert_eq!(is_valid(&in_use.database).await, Some(false), "half of it is there");
    migrate(&in_use.database).await.expect("migrates");
    assert_eq!(is_valid(&in_use.database).await, Some(true));
}

#[tokio::test]
async fn an_index_that_was_built_and_not_noted_is_not_built_again() {
    let mut in_use = InUse::start().await;
    in_use.ends_writing().await;
    in_use.database.execute("CREATE INDEX of_a_test ON accounts (updated)").await.expect("builds");
    let number = "SELECT to_regclass('of_a_test')::OID::TEXT";
    let before = in_use.database.texts(number).await.expect("answers");
    migrate(&in_use.database).await.expect("migrates");
    assert_eq!(in_use.database.texts(number).await.expect("answers"), before);
}

/// One that stood in line in the database would be waited for by the index, and it for the one who builds that.
#[tokio::test]
async fn whoever_waits_for_their_turn_does_not_keep_an_index_from_being_built() {
    let mut in_use = InUse::start().await;
    let url = in_use.database.url().to_owned();
    let released = async {
        in_use.until_it_waits(Duration::ZERO).await;
        let migrating = "SELECT pid::TEXT FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'millrace migrate'";
        eventually("all of them are there", || async {
            let there = in_use.database.texts(migrating).await.expect("answers");
            (there.len() == 3).then_some(())
        })
        .await;
        in_use.ends_writing().await;
    };
    let (first, second, third, ()) = tokio::join!(
        migrated(&url, with_index(), false),
        migrated(&url, with_index(), false),
        migrated(&url, with_index(), false),
        released
    );
    for migrated in [first, second, third] {
        migrated.expect("all end well, one of them did it");
    }
    assert_eq!(is_valid(&in_use.database).await, Some(true));
}

#[test]
fn the_index_of_a_statement_is_found_by_its_name() {
    for (sql, name) in [
        (INDEX, Some("of_a_test")),
        ("-- no-transaction\ncreate unique index concurrently a on t (b)", Some("a")),
        ("-- no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS a; -- CONCURRENTLY b", Some("a")),
        ("-- no-transaction, CONCURRENTLY\nALTER TABLE t VALIDATE CONSTRAINT c", None),
    ] {
        assert_eq!(index_of(sql), name, "{sql}");
    }
}
