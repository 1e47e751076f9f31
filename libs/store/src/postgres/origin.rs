//! Where the database is. A dump that is restored is elsewhere than where its epoch was drawn: in another server, database
//! or table, or on another timeline of the server. So a restore is noticed, and the database gets a new epoch.

use std::{convert::Infallible, time::Duration};

use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _};
use tokio::time;
use tracing::warn;

use crate::{migrations, sql::CHANNEL};

/// How soon a database that is restored under a running process is noticed.
const EVERY: Duration = Duration::from_secs(10);
/// Server, database, table, timeline. A role that may not ask for the first is told the rest.
const WHERE: [&str; 2] = [
    "SELECT concat_ws(':', (SELECT system_identifier FROM pg_control_system()),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'meta'::REGCLASS::OID, left(pg_walfile_name(pg_current_wal_lsn()), 8))",
    "SELECT concat_ws(':', '', (SELECT oid FROM pg_database WHERE datname = current_database()),
        'meta'::REGCLASS::OID, '')",
];

/// Gives the database a new epoch if it is not where its epoch was drawn.
pub(super) async fn heed(pool: &AnyPool) -> Result<(), sqlx::Error> {
    note(pool, false).await
}

/// Looks again and again. A database that does not answer is others' to tell of.
pub(super) async fn heed_for_ever(pool: AnyPool) -> Infallible {
    loop {
        time::sleep(EVERY).await;
        if let Err(error) = heed(&pool).await {
            tracing::debug!(%error, "cannot tell where the database is");
        }
    }
}

/// As [`heed`]; or gives a new epoch in any case.
pub(super) async fn note(pool: &AnyPool, was_restored: bool) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let here = whereabouts(&mut connection).await?;
    let noted: Option<String> =
        sqlx::query_scalar("SELECT origin FROM meta").fetch_one(&mut *connection).await?;
    if !was_restored && is_here(noted.as_deref(), &here) {
        return Ok(());
    }
    drop(connection);
    let mut write = pool.begin().await?;
    // Of several that notice it at once the first draws the epoch.
    let locked = sqlx::query_scalar("SELECT origin FROM meta FOR UPDATE");
    let noted: Option<String> = locked.fetch_one(&mut *write).await?;
    // Where this is written to may be elsewhere than what was asked before: there may have been a failover meanwhile.
    let here = whereabouts(&mut write).await?;
    if !was_restored && is_here(noted.as_deref(), &here) {
        return write.rollback().await;
    }
    let is_elsewhere = noted.as_deref().and_then(|noted| moved(noted, &here)) == Some(true);
    if was_restored || is_elsewhere {
        let epoch = sqlx::query("UPDATE meta SET epoch = $1").bind(migrations::new_epoch());
        epoch.execute(&mut *write).await?;
        warn!(
            "the database was restored or moved: it gets a new epoch, and whoever watches takes a snapshot"
        );
    }
    sqlx::query("UPDATE meta SET origin = $1").bind(&here).execute(&mut *write).await?;
    write.execute(sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL)).await?;
    write.commit().await
}

/// Where the server is that is at the other end of a connection. A refusal spoils no transaction that is open.
async fn whereabouts(connection: &mut AnyConnection) -> Result<String, sqlx::Error> {
    let [all, some] = WHERE;
    let mut asked = connection.begin().await?;
    match sqlx::query_scalar(all).fetch_one(&mut *asked).await {
        Err(sqlx::Error::Database(_)) => {
            asked.rollback().await?;
            sqlx::query_scalar(some).fetch_one(connection).await
        }
        told => {
            asked.commit().await?;
            told
        }
    }
}

/// Whether that is where the epoch was drawn, and nothing more is known of it than was noted.
fn is_here(noted: Option<&str>, here: &str) -> bool {
    noted.is_some_and(|noted| moved(noted, here) == Some(false))
}

/// Whether `here` is elsewhere than `noted`, by what is known of both. `None`: it is not, and says more than was noted.
fn moved(noted: &str, here: &str) -> Option<bool> {
    let parts = || noted.split(':').zip(here.split(':'));
    if parts().any(|(noted, here)| !noted.is_empty() && !here.is_empty() && noted != here) {
        return Some(true);
    }
    let says_more = parts().any(|(noted, here)| noted.is_empty() && !here.is_empty());
    (!says_more).then_some(false)
}

#[cfg(test)]
mod tests {
    use millrace_testkit::{eventually, postgres::database};
    use sqlx::PgConnection;

    use super::{
        super::{Options, SETTINGS, connect, migrate},
        *,
    };

    #[test]
    fn what_only_one_of_two_roles_may_ask_moves_nothing() {
        assert_eq!(moved("7:16:20:00000001", "7:16:20:00000001"), Some(false));
        assert_eq!(moved("7:16:20:00000001", ":16:20:"), Some(false));
        assert_eq!(moved(":16:20:", "7:16:20:00000001"), None);
    }

    #[test]
    fn another_server_database_table_or_timeline_is_elsewhere() {
        for there in ["8:16:20:00000001", "7:17:20:00000001", "7:16:21:1", "7:16:20:00000002"] {
            assert_eq!(moved("7:16:20:00000001", there), Some(true), "{there}");
        }
        assert_eq!(moved(":16:20:", "7:16:21:00000001"), Some(true));
    }

    /// Another process moves on while this one, which asked before that, waits for its turn.
    #[tokio::test]
    async fn who_asked_before_a_restore_that_others_noticed_draws_no_epoch_again() {
        let database = database().await;
        migrate(database.url()).await.expect("migrates");
        let pool = connect(database.url(), &Options::default(), SETTINGS).await.expect("connects");
        let mut other = PgConnection::connect(database.url()).await.expect("connects");
        let restored = "BEGIN; CREATE TABLE restored (LIKE meta INCLUDING ALL);
            INSERT INTO restored SELECT * FROM meta; LOCK TABLE meta IN ACCESS EXCLUSIVE MODE";
        sqlx::raw_sql(restored).execute(&mut other).await.expect("restores");
        let noticed = async {
            let waiting =
                "SELECT pid::TEXT FROM pg_stat_activity WHERE datname = current_database()
                AND application_name = 'millrace' AND wait_event_type = 'Lock'";
            eventually("it asked where it is and waits for what was noted", || async {
                let waiting = database.texts(waiting).await.expect("answers");
                (!waiting.is_empty()).then_some(())
            })
            .await;
            let noticed =
                "DROP TABLE meta; ALTER TABLE restored RENAME TO meta; UPDATE meta SET epoch = 7";
            sqlx::raw_sql(noticed).execute(&mut other).await.expect("notices");
            let [all, _] = WHERE;
            let here: String = sqlx::query_scalar(all).fetch_one(&mut other).await.expect("told");
            let noted = sqlx::query("UPDATE meta SET origin = $1").bind(here);
            noted.execute(&mut other).await.expect("notes");
            sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("commits");
        };
        let (heeded, ()) = tokio::join!(heed(&pool), noticed);
        heeded.expect("answers");
        let epoch = database.texts("SELECT epoch::TEXT FROM meta").await.expect("answers");
        assert_eq!(epoch, ["7"]);
    }
}
