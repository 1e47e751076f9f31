//! The task of a lane: sends while the breaker is closed, probes while it is half-open, parks while it is open.
//!
//! It ends when the tenure ends or when there is nothing to do for a while. Whatever it still holds then is parked by being
//! dropped.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use millrace_domain::{
    ConfigVersion, Timestamp,
    breaker::{self, Breaker, Gate},
    outcome::Outcome,
};
use millrace_proto::internal::DropReason;
use millrace_sinks::SinkSpec;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Lane,
    batch::{Batch, halves},
    concurrency::Concurrency,
};
use crate::{
    attempt::{self, Done},
    parcel::Parcel,
    report,
    standing::{self, Standing},
    tenure::Tenure,
};

/// How long a lane without work stays.
const IDLE: Duration = Duration::from_secs(60);
/// How often a lane that cannot send looks for events whose window has closed, at the least.
pub(super) const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
/// When to look again whether the lease was renewed.
const LEASE_PAUSE: Duration = Duration::from_millis(100);
/// Of four requests, how many go to the backlog while fresh events wait too.
const BACKLOG_TURN: u32 = 4;

/// Runs a lane to its end.
pub(crate) async fn run(lane: Arc<Lane>, tenure: Arc<Tenure>, state: breaker::State) {
    let concurrency = Concurrency::new(tenure.cx.delivery.in_flight_per_sink);
    let breaker = Breaker::new(tenure.cx.delivery.backoff(), state);
    let mut runner = Runner {
        lane,
        tenure,
        breaker,
        concurrency,
        drained: VecDeque::new(),
        halved: VecDeque::new(),
        attempts: JoinSet::new(),
        paused_until: None,
        turn: 0,
        place: None,
        expiry_due: Instant::now(),
        discards_told: None,
        standing: None,
    };
    let hurry = runner.tenure.hurry.clone();
    // Cancelled, the runner is dropped with all it holds, which parks it.
    hurry.run_until_cancelled(runner.work()).await;
    runner.lane.close();
}

type Place = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

pub(super) struct Runner {
    pub(super) lane: Arc<Lane>,
    pub(super) tenure: Arc<Tenure>,
    pub(super) breaker: Breaker,
    pub(super) concurrency: Concurrency,
    /// Parcels of parked chunks, to be sent.
    pub(super) drained: VecDeque<Parcel>,
    /// Halves of refused batches, to be sent as they are.
    pub(super) halved: VecDeque<Vec<Parcel>>,
    attempts: JoinSet<Done>,
    /// The sink asked for a pause.
    pub(super) paused_until: Option<Timestamp>,
    turn: u32,
    /// The wait for a place among the process's requests; kept, so that its turn comes.
    place: Option<Place>,
    pub(super) expiry_due: Instant,
    pub(super) discards_told: Option<Instant>,
    /// How the sink stands, by the version that says so.
    standing: Option<(ConfigVersion, Standing)>,
}

