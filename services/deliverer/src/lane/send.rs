//! What a lane does while its sink is well: puts events into requests, as far as limits allow.

use std::{sync::Arc, time::Duration};

use millrace_domain::Timestamp;
use millrace_proto::internal::DropReason;
use millrace_sinks::SinkSpec;
use tokio::time::Instant;

use super::{batch::Batch, let_go, run::Runner};
use crate::{
    attempt::{self, Request},
    budget::Place,
    metrics,
    parcel::Parcel,
    trace,
};

/// When to look again whether the lease was renewed.
pub(super) const LEASE_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request of the backlog that takes long to make, about a tenth of a millisecond for its two signatures: it is made in
/// the background. Less is not worth to change threads for.
const LONG: usize = 16 * 1024;
/// Every so many requests one goes to the backlog first, while fresh events wait too.
const BACKLOG_TURN: u32 = 4;

impl Runner {
    /// Sends what there is, as far as limits allow.
    pub(super) fn send(&mut self, spec: Arc<SinkSpec>) -> Option<Instant> {
        let linger = self.tenure.cx.delivery.linger;
        self.lane.park_stale(linger);
        self.return_stale(linger * 2);
        let room = self.room_for_parked(&spec);
        let due = self.load(room);
        // A rest that ends meanwhile may have kept something from being started.
        let rested = self.congestion.rests_until();
        let next = self.start_all(&spec);
        if self.lane.has_recovered() {
            self.tenure.ledger.wake();
        }
        let rested = self.congestion.rests_until().or(rested);
        [due, next, rested, self.stale_at()].into_iter().flatten().min()
    }

    /// How many events of parked chunks may wait before no more are loaded: what for two rounds of requests is enough. What the
    /// sink cannot take soon is not loaded only to be parked again.
    fn room_for_parked(&self, spec: &SinkSpec) -> usize {
        if self.pace.is_limited() {
            return 1;
        }
        let limits = self.tenure.cx.drivers.of(spec.configuration.sink_type()).limits(spec);
        let requests = self.pace.requests();
        let held_back = self.congestion.limit(requests) * 2;
        held_back.saturating_mul(limits.events).min(requests * 2)
    }

    /// The sink asked for a pause: sends nothing until it is over.
    pub(super) async fn wait_out(&mut self, until: Timestamp) -> Option<Instant> {
        self.share.leave();
        self.lane.park_stale(self.tenure.cx.delivery.linger);
        self.have_loaded().await;
        self.put_back();
        if let Err(error) = self.sweep().await {
            return Some(self.shelf.later(&error));
        }
        let resume = self.tenure.cx.clock.instant_of(until);
        self.stale_at().into_iter().chain([resume, self.expiry_due]).min()
    }

    /// When the oldest fresh event has waited for long enough.
    pub(super) fn stale_at(&self) -> Option<Instant> {
        self.lane.oldest_fresh().map(|oldest| oldest + self.tenure.cx.delivery.linger)
    }

    /// Gives back what was loaded and not sent for longer than `patience`: a chunk is not held long.
    pub(super) fn return_stale(&mut self, patience: Duration) {
        while self.drained.front().is_some_and(|parcel| parcel.arrived.elapsed() >= patience) {
            drop(self.drained.pop_front());
        }
    }

    fn has_work(&self) -> bool {
        !self.halved.is_empty() || self.may_drain() || self.lane.oldest_fresh().is_some()
    }

    /// Whether there is something of the backlog to be sent, and it may be while nothing fresh waits.
    fn may_drain(&self) -> bool {
        !self.drained.is_empty() && self.congestion.admits(self.open_drains())
    }

    /// Requests of the backlog that are open.
    pub(super) fn open_drains(&self) -> usize {
        Arc::strong_count(&self.draining) - 1
    }

