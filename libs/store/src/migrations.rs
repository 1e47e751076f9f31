//! The tables of both databases, embedded. Migrations are appended, never edited: expand first, contract in a
//! later release, so that the release before still runs on the tables of this one. `docs/upgrading.md` has the rules,
//! `tests/migrations.rs` holds every file against them.

use sqlx::{
    AnyConnection, AnyPool, SqlSafeStr as _,
    migrate::{Migrate as _, MigrateError, Migration, MigrationType, Migrator},
};

use crate::{OpenError, postgres::outside, seal};

/// (number, what it is about, SQL), in ascending order.
pub(crate) type Migrations = &'static [(i64, &'static str, &'static str)];

/// For Postgres.
pub(crate) const POSTGRES: Migrations = &[
    (1, "resources", include_str!("../migrations/postgres/0001_resources.sql")),
    (2, "sink_delivery", include_str!("../migrations/postgres/0002_sink_delivery.sql")),
    (3, "logs", include_str!("../migrations/postgres/0003_logs.sql")),
    (4, "error_logs_of_sinks", include_str!("../migrations/postgres/0004_error_logs_of_sinks.sql")),
    (5, "accounts", include_str!("../migrations/postgres/0005_accounts.sql")),
    (6, "validation", include_str!("../migrations/postgres/0006_validation.sql")),
    (7, "requests", include_str!("../migrations/postgres/0007_requests.sql")),
    (8, "audit_log", include_str!("../migrations/postgres/0008_audit_log.sql")),
    (12, "report_periods", include_str!("../migrations/postgres/0012_report_periods.sql")),
    (13, "origin", include_str!("../migrations/postgres/0013_origin.sql")),
    (14, "event_ids", include_str!("../migrations/postgres/0014_event_ids.sql")),
];
/// The same for SQLite.
pub(crate) const SQLITE: Migrations = &[
    (1, "resources", include_str!("../migrations/sqlite/0001_resources.sql")),
    (2, "sink_delivery", include_str!("../migrations/sqlite/0002_sink_delivery.sql")),
    (5, "accounts", include_str!("../migrations/sqlite/0005_accounts.sql")),
    (6, "validation", include_str!("../migrations/sqlite/0006_validation.sql")),
    (7, "requests", include_str!("../migrations/sqlite/0007_requests.sql")),
    (8, "audit_log", include_str!("../migrations/sqlite/0008_audit_log.sql")),
    (13, "needs", include_str!("../migrations/sqlite/0013_needs.sql")),
    (14, "event_ids", include_str!("../migrations/sqlite/0014_event_ids.sql")),
];
/// For SQLite's file of logs.
pub(crate) const SQLITE_LOGS: Migrations = &[
    (1, "logs", include_str!("../migrations/sqlite_logs/0001_logs.sql")),
    (
        4,
        "error_logs_of_sinks",
        include_str!("../migrations/sqlite_logs/0004_error_logs_of_sinks.sql"),
    ),
    (12, "report_periods", include_str!("../migrations/sqlite_logs/0012_report_periods.sql")),
];

/// What a migration begins with that runs outside a transaction, as `CREATE INDEX CONCURRENTLY` must; of Postgres only.
const OUTSIDE: &str = "-- no-transaction";
/// What PostgreSQL answers where a lock was waited for in vain
/// (<https://www.postgresql.org/docs/15/errcodes-appendix.html>).
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// As [`apply`], for resources: a database that has never had an epoch gets one, and one that a newer release has taken
/// something away from is left.
pub(crate) async fn migrate(
    connection: &mut AnyConnection,
    migrations: Migrations,
) -> Result<(), OpenError> {
    suits(connection, migrations).await?;
    apply(connection, migrations).await?;
    give_epoch(connection).await.map_err(|error| OpenError::Migrate { source: error.into() })
}

/// Applies what is missing, each in a transaction; a repeat does nothing. Others must not do the same meanwhile.
pub(crate) async fn apply(
    connection: &mut AnyConnection,
    migrations: Migrations,
) -> Result<(), OpenError> {
    apply_in_order(connection, migrations).await.map_err(refused)
}

async fn apply_in_order(
    connection: &mut AnyConnection,
    migrations: Migrations,
) -> Result<(), MigrateError> {
    let is_outside = |sql: &str| sql.starts_with(OUTSIDE);
    let steps = migrations.iter().map(|&(version, name, sql)| {
        let (name, kind) = (name.into(), MigrationType::Simple);
        Migration::new(version, name, kind, sql.into_sql_str(), is_outside(sql))
    });
    let mut migrator = Migrator::with_migrations(steps.collect());
    // A newer release may have been here: its tables serve this one too.
    migrator.set_ignore_missing(true);
    migrator.set_locking(false);
    for &(version, _, sql) in migrations.iter().filter(|(.., sql)| is_outside(sql)) {
        migrator.run_direct(Some(version - 1), connection, false).await?;
        if !applied(connection).await?.contains(&version) {
            outside::begin(connection, sql).await?;
            migrator.run_direct(Some(version), connection, false).await?;
            outside::end(connection).await?;
        }
    }
    migrator.run_direct(None, connection, false).await
}