impl Runner {
    async fn work(&mut self) {
        let mut configuration = self.tenure.cx.watch.changed();
        let mut idle_since = Instant::now();
        loop {
            let stopping = self.tenure.stopping.is_cancelled();
            let next = if stopping { self.stop() } else { self.step().await };
            if stopping && self.attempts.is_empty() {
                return;
            }
            let busy = !self.attempts.is_empty() || !self.drained.is_empty();
            if busy {
                idle_since = Instant::now();
            } else if idle_since.elapsed() >= IDLE && self.tenure.retire(&self.lane) {
                return;
            }
            let next = next.unwrap_or_else(|| Instant::now() + IDLE);
            // Every arm but the request's only says that something changed; a finished request is handed over whole.
            tokio::select! {
                Some(done) = self.attempts.join_next() => self.finish_all(done.ok()),
                place = wait(&mut self.place) => self.start_with(place).await,
                () = self.lane.changed() => idle_since = Instant::now(),
                // Not once there is nobody left to change it: the process is ending.
                Ok(()) = configuration.changed() => {}
                () = self.tenure.stopping.cancelled(), if !stopping => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Begins nothing more: parks what waits.
    fn stop(&mut self) -> Option<Instant> {
        self.place = None;
        self.lane.close();
        self.drained.clear();
        self.halved.clear();
        None
    }

    /// Does what can be done now, and tells when there may be more to do.
    async fn step(&mut self) -> Option<Instant> {
        match self.standing() {
            Standing::Gone(reason) => self.purge(reason).await,
            Standing::Held => self.hold().await,
            Standing::Live(spec) => match self.breaker.gate(self.tenure.cx.clock.now()) {
                Gate::Open(until) => self
                    .hold()
                    .await
                    .into_iter()
                    .chain([self.tenure.cx.clock.instant_of(until)])
                    .min(),
                Gate::HalfOpen => self.probe(spec).await,
                Gate::Closed => self.send(spec).await,
            },
        }
    }

    /// How the sink stands now; looked up once for each version of the configuration.
    fn standing(&mut self) -> Standing {
        let Some(configuration) = self.tenure.cx.watch.current() else { return Standing::Held };
        let version = configuration.version();
        match &self.standing {
            Some((seen, standing)) if *seen == version => standing.clone(),
            _ => {
                let standing = standing::of(Some(&configuration), self.lane.sink);
                self.standing = Some((version, standing.clone()));
                standing
            }
        }
    }

    /// Sends what there is, as far as limits allow.
    async fn send(&mut self, spec: Arc<SinkSpec>) -> Option<Instant> {
        let linger = self.tenure.cx.delivery.linger;
        self.lane.park_stale(linger);
        let now = self.tenure.cx.clock.now();
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            self.drained.clear();
            self.halved.clear();
            if let Err(error) = self.sweep().await {
                return Some(self.later(&error));
            }
            let resume = self.tenure.cx.clock.instant_of(until);
            return self
                .lane
                .oldest_fresh()
                .map(|oldest| oldest + linger)
                .into_iter()
                .chain([resume])
                .min();
        }
        self.paused_until = None;
        self.return_stale(linger * 2);
        let room = self.concurrency.limit() * 2;
        let due = self.load(room).await;
        while self.place.is_none()
            && self.attempts.len() < self.concurrency.limit()
            && self.has_work()
        {
            if !self.tenure.holds_lease() {
                return Some(Instant::now() + LEASE_PAUSE);
            }
            match Arc::clone(&self.tenure.cx.in_flight).try_acquire_owned() {
                Ok(place) => self.start(&spec, place, usize::MAX),
                Err(_) => {
                    let places = Arc::clone(&self.tenure.cx.in_flight);
                    self.place = Some(Box::pin(async move { places.acquire_owned().await.ok() }));
                }
            }
        }
        let stale = self.lane.oldest_fresh().map(|oldest| oldest + linger);
        due.into_iter().chain(stale).min()
    }

    /// Sends one event, alone, to see whether the sink is back; the others wait in the backlog.
    async fn probe(&mut self, spec: Arc<SinkSpec>) -> Option<Instant> {
        if !self.attempts.is_empty() {
            return None;
        }
        if !self.tenure.holds_lease() {
            return Some(Instant::now() + LEASE_PAUSE);
        }
        self.halved.clear();
        let due = self.load(1).await;
        if !self.has_work() {
            return Some(due.unwrap_or_else(|| Instant::now() + EXPIRY_INTERVAL));
        }
        // Each probe tries another event, so that one bad event does not keep the sink down.
        let failures = usize::try_from(self.breaker.state().failures).unwrap_or(0);
        let at = failures.checked_rem(self.drained.len()).unwrap_or(0);
        self.drained.rotate_left(at);
        let place = Arc::clone(&self.tenure.cx.in_flight).acquire_owned().await.ok()?;
        self.start(&spec, place, 1);
        // What was taken may have expired instead of being sent: then the next is due at once.
        self.attempts.is_empty().then(Instant::now)
    }

    async fn start_with(&mut self, place: Option<OwnedSemaphorePermit>) {
        self.place = None;
        let standing = self.standing();
        let closed = self.breaker.gate(self.tenure.cx.clock.now()) == Gate::Closed;
        if let (Some(place), Standing::Live(spec), true, true) =
            (place, standing, closed, self.tenure.holds_lease())
        {
            self.start(&spec, place, usize::MAX);
        }
    }

    /// Gives back what was loaded and not sent for longer than `patience`: a chunk is not held long.
    fn return_stale(&mut self, patience: Duration) {
        while self.drained.front().is_some_and(|parcel| parcel.arrived.elapsed() >= patience) {
            drop(self.drained.pop_front());
        }
    }

    fn has_work(&self) -> bool {
        !self.halved.is_empty() || !self.drained.is_empty() || self.lane.oldest_fresh().is_some()
    }

    /// Starts a request of at most `events` events.
    fn start(&mut self, spec: &Arc<SinkSpec>, place: OwnedSemaphorePermit, events: usize) {
        let driver = Arc::clone(self.tenure.cx.drivers.of(spec.configuration.sink_type()));
        let mut limits = driver.limits(spec);
        limits.events = limits.events.min(events);
        let started = self.tenure.cx.clock.now();
        let parcels = self.take(Batch::new(limits), events);
        let parcels = self.without_expired(parcels, started);
        if !parcels.is_empty() {
            self.attempts.spawn(attempt::send(driver, Arc::clone(spec), parcels, started, place));
        }
    }

    /// Takes the parcels of the next request: halves first; then fresh events, but every fourth time the backlog.
    fn take(&mut self, mut batch: Batch, events: usize) -> Vec<Parcel> {
        if events > 1
            && let Some(half) = self.halved.pop_front()
        {
            return half;
        }
        self.turn = self.turn.wrapping_add(1);
        let backlog_first = events == 1
            || self.turn.is_multiple_of(BACKLOG_TURN)
            || self.lane.oldest_fresh().is_none();
        if backlog_first && !self.drained.is_empty() {
            let mut taken = Vec::new();
            while self.drained.front().is_some_and(|parcel| batch.admit(parcel.bytes().len())) {
                taken.extend(self.drained.pop_front());
            }
            return taken;
        }
        self.lane.take_fresh(|parcel| batch.admit(parcel.bytes().len()))
    }

    fn without_expired(&self, parcels: Vec<Parcel>, now: Timestamp) -> Vec<Parcel> {
        let window = self.tenure.cx.delivery.window;
        let (expired, living) =
            parcels.into_iter().partition(|parcel: &Parcel| parcel.accepted.plus(window) <= now);
        for parcel in expired {
            drop_expired(parcel);
        }
        living
    }

    /// Accounts for a request that ended, and for all that ended with it: what is to be done next is worked out once.
    fn finish_all(&mut self, first: Option<Done>) {
        self.finish(first);
        while let Some(done) = self.attempts.try_join_next() {
            self.finish(done.ok());
        }
    }

    /// Accounts for a request that ended. `None`: it panicked, which parked its parcels.
    fn finish(&mut self, done: Option<Done>) {
        let Some(Done { parcels, spec, started, attempt }) = done else {
            tracing::error!(sink.sid = %self.lane.sink, "an attempt ended in a panic: its events are parked");
            self.breaker.failed(self.tenure.cx.clock.now(), fastrand::f64(), None);
            return self.tenure.remember(self.lane.sink, self.breaker.state());
        };
        let event_ids = parcels.iter().map(|parcel| parcel.id().to_owned()).collect();
        let tried = parcels.first().map_or(1, |parcel| parcel.attempts.saturating_add(1));
        let request = report::Request {
            account: spec.account,
            sink: spec.sid,
            started,
            event_ids,
            attempt: tried,
        };
        self.tenure.report(report::of(request, &attempt));
        self.learn(&attempt);
        let discarded =
            attempt.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Discard { .. }));
        let refused_as_a_batch = discarded && matches!(attempt.http_status, Some(400 | 413 | 422));
        if !refused_as_a_batch {
            return self.account(attempt.outcomes, parcels);
        }
        match halves(parcels) {
            Ok((first, second)) => self.halved.extend([first, second]),
            Err(alone) => self.account(attempt.outcomes, alone),
        }
    }
}

pub(super) fn drop_expired(parcel: Parcel) {
    metrics::counter!("millrace_dropped_events_total", "reason" => "expired").increment(1);
    parcel.give_up(DropReason::Expired, 0);
}

async fn wait(place: &mut Option<Place>) -> Option<OwnedSemaphorePermit> {
    match place {
        Some(place) => place.await,
        None => std::future::pending().await,
    }
}
