//! What room the queue has, as it said a second ago: nobody asks on the path of a publish.
//!
//! Above its high-water mark the queue keeps the rest of its room for what deliverers park, and all publishes are refused;
//! an account that has as much waiting as it may is refused alone. Nothing is dropped for space.

use std::{
    collections::HashSet,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use millrace_domain::AccountSid;
use millrace_queue::{Pressure, Queue};
use millrace_runtime::{Readiness, Tasks};
use tokio::time::{sleep, timeout};

use crate::{metrics, status::Problem};

/// How often the queue is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for its answer, before it counts as away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What room there is. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    pressed: AtomicBool,
    full: RwLock<Arc<HashSet<AccountSid>>>,
}

impl Room {
    /// Whether something may be published.
    ///
    /// # Errors
    /// [`Problem::Pressed`] above the high-water mark.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.0.pressed.load(Ordering::Relaxed) { Err(Problem::Pressed) } else { Ok(()) }
    }

    /// The accounts that have as much waiting as they may.
    pub(crate) fn full_accounts(&self) -> Arc<HashSet<AccountSid>> {
        Arc::clone(&self.0.full.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows `queue`, above whose `high_water_percent` nothing is published; says in `readiness` whether it answers.
    pub(crate) fn follow(
        &self,
        queue: Arc<dyn Queue>,
        high_water_percent: u8,
        readiness: Readiness,
        tasks: &Tasks,
    ) {
        let room = self.clone();
        readiness.set("queue", true);
        tasks.spawn("follow-queue", |stopping| async move {
            loop {
                let asked = timeout(ANSWER_TIMEOUT, room.ask(&*queue, high_water_percent));
                let answers = match stopping.run_until_cancelled(asked).await {
                    Some(asked) => matches!(asked, Ok(Ok(()))),
                    None => return Ok(()),
                };
                readiness.set("queue", answers);
                if stopping.run_until_cancelled(sleep(ASK_EVERY)).await.is_none() {
                    return Ok(());
                }
            }
        });
    }

    /// What is not answered stays as it was.
    async fn ask(&self, queue: &dyn Queue, high_water_percent: u8) -> millrace_queue::Result<()> {
        // Both are waited for to their end.
        let (pressure, full) = tokio::join!(queue.pressure(), queue.full_accounts());
        self.note_pressure(pressure?, high_water_percent);
        self.note_full(full?.into_iter().collect());
        Ok(())
    }

    fn note_pressure(&self, pressure: Pressure, high_water_percent: u8) {
        let pressed = pressure.is_over(high_water_percent);
        metrics::pressure(pressure, pressed);
        let Pressure { used_bytes, max_bytes } = pressure;
        match (self.0.pressed.swap(pressed, Ordering::Relaxed), pressed) {
            (false, true) => tracing::warn!(
                used_bytes,
                max_bytes,
                "the queue has passed {high_water_percent} % of its memory: publishes are refused, deliveries go on"
            ),
            (true, false) => tracing::info!(used_bytes, max_bytes, "the queue has room again"),
            _ => {}
        }
    }

    fn note_full(&self, full: HashSet<AccountSid>) {
        metrics::full_accounts(full.len());
        if *self.full_accounts() != full {
            tracing::info!(accounts = full.len(), "the accounts that have no room have changed");
            *self.0.full.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(full);
        }
    }
}