/// Tells whether every migration has been applied, and none that this program would have to know.
///
/// # Errors
/// [`OpenError::NotMigrated`] names the first that is missing; [`OpenError::TooNew`].
pub(crate) async fn check(pool: &AnyPool, migrations: Migrations) -> Result<(), OpenError> {
    let unanswered = |error: sqlx::Error| OpenError::Connect { source: error.into() };
    let mut connection = pool.acquire().await.map_err(unanswered)?;
    suits(&mut connection, migrations).await?;
    let applied = applied(&mut connection).await.map_err(unanswered)?;
    match migrations.iter().find(|(version, ..)| !applied.contains(version)) {
        Some(&(version, name, _)) => Err(OpenError::NotMigrated { version, name: name.to_owned() }),
        None => Ok(()),
    }
}

/// Whether this program knows what the tables have become.
async fn suits(connection: &mut AnyConnection, migrations: Migrations) -> Result<(), OpenError> {
    let knows = migrations.last().map_or(0, |&(version, ..)| version);
    match sqlx::query_scalar::<_, i64>("SELECT needs FROM meta").fetch_optional(connection).await {
        Ok(Some(needs)) if needs > knows => Err(OpenError::TooNew { needs, knows }),
        // No table, or not yet with this column: nothing was ever taken away from it.
        Ok(_) => Ok(()),
        Err(error) if is_not_there(&error) => Ok(()),
        Err(error) => Err(OpenError::Connect { source: error.into() }),
    }
}

async fn applied(connection: &mut AnyConnection) -> Result<Vec<i64>, sqlx::Error> {
    // sqlx's own table; a database that was never migrated has none, which only asking for its rows tells.
    match connection.list_applied_migrations("_sqlx_migrations").await {
        Ok(applied) => Ok(applied.into_iter().map(|migration| migration.version).collect()),
        Err(MigrateError::Execute(error)) if is_not_there(&error) => Ok(Vec::new()),
        Err(error) => Err(sqlx::Error::Migrate(Box::new(error))),
    }
}

async fn give_epoch(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO meta (one, epoch) VALUES (1, $1) ON CONFLICT DO NOTHING")
        .bind(new_epoch())
        .execute(connection)
        .await?;
    Ok(())
}

/// An epoch that no database has.
pub(crate) fn new_epoch() -> i64 {
    i64::from_ne_bytes(seal::random()) | 1
}

/// Tells a lock that others hold from all else that goes wrong.
pub(crate) fn refused(error: MigrateError) -> OpenError {
    let (migration, cause) = match &error {
        MigrateError::ExecuteMigration(cause, version) => (Some(*version), cause),
        MigrateError::Execute(cause) => (None, cause),
        _ => return OpenError::Migrate { source: error.into() },
    };
    if is_locked(cause) {
        return OpenError::Locked { what: what_waits(migration), holders: String::new() };
    }
    OpenError::Migrate { source: error.into() }
}

/// Whether it is a table or a column that is not there
/// (<https://www.postgresql.org/docs/15/errcodes-appendix.html>). SQLite has one code for whatever is wrong with a
/// statement (<https://www.sqlite.org/rescode.html#error>), and a text.
fn is_not_there(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    match error.code().as_deref() {
        Some("42P01" | "42703") => true,
        Some("1") => {
            ["no such table", "no such column"].iter().any(|it| error.message().contains(it))
        }
        _ => false,
    }
}

/// Whether a lock was waited for in vain.
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some(LOCK_NOT_AVAILABLE)
}

fn what_waits(migration: Option<i64>) -> String {
    migration.map_or_else(|| "migrating".to_owned(), |version| format!("migration {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (number, name, text) of the files of a directory, by number.
    fn files(directory: &str) -> Vec<(i64, String, String)> {
        let directory =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(directory);
        let files = std::fs::read_dir(directory).expect("it is there").map(|entry| {
            let path = entry.expect("can be read").path();
            let stem = path.file_stem().expect("a file").to_string_lossy().into_owned();
            let (number, name) = stem.split_once('_').expect("NNNN_name.sql");
            let text = std::fs::read_to_string(&path).expect("text");
            (number.parse().expect("a number"), name.to_owned(), text)
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }

    #[test]
    fn every_file_is_applied_once_in_ascending_order() {
        for (directory, migrations) in
            [("postgres", POSTGRES), ("sqlite", SQLITE), ("sqlite_logs", SQLITE_LOGS)]
        {
            let listed = migrations.iter().map(|&(number, name, sql)| (number, name, sql));
            let files = files(directory);
            let files =
                files.iter().map(|(number, name, sql)| (*number, name.as_str(), sql.as_str()));
            assert!(listed.eq(files), "{directory}");
            let ascend = |of: &[(i64, &str, &str)]| of.windows(2).all(|two| two[0].0 < two[1].0);
            assert!(ascend(migrations), "{directory}: a number twice");
        }
    }
}
