//! Keeps the last known configuration of control-plane: a snapshot, then deltas, swapped in atomically.
//!
//! The invariant: **who looks sees one whole version**, never a part of a delta or of a snapshot; and what is known stays
//! in force while control-plane cannot be reached. It lives in memory only. What a configuration means for an event is the
//! services' business.
//!
//! ```ignore
//! let (client, watch) = Client::new(millrace_watch::connect(address)?, token, View::Router)?;
//! tasks.spawn("watch-configuration", |stopping| async move {
//!     client.run(stopping.cancelled_owned()).await;
//!     Ok(())
//! });
//! ```

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use millrace_domain::ConfigVersion;
use tokio::sync::watch;

mod assembly;
mod client;
mod read;
mod resources;
mod sharded;
mod table;

pub use client::{Client, Error, View, connect};
pub use resources::{Account, ApiKey, Document, EventType, LiveSink, Schema, SchemaVersion, Sink};
pub use table::Configuration;

/// Where the last known configuration is looked at. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watch {
    current: Arc<ArcSwapOption<Configuration>>,
    version: watch::Receiver<Option<ConfigVersion>>,
}

impl Watch {
    /// A watch that shows `configuration` for ever: for tests.
    pub fn fixed(configuration: Configuration) -> Self {
        let (publisher, watch) = channel();
        publisher.publish(configuration);
        watch
    }

    /// A watch that shows `configuration`, and then what is given to the function: for tests.
    pub fn shown(configuration: Configuration) -> (Self, impl Fn(Configuration)) {
        let (publisher, watch) = channel();
        publisher.publish(configuration);
        (watch, move |configuration| publisher.publish(configuration))
    }

    /// The last known configuration; `None` until the first snapshot is whole.
    pub fn current(&self) -> Option<Arc<Configuration>> {
        self.current.load_full()
    }

    /// Waits until the configuration has everything that one at `version` has, at most `within`; tells whether it does.
    pub async fn reached(&self, version: ConfigVersion, within: Duration) -> bool {
        let mut seen = self.version.clone();
        let covers = |now: &Option<ConfigVersion>| now.is_some_and(|now| now.covers(version));
        matches!(tokio::time::timeout(within, seen.wait_for(covers)).await, Ok(Ok(_)))
    }

    /// Follows the version of [`Self::current`], which is in place by the time the version is seen here.
    pub fn changed(&self) -> watch::Receiver<Option<ConfigVersion>> {
        self.version.clone()
    }
}

/// What puts a configuration where every [`Watch`] sees it.
#[derive(Debug)]
pub(crate) struct Publisher {
    current: Arc<ArcSwapOption<Configuration>>,
    version: watch::Sender<Option<ConfigVersion>>,
}

impl Publisher {
    pub(crate) fn publish(&self, configuration: Configuration) {
        let version = configuration.version();
        self.current.store(Some(Arc::new(configuration)));
        self.version.send_replace(Some(version));
    }
}

pub(crate) fn channel() -> (Publisher, Watch) {
    let current = Arc::new(ArcSwapOption::empty());
    let (sender, version) = watch::channel(None);
    (Publisher { current: Arc::clone(&current), version: sender }, Watch { current, version })
}
