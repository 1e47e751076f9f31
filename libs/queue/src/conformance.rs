//! The one suite that every queue passes. A test of a backend calls each part with a fixture of its own.
//!
//! Every case begins with an empty queue of [`PARTITIONS`] partitions whose bound on reports of attempts is
//! [`ATTEMPTS_MAX`]. A case panics where the queue is not what [`Queue`] says.

mod crashes;
mod given;
mod marks;
mod owners;
mod parks;
mod ready;
mod recovery;
mod reports;
mod room;
mod settlements;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::{
    crashes::crashes, marks::marks, owners::owners, parks::parks, ready::ready, recovery::recovery,
    reports::reports, room::room, settlements::settlements,
};
use crate::Queue;

/// P of the queues that the suite is run on.
pub const PARTITIONS: u16 = 4;
/// Bound on reports of attempts of the queues that the suite is run on.
pub const ATTEMPTS_MAX: u64 = 100;

/// Gives queues to test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Makes an empty queue.
    async fn fresh(&self) -> Box<dyn Store>;
}

/// What a queue stands on, which outlives the processes that use it.
#[async_trait]
pub trait Store: Send + Sync {
    /// Opens the queue as a process does that starts. What opened it before is dropped by then, unless several
    /// processes may share the store.
    async fn open(&self) -> Arc<dyn Queue>;

    /// Whether what is in the queue outlives the process.
    fn is_durable(&self) -> bool;
}
