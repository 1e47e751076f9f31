//! How many dropped events an account keeps: the oldest go first, their entries stay.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use millrace_domain::AccountSid;
use millrace_store::{LogStore, logs::PURGE_MAX};

/// How often accounts that dropped something are looked at: by what comes meanwhile they may be over.
const PERIOD: Duration = Duration::from_secs(10);

/// What an account may keep, and who dropped something since that was looked at.
#[derive(Debug)]
pub(crate) struct Quota {
    bytes: u64,
    events: u64,
    touched: HashSet<AccountSid>,
    looked: Option<Instant>,
}

impl Quota {
    pub(crate) fn new(bytes: u64, events: u64) -> Self {
        Self { bytes, events, touched: HashSet::new(), looked: None }
    }

    /// Notes who dropped something, and now and then forgets what is too much.
    pub(super) async fn keep(
        &mut self,
        logs: &dyn LogStore,
        dropped: impl Iterator<Item = AccountSid>,
    ) {
        self.touched.extend(dropped);
        if self.looked.is_some_and(|looked| looked.elapsed() < PERIOD) {
            return;
        }
        self.looked = Some(Instant::now());
        for account in std::mem::take(&mut self.touched) {
            match logs.purge_dropped(account, self.bytes, self.events).await {
                Ok(0) => {}
                Ok(purged) => {
                    metrics::counter!("millrace_dropped_events_forgotten_total").increment(purged);
                    tracing::info!(account.sid = %account, purged, "an account keeps no more dropped events: its oldest are forgotten");
                    if purged >= PURGE_MAX {
                        // There may be more, for the next round.
                        self.touched.insert(account);
                        self.looked = None;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot purge dropped events, tries again");
                    self.touched.insert(account);
                }
            }
        }
    }
}