    /// Starts requests until a limit is met. Tells when there may be more to start, where it is not by being woken.
    fn start_all(&mut self, spec: &Arc<SinkSpec>) -> Option<Instant> {
        while self.attempts.len() < self.pace.requests() && self.has_work() {
            let wait = match self.tenure.holds_lease() {
                true => self.wait_for_rate(spec),
                false => LEASE_PAUSE,
            };
            if !wait.is_zero() {
                self.share.leave();
                return Some(Instant::now() + wait);
            }
            // Without a place the lane waits for one, and is woken.
            let place = self.share.take()?;
            self.start(spec, place, false);
        }
        self.share.leave();
        None
    }

    /// How long the rate limit has the next request wait.
    fn wait_for_rate(&mut self, spec: &Arc<SinkSpec>) -> Duration {
        if !self.pace.is_limited() {
            return Duration::ZERO;
        }
        if let Some(half) = self.halved.front() {
            return self.pace.wait_for_all(half.len());
        }
        let limits = self.tenure.cx.drivers.of(spec.configuration.sink_type()).limits(spec);
        let waiting = self.drained.len() + self.lane.waiting();
        self.pace.wait(limits.events.min(waiting))
    }

    /// Starts a request; a `probe` is of one event.
    pub(super) fn start(&mut self, spec: &Arc<SinkSpec>, place: Place, probe: bool) {
        let driver = Arc::clone(self.tenure.cx.drivers.of(spec.configuration.sink_type()));
        let mut limits = driver.limits(spec);
        let most = if probe { 1 } else { self.pace.events().max(1) };
        limits.events = limits.events.min(most);
        let started = self.tenure.cx.clock.now();
        let parcels = self.take(Batch::new(limits), probe);
        let parcels = self.without_expired(parcels, started);
        if !parcels.is_empty() {
            self.pace.sent(parcels.len());
            let parked = parcels.iter().any(|parcel| parcel.parked_as().is_some());
            let drains = parked.then(|| Arc::clone(&self.draining));
            let request = Request { parcels, spec: Arc::clone(spec), started, probe, drains };
            let bytes: usize = request.parcels.iter().map(|parcel| parcel.bytes().len()).sum();
            let sent = attempt::send(driver, request, place);
            if parked && bytes >= LONG {
                self.tenure.cx.background.spawn(&mut self.attempts, sent);
            } else {
                self.attempts.spawn(sent);
            }
        }
    }

    /// Takes the parcels of the next request: halves first; then fresh events, but every fourth time the backlog.
    fn take(&mut self, mut batch: Batch, probe: bool) -> Vec<Parcel> {
        if !probe && let Some(half) = self.halved.pop_front() {
            return half;
        }
        self.turn = self.turn.wrapping_add(1);
        let backlog_first = probe
            || match self.lane.oldest_fresh() {
                Some(_) => self.turn.is_multiple_of(BACKLOG_TURN),
                None => self.may_drain(),
            };
        if backlog_first && !self.drained.is_empty() {
            let mut taken = Vec::new();
            while self.drained.front().is_some_and(|parcel| batch.admit(parcel.bytes().len())) {
                taken.extend(self.drained.pop_front());
            }
            let_go(&mut self.drained);
            return taken;
        }
        let taken = self.lane.take_fresh(|parcel| batch.admit(parcel.bytes().len()));
        if !taken.is_empty() {
            self.congestion.saw_fresh();
        }
        taken
    }

    fn without_expired(&mut self, parcels: Vec<Parcel>, now: Timestamp) -> Vec<Parcel> {
        let window = self.window();
        let (expired, living) =
            parcels.into_iter().partition(|parcel: &Parcel| parcel.accepted.plus(window) <= now);
        for parcel in expired {
            drop_expired(parcel);
        }
        living
    }
}

pub(super) fn drop_expired(parcel: Parcel) {
    metrics::dropped("expired");
    trace::dropped(&parcel, "expired");
    parcel.give_up(DropReason::Expired, 0);
}
