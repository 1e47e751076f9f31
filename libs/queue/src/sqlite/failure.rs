//! What an error of SQLite means to a caller of the queue.

use std::sync::Arc;

use crate::Error;

/// Why a transaction failed, for all whose work was in it.
pub(super) type Failure = Arc<sqlx::Error>;

/// No room on the disk (`SQLITE_FULL`, <https://www.sqlite.org/rescode.html>).
const FULL: i64 = 13;
/// The file is damaged (`SQLITE_CORRUPT`), or no database (`SQLITE_NOTADB`).
const DAMAGED: [i64; 2] = [11, 26];

/// The error of the call that does `operation`.
pub(super) fn during(failure: impl Into<Failure>, operation: impl FnOnce() -> String) -> Error {
    let failure = failure.into();
    let code = failure.as_database_error().and_then(|error| error.code());
    // The low byte of an extended code is the primary one.
    let primary = code.and_then(|code| code.parse::<i64>().ok()).map(|code| code & 0xff);
    match primary {
        Some(FULL) => Error::Full,
        Some(code) if DAMAGED.contains(&code) => {
            Error::Corrupt { what: "the queue's file".into(), source: Box::new(failure) }
        }
        _ => Error::Unavailable { operation: operation(), source: Box::new(failure) },
    }
}
