//! Migrations outside a transaction: they build or drop an index, or look whether a constraint holds, beside everybody who
//! reads and writes the table. They may take hours, wait for whoever began before them, and keep nobody waiting.
//!
//! One that is cut off has done half: an index that is `INVALID`, kept up to date and used by nobody. It is dropped before
//! the next try.

use sqlx::{AnyConnection, AssertSqlSafe, Executor as _};
use tracing::{info, warn};

use super::migrate::LIMITS;

/// Said before: what keeps nobody waiting may wait for all.
const NO_LIMITS: &str = "SET lock_timeout = 0; SET statement_timeout = 0";
/// Whether there is an index of this name that was built in part.
const IS_INVALID: &str = "SELECT EXISTS (SELECT FROM pg_index
    WHERE indexrelid = to_regclass($1::TEXT) AND NOT indisvalid)";

/// Makes the connection wait as long as it takes, and removes what an earlier try left.
pub(crate) async fn begin(connection: &mut AnyConnection, sql: &str) -> Result<(), sqlx::Error> {
    connection.execute(NO_LIMITS).await?;
    let Some(index) = index_of(sql) else { return Ok(()) };
    let is_invalid = sqlx::query_scalar(IS_INVALID).bind(index);
    if is_invalid.fetch_one(&mut *connection).await? {
        warn!(index, "an index was built in part only: it is dropped and built again");
        // The name is one of our own files'.
        let dropped = AssertSqlSafe(format!("DROP INDEX CONCURRENTLY IF EXISTS {index}"));
        connection.execute(dropped).await?;
    }
    info!(index, "works on an index beside those who use its table, for as long as that takes");
    Ok(())
}

/// Gives the connection its limits back.
pub(crate) async fn end(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    connection.execute(LIMITS).await.map(drop)
}

/// The index that a statement is about, if it is about one.
fn index_of(sql: &str) -> Option<&str> {
    let code = sql.lines().filter_map(|line| line.split("--").next());
    let mut words = code.flat_map(str::split_whitespace);
    words.find(|word| word.eq_ignore_ascii_case("CONCURRENTLY"))?;
    let name =
        words.find(|word| !["IF", "NOT", "EXISTS"].contains(&&*word.to_ascii_uppercase()))?;
    Some(name.trim_end_matches(';'))
}

#[cfg(test)]
mod tests;
