//! The queue, which may come after this process: resources are served without it.

use std::{sync::Arc, time::Duration};

use millrace_queue::{Error, Queue, RedisOptions, RedisQueue};
use millrace_runtime::{CancellationToken, Tasks, sections::QueueSettings};
use tokio::{sync::watch, time::sleep};

use crate::status::{Failure, unavailable};

/// The wait before a queue is tried again that this process must not work with: until somebody mends it.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// The queue, once it is there. Cheap to clone.
#[derive(Clone)]
pub struct QueueHandle {
    current: watch::Receiver<Option<Arc<dyn Queue>>>,
}

impl QueueHandle {
    /// A queue that is there.
    pub fn of(queue: Arc<dyn Queue>) -> Self {
        Self { current: watch::channel(Some(queue)).1 }
    }

    /// Redis, which a task of its own connects to, as often as it takes.
    ///
    /// # Errors
    /// Certificates to trust that cannot be read.
    pub fn connecting(settings: &QueueSettings, tasks: &Tasks) -> anyhow::Result<Self> {
        let (told, current) = watch::channel(None);
        let options = RedisOptions {
            url: settings.url.reveal().to_owned(),
            sentinel_password: settings.sentinel_password.reveal().to_owned(),
            tls_ca: settings.tls_ca_pem()?,
            wait_replicas: settings.wait_replicas,
            wait_timeout: settings.wait_timeout,
            partitions: settings.partitions,
            prefix: settings.prefix.clone(),
            compress_ready: settings.compression.is_on(),
            ..RedisOptions::default()
        };
        tasks.spawn("connect-queue", |stopping| connect(options, told, stopping));
        Ok(Self { current })
    }

    /// The queue, for a request: UNAVAILABLE where there is none yet.
    pub(crate) fn get(&self) -> Result<Arc<dyn Queue>, Failure> {
        self.current.borrow().clone().ok_or_else(unavailable)
    }

    /// The queue, for a task: waits for it; `None` where there will be none.
    pub(crate) async fn wait(&self) -> Option<Arc<dyn Queue>> {
        self.current.clone().wait_for(Option::is_some).await.ok()?.clone()
    }
}

async fn connect(
    options: RedisOptions,
    told: watch::Sender<Option<Arc<dyn Queue>>>,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let connected = async {
        loop {
            match RedisQueue::connect_when_up(options.clone()).await {
                Ok(queue) => break queue,
                // Resources are served all the same, so this is no reason to stop.
                Err(error @ Error::Refused(_)) => tracing::error!(%error, "cannot use Redis"),
                Err(error) => tracing::warn!(%error, "cannot use Redis"),
            }
            sleep(REFUSED_RETRY).await;
        }
    };
    // Cancelling is safe: connecting changes nothing that a later connection does not find.
    if let Some(queue) = stopping.run_until_cancelled(connected).await {
        told.send_replace(Some(Arc::new(queue)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millrace_runtime::config::MaskedSecret;

    use super::*;

    #[tokio::test]
    async fn a_redis_that_is_not_there_makes_callers_wait_and_nobody_else() {
        let (tasks, _failures) = Tasks::new();
        let url = MaskedSecret::new("redis://127.0.0.1:1");
        let settings = QueueSettings { url, ..QueueSettings::default() };
        let handle = QueueHandle::connecting(&settings, &tasks).expect("no certificates");
        assert_eq!(handle.get().err(), Some(unavailable()));
        let waiting = handle.wait();
        tasks.stop(Duration::from_secs(5)).await.expect("it stops while it connects");
        assert!(waiting.await.is_none(), "there will be none");
    }
}
