//! Opening the file: pragmas, schema, P and format, what an earlier life of the process left.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Row, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::failure::during;
use crate::{Error, Result};

/// Version of the tables; another one is refused.
const FORMAT: i64 = 1;
/// Connections that read beside the writer.
const READERS: u32 = 4;

/// An open database.
pub(super) struct Database {
    /// One connection: all writes.
    pub(super) writer: SqlitePool,
    /// All reads; in memory, the writer's connection.
    pub(super) reader: SqlitePool,
    /// The last id that was drawn.
    pub(super) last_id: i64,
}

impl Database {
    /// Opens `path`, or a database in memory.
    pub(super) async fn open(path: Option<&Path>, partitions: u16) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let (writer, reader) = match path {
            None => {
                let pool = pool(1, options.in_memory(true));
                (pool.clone(), pool)
            }
            Some(path) => {
                let options = options.filename(path).journal_mode(SqliteJournalMode::Wal);
                let writing = options
                    .clone()
                    .create_if_missing(true)
                    .synchronous(SqliteSynchronous::Full)
                    .pragma("wal_autocheckpoint", "4000");
                (pool(1, writing), pool(READERS, options.read_only(true)))
            }
        };
        let prepared = async {
            let mut connection = writer.acquire().await?;
            prepare(&mut connection, partitions).await
        };
        let last_id = prepared.await.map_err(|error| during(error, || "open the queue".into()))?;
        Ok(Self { writer, reader, last_id: last_id.map_err(Error::Refused)? })
    }
}

/// Connections that are kept: in memory, a connection is the database. They are opened from here: each has a thread, whose priority would
/// else be that of who asks first.
fn pool(connections: u32, options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options)
}

/// Makes the tables, checks or writes P and the format; gives the last id.
async fn prepare(to: &mut SqliteConnection, partitions: u16) -> sqlx::Result<Result<i64, String>> {
    sqlx::raw_sql(include_str!("schema.sql")).execute(&mut *to).await?;
    let set = "INSERT OR IGNORE INTO meta (key, value) VALUES ('partitions', ?), ('format', ?), ('last_id', 0)";
    sqlx::query(set).bind(i64::from(partitions)).bind(FORMAT).execute(&mut *to).await?;
    let format = meta(to, "format").await?;
    if format != FORMAT {
        return Ok(Err(format!(
            "the queue's file has format {format}, this version of Millrace works with {FORMAT}"
        )));
    }
    let found = meta(to, "partitions").await?;
    if found != i64::from(partitions) {
        return Ok(Err(format!(
            "the queue's file is set up with {found} partitions, this process with {partitions}: set it to {found}"
        )));
    }
    // Who had reports in hand was an earlier life of this process.
    let forget = "UPDATE reports SET consumer = NULL WHERE consumer IS NOT NULL";
    sqlx::query(forget).execute(&mut *to).await?;
    meta(to, "last_id").await.map(Ok)
}

async fn meta(from: &mut SqliteConnection, key: &str) -> sqlx::Result<i64> {
    let row = sqlx::query("SELECT value FROM meta WHERE key = ?").bind(key).fetch_one(from).await?;
    row.try_get(0)
}
