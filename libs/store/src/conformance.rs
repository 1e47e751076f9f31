//! What every [`ResourceStore`] must do, run against each backend: a new one is one file and one test.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{
    Keyring, ResourceStore,
    audit::{Actor, acting_as},
};

mod accounts;
mod audit;
mod catalogue;
mod changes;
mod concurrency;
mod history;
pub mod logs;
mod make;
mod repeats;
mod sealing;
mod sinks;
mod subscriptions;

pub use make::{account, sink, subscription};

/// Does `work` as a test, as which the audit log has it.
pub async fn as_test<F: Future>(work: F) -> F::Output {
    acting_as(Actor::Process("test"), work).await
}

/// A new, migrated, empty database.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Opens the database, as another process would; every store so opened is on the same one.
    async fn open(&self, keyring: Keyring) -> Arc<dyn ResourceStore>;
    /// All that the database holds, as a thief would find it.
    async fn contents(&self) -> Vec<u8>;
}

/// A check: it is given a database of its own, and panics where the backend falls short.
type Check = for<'a> fn(&'a dyn Backend) -> BoxFuture<'a, ()>;

/// Every check, by the sentence it stands for.
const CHECKS: &[(&str, Check)] = &[
    ("accounts are kept", |b| Box::pin(accounts::are_kept(b))),
    ("API keys belong to an account", |b| Box::pin(accounts::have_keys(b))),
    ("API keys are listed, renamed and deleted", |b| Box::pin(accounts::have_keys_that_change(b))),
    ("accounts are listed by family", |b| Box::pin(accounts::are_listed(b))),
    ("accounts change, and close for good", |b| Box::pin(accounts::change_and_close(b))),
    ("closing takes all along", |b| Box::pin(accounts::take_all_along(b))),
    ("auth tokens are rotated", |b| Box::pin(accounts::rotate_tokens(b))),
    ("sinks are kept and updated", |b| Box::pin(sinks::are_kept_and_updated(b))),
    ("sinks change in part", |b| Box::pin(sinks::change_in_part(b))),
    ("sinks fail and work again", |b| Box::pin(sinks::fail_and_work_again(b))),
    ("sinks are listed by filter and page", |b| Box::pin(sinks::are_listed(b))),
    ("sinks leave a tombstone for a time", |b| Box::pin(sinks::leave_a_tombstone(b))),
    ("sinks are seen by their account only", |b| Box::pin(sinks::are_private(b))),
    ("subscriptions are kept and described", |b| Box::pin(subscriptions::are_kept(b))),
    ("subscriptions need a sink that works", |b| Box::pin(subscriptions::need_a_sink(b))),
    ("subscriptions gain and lose types", |b| Box::pin(subscriptions::gain_and_lose_types(b))),
    ("subscriptions are private", |b| Box::pin(subscriptions::are_private(b))),
    ("types are registered once", |b| Box::pin(catalogue::types_are_registered_once(b))),
    ("types are changed in part", |b| Box::pin(catalogue::types_change_in_part(b))),
    ("versions are added one by one", |b| Box::pin(catalogue::versions_are_added_one_by_one(b))),
    ("types and versions are listed", |b| Box::pin(catalogue::is_listed(b))),
    ("the log tells every write in order", |b| Box::pin(changes::tell_every_write(b))),
    ("every write is audited", |b| Box::pin(audit::every_write_is_audited(b))),
    ("the audit log is listed", |b| Box::pin(audit::is_listed(b))),
    ("the log tells how it was", |b| Box::pin(history::tells_how_it_was(b))),
    ("compaction keeps what was in force", |b| Box::pin(history::is_compacted(b))),
    ("a write by nobody is refused", |b| Box::pin(audit::a_write_by_nobody_is_refused(b))),
    ("another epoch and the future are gone", |b| Box::pin(changes::of_elsewhere_are_gone(b))),
    ("a commit elsewhere wakes who waits", |b| Box::pin(changes::wake_who_waits(b))),
    ("limits are exact", |b| Box::pin(concurrency::limits_are_exact(b))),
    ("no reader of the log sees a gap", |b| Box::pin(concurrency::the_log_has_no_gaps(b))),
    ("a snapshot is of one version", |b| Box::pin(concurrency::a_snapshot_is_of_one_version(b))),
    ("a call dropped midway does all or nothing", |b| {
        Box::pin(concurrency::a_dropped_call_does_all_or_nothing(b))
    }),
    ("requests are answered as the first time", |b| {
        Box::pin(repeats::are_answered_as_the_first_time(b))
    }),
    ("requests are done once whoever races", |b| Box::pin(repeats::are_done_once_whoever_races(b))),
    ("requests are forgotten after a day", |b| Box::pin(repeats::are_forgotten_after_a_day(b))),
    ("no secret is stored in clear", |b| Box::pin(sealing::hides_every_secret(b))),
    ("keys are rotated", |b| Box::pin(sealing::keys_are_rotated(b))),
];

/// Runs every check, each on a new database of `make`; panics at the first that fails, named on stderr.
pub async fn run<F: Future<Output = Box<dyn Backend>>>(make: impl Fn() -> F) {
    for (sentence, check) in CHECKS {
        eprintln!("checking: {sentence}");
        acting_as(Actor::Process("conformance"), check(make().await.as_ref())).await;
    }
}
