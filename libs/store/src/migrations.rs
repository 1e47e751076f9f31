//! The tables of both databases, embedded. Migrations are appended, never edited: expand first, contract in a
//! later release, so that the release before still runs on the tables of this one.

use sqlx::{
    AnyPool, SqlSafeStr as _,
    migrate::{Migrate as _, Migration, MigrationType, Migrator},
};

use crate::{OpenError, seal};

/// (number, what it is about, SQL) for Postgres.
pub(crate) const POSTGRES: &[(i64, &str, &str)] = &[
    (1, "resources", include_str!("../migrations/postgres/0001_resources.sql")),
    (2, "sink_delivery", include_str!("../migrations/postgres/0002_sink_delivery.sql")),
    (3, "logs", include_str!("../migrations/postgres/0003_logs.sql")),
    (4, "error_logs_of_sinks", include_str!("../migrations/postgres/0004_error_logs_of_sinks.sql")),
    (5, "accounts", include_str!("../migrations/postgres/0005_accounts.sql")),
    (6, "validation", include_str!("../migrations/postgres/0006_validation.sql")),
    (7, "requests", include_str!("../migrations/postgres/0007_requests.sql")),
    (8, "audit_log", include_str!("../migrations/postgres/0008_audit_log.sql")),
];
/// The same for SQLite.
pub(crate) const SQLITE: &[(i64, &str, &str)] = &[
    (1, "resources", include_str!("../migrations/sqlite/0001_resources.sql")),
    (2, "sink_delivery", include_str!("../migrations/sqlite/0002_sink_delivery.sql")),
    (5, "accounts", include_str!("../migrations/sqlite/0005_accounts.sql")),
    (6, "validation", include_str!("../migrations/sqlite/0006_validation.sql")),
    (7, "requests", include_str!("../migrations/sqlite/0007_requests.sql")),
    (8, "audit_log", include_str!("../migrations/sqlite/0008_audit_log.sql")),
];
/// For SQLite's file of logs.
pub(crate) const SQLITE_LOGS: &[(i64, &str, &str)] = &[
    (1, "logs", include_str!("../migrations/sqlite_logs/0001_logs.sql")),
    (
        4,
        "error_logs_of_sinks",
        include_str!("../migrations/sqlite_logs/0004_error_logs_of_sinks.sql"),
    ),
];

/// As [`apply`], for resources: a database that has never had an epoch gets one.
pub(crate) async fn migrate(
    pool: &AnyPool,
    migrations: &'static [(i64, &'static str, &'static str)],
) -> Result<(), OpenError> {
    apply(pool, migrations).await?;
    give_epoch(pool).await.map_err(|error| OpenError::Migrate { source: error.into() })
}

/// Applies what is missing, each in a transaction, one process at a time; a repeat does nothing.
pub(crate) async fn apply(
    pool: &AnyPool,
    migrations: &'static [(i64, &'static str, &'static str)],
) -> Result<(), OpenError> {
    let steps = migrations.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(steps.collect());
    // A newer release may have been here: its tables serve this one too.
    migrator.set_ignore_missing(true);
    migrator.run(pool).await.map_err(|error| OpenError::Migrate { source: error.into() })
}

/// Tells whether every migration has been applied.
///
/// # Errors
/// [`OpenError::NotMigrated`] names the first that is missing.
pub(crate) async fn check(
    pool: &AnyPool,
    migrations: &[(i64, &'static str, &'static str)],
) -> Result<(), OpenError> {
    let applied =
        applied(pool).await.map_err(|error| OpenError::Connect { source: error.into() })?;
    match migrations.iter().find(|(version, ..)| !applied.contains(version)) {
        Some(&(version, name, _)) => Err(OpenError::NotMigrated { version, name: name.to_owned() }),
        None => Ok(()),
    }
}

async fn applied(pool: &AnyPool) -> Result<Vec<i64>, sqlx::Error> {
    // sqlx's own table; a database that was never migrated has none, which only asking for its rows tells.
    let mut connection = pool.acquire().await?;
    match connection.list_applied_migrations("_sqlx_migrations").await {
        Ok(applied) => Ok(applied.into_iter().map(|migration| migration.version).collect()),
        Err(sqlx::migrate::MigrateError::Execute(sqlx::Error::Database(_))) => Ok(Vec::new()),
        Err(error) => Err(sqlx::Error::Migrate(Box::new(error))),
    }
}

async fn give_epoch(pool: &AnyPool) -> Result<(), sqlx::Error> {
    let epoch = i64::from_ne_bytes(seal::random()) | 1;
    sqlx::query("INSERT INTO meta (one, epoch) VALUES (1, $1) ON CONFLICT DO NOTHING")
        .bind(epoch)
        .execute(pool)
        .await?;
    Ok(())
}
