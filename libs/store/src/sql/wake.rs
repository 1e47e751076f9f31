//! Wakes those who wait for changes: at once after a commit of this process or a word from the database, and
//! once a second in any case, since either may be lost.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{pin, sync::Notify, task::JoinSet, time};

/// How long a wake that got lost can cost.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Wakes all who wait. Owns the task that listens to the database, if there is one; it ends with this.
#[derive(Default)]
pub(crate) struct Wake {
    woken: Arc<Notify>,
    listener: JoinSet<()>,
}

impl Wake {
    /// Runs `listen`, which is to call `notify_waiters` for each word from the database, for as long as this lives.
    pub(crate) fn listening<F>(listen: impl FnOnce(Arc<Notify>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut wake = Self::default();
        wake.listener.spawn(listen(Arc::clone(&wake.woken)));
        wake
    }

    /// Wakes all who wait.
    pub(crate) fn all(&self) {
        self.woken.notify_waiters();
    }

    /// Waits until `news` says yes; asks it at once, after each wake and once a second.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, news: impl Fn() -> F) {
        loop {
            let woken = self.woken.notified();
            pin!(woken);
            // From here on no wake is missed, so one that comes while `news` looks is not lost.
            woken.as_mut().enable();
            if news().await {
                return;
            }
            // Either way `news` is asked again.
            drop(time::timeout(POLL_EVERY, woken).await);
        }
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wake").field("listens", &!self.listener.is_empty()).finish()
    }
}
