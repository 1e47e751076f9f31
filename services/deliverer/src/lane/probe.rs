//! What a lane does while its sink is down: nothing but one probe at a time, each with another event.

use std::sync::Arc;

use millrace_domain::Timestamp;
use millrace_sinks::SinkSpec;
use tokio::time::Instant;

use super::{
    run::{EXPIRY_INTERVAL, Runner},
    send::LEASE_PAUSE,
};

/// Parked chunks that the next probes pass over, because an event of theirs was tried.
const PROBED_MAX: usize = 32;

impl Runner {
    /// Holds everything back, until then at the latest.
    pub(super) async fn hold_until(&mut self, until: Timestamp) -> Option<Instant> {
        let next = self.hold().await;
        next.into_iter().chain([self.tenure.cx.clock.instant_of(until)]).min()
    }

    /// Sends one event, alone, to see whether the sink is back; the others wait in the backlog.
    pub(super) async fn probe(&mut self, spec: Arc<SinkSpec>) -> Option<Instant> {
        let linger = self.tenure.cx.delivery.linger;
        self.lane.park_stale(linger);
        if !self.attempts.is_empty() {
            self.share.leave();
            return self.stale_at();
        }
        self.halved.clear();
        self.have_loaded().await;
        self.return_stale(linger * 2);
        let due = self.load_for_probe().await;
        // Whether a backlog rests is not asked: a probe is one request, and nobody would wake the lane when the rest is over.
        if self.drained.is_empty() && self.lane.oldest_fresh().is_none() {
            self.share.leave();
            return Some(due.unwrap_or_else(|| Instant::now() + EXPIRY_INTERVAL));
        }
        let wait = match self.tenure.holds_lease() {
            true => self.pace.wait_for_all(1),
            false => LEASE_PAUSE,
        };
        if !wait.is_zero() {
            self.share.leave();
            return Some(Instant::now() + wait);
        }
        let Some(place) = self.share.take() else { return self.stale_at() };
        self.turn_to_another();
        self.start(&spec, place, true);
        // What was taken may have expired instead of being sent: then the next is due at once.
        if self.attempts.is_empty() { Some(Instant::now()) } else { self.stale_at() }
    }

    /// Each probe tries another event, of another chunk where there is one, so that one bad event does not keep the sink down.
    fn turn_to_another(&mut self) {
        let failures = usize::try_from(self.breaker.state().failures).unwrap_or(0);
        let at = failures.checked_rem(self.drained.len()).unwrap_or(0);
        self.drained.rotate_left(at);
        if let Some(id) = self.drained.front().and_then(crate::parcel::Parcel::parked_as) {
            self.probed.push_back(id);
        }
        if self.probed.len() > PROBED_MAX {
            self.probed.pop_front();
        }
    }
}
