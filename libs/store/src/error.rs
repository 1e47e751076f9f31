//! What can go wrong with the store, by what the caller can do about it.

use std::error::Error as StdError;

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such row, or another account's.
    #[error("{what} does not exist")]
    NotFound {
        /// What was asked for, such as "sink DG…".
        what: String,
    },
    /// The row is there already.
    #[error("{what} exists already")]
    AlreadyExists {
        /// What was to be added.
        what: String,
    },
    /// Something else still needs the row.
    #[error("{what} is in use")]
    InUse {
        /// What was to be removed.
        what: String,
    },
    /// The account has all it may have.
    #[error("the limit of {limit} is reached")]
    LimitReached {
        /// The limit.
        limit: u32,
    },
    /// A request of this name was done already ([`crate::repeats`]); nothing was done now.
    #[error("the request was done already")]
    Repeated,
    /// The account is closed, for good.
    #[error("{what} is closed")]
    Closed {
        /// Which account.
        what: String,
    },
    /// New subscriptions to a failed sink are refused.
    #[error("the sink is failed")]
    SinkFailed,
    /// Nobody is named as who makes the change: a mistake of the program. Nothing was written.
    #[error("nobody is named for the audit log: see `audit::acting_as`")]
    Unattributed,
    /// The database did not answer, or not as it must. A write may have happened; every write is safe to repeat.
    #[error("cannot {operation}")]
    Unavailable {
        /// What was tried, such as "create a sink".
        operation: &'static str,
        /// Why not.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A sealed secret does not open: wrong or missing key, or changed bytes. Asks a human to act.
    #[error("cannot open the sealed {what}")]
    Unsealable {
        /// Of which row.
        what: String,
    },
}

/// Why a database cannot be opened or migrated.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not answer, or the URL or path is wrong.
    #[error("cannot open the database")]
    Connect {
        /// Why not.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Its tables are older than this program.
    #[error("the database lacks migration {version} ({name}): run `millrace migrate`")]
    NotMigrated {
        /// Number of the first migration that is missing.
        version: i64,
        /// What it is about.
        name: String,
    },
    /// A newer release took away what this program uses.
    #[error(
        "the database needs a program that knows migration {needs}, this one knows {knows}: run a newer release"
    )]
    TooNew {
        /// Number of the migration that a program must know.
        needs: i64,
        /// Number of the newest that this one knows.
        knows: i64,
    },
    /// Others hold a lock that is needed; nothing was changed by this step, and it may be tried again.
    #[error(
        "{what} waits for a lock that others hold ({holders}); nothing was changed: run it again once they are done"
    )]
    Locked {
        /// What waits, such as "migration 13".
        what: String,
        /// Whose transactions are the oldest; what the database tells of them.
        holders: String,
    },
    /// A migration failed; it was rolled back, or the next try removes what it left.
    #[error("cannot migrate the database")]
    Migrate {
        /// Why not.
        source: Box<dyn StdError + Send + Sync>,
    },
}
