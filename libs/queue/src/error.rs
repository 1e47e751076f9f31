//! What can go wrong with the queue, by what the caller can do about it.

use std::error::Error as StdError;

/// Why a call of the queue failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No room. What is there can still be settled, parked and drained.
    #[error("the queue is full")]
    Full,
    /// The caller's token does not hold the partition: it must stop serving it at once.
    #[error("the partition is held by another token")]
    Stale,
    /// The queue did not answer, or not in time; a write may have happened. Worth a repeat after a pause.
    #[error("cannot {operation}")]
    Unavailable {
        /// What was tried, such as "append to partition 7".
        operation: String,
        /// Why not.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The queue is set up in a way this process must not work with. Asks a human to act.
    #[error("{0}")]
    Refused(String),
    /// Stored bytes are not what they must be.
    #[error("cannot read {what}")]
    Corrupt {
        /// What was read.
        what: String,
        /// Why not.
        source: Box<dyn StdError + Send + Sync>,
    },
}
