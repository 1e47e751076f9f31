//! The task of a lane: sends while the breaker is closed, probes while it is half-open, parks while it is open.
//! How it does each is in `send`, `probe` and `drain`.
//!
//! It ends when the tenure ends or when there is nothing to do for a while. Whatever it still holds then is parked by being
//! dropped.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use millrace_domain::{
    ConfigVersion, SinkConfiguration, Timestamp,
    breaker::{self, Breaker, Gate},
    outcome::Outcome,
};
use millrace_runtime::telemetry::traces::Span;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Lane,
    batch::halves,
    congestion::Congestion,
    drain::Loads,
    pace::Pace,
    shelf::{Probed, Shelf},
    telling::Told,
};
use crate::{
    attempt::{Done, Request},
    budget::Share,
    parcel::Parcel,
    standing::{self, Standing},
    tenure::Tenure,
};

/// How long a lane without work stays.
const IDLE: Duration = Duration::from_secs(60);
/// How often a lane that cannot send looks for events whose window has closed, at the least.
pub(super) const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);

/// Runs a lane to its end.
pub(crate) async fn run(lane: Arc<Lane>, tenure: Arc<Tenure>, state: breaker::State) {
    let pace = Pace::new(tenure.cx.delivery.in_flight_per_sink);
    let share = tenure.cx.in_flight.share();
    let breaker = Breaker::new(tenure.cx.delivery.backoff(), state);
    let mut runner = Runner {
        shelf: Shelf::new(&lane, &tenure),
        lane,
        tenure,
        breaker,
        pace,
        drained: VecDeque::new(),
        halved: VecDeque::new(),
        attempts: JoinSet::new(),
        draining: Arc::default(),
        congestion: Congestion::new(),
        paused_until: None,
        loads: Loads::default(),
        probed: Probed::default(),
        turn: 0,
        share,
        expiry_due: Instant::now(),
        discards_told: None,
        delivers: false,
        gone: None,
        standing: None,
        asked_window: None,
    };
    let hurry = runner.tenure.hurry.clone();
    // Cancelled, the runner is dropped with all it holds, which parks it. Pinned here, the work has its room once, not in each
    // future around it: there are thousands of lanes.
    hurry.run_until_cancelled(std::pin::pin!(runner.work())).await;
    runner.loads.abandon().await;
    runner.lane.close();
}

pub(super) struct Runner {
    pub(super) lane: Arc<Lane>,
    pub(super) tenure: Arc<Tenure>,
    pub(super) shelf: Shelf,
    pub(super) breaker: Breaker,
    pub(super) pace: Pace,
    /// Parcels of parked chunks, to be sent.
    pub(super) drained: VecDeque<Parcel>,
    /// Halves of refused batches, to be sent as they are.
    pub(super) halved: VecDeque<Vec<Parcel>>,
    pub(super) attempts: JoinSet<Done>,
    /// Has a clone in each request of the backlog.
    pub(super) draining: Arc<()>,
    /// How many of those there may be.
    pub(super) congestion: Congestion,
    /// The sink asked for a pause.
    pub(super) paused_until: Option<Timestamp>,
    /// Loads of parked chunks.
    pub(super) loads: Loads,
    /// Parked chunks that probes took an event of since the breaker opened.
    pub(super) probed: Probed,
    /// Counts requests, for the turns of fresh events and backlog.
    pub(super) turn: u32,
    /// This lane's share of the process's requests.
    pub(super) share: Share,
    pub(super) expiry_due: Instant,
    pub(super) discards_told: Option<Instant>,
    /// Whether the last request was delivered.
    pub(super) delivers: bool,
    /// What the sink was when it answered 410; `None`: it got something since.
    pub(super) gone: Option<SinkConfiguration>,
    /// How the sink stands, by the version that says so.
    standing: Option<(ConfigVersion, Standing)>,
    /// The window that it asked for when it was looked at last.
    asked_window: Option<Duration>,
}

/// Why a lane looks what there is to do.
enum Changed {
    /// A request ended. `None`: it panicked.
    Request(Option<Done>),
    Lane,
    Other,
}

impl Runner {
    async fn work(&mut self) {
        let mut configuration = self.tenure.cx.watch.changed();
        let mut idle_since = Instant::now();
        loop {
            let stopping = self.tenure.stopping.is_cancelled();
            let next = if stopping { self.stop() } else { self.step().await };
            if stopping && self.attempts.is_empty() && !self.loads.is_running() {
                return;
            }
            self.lane.pulse.set_in_flight(self.attempts.len());
            let busy =
                !self.attempts.is_empty() || !self.drained.is_empty() || self.loads.is_running();
            if busy {
                idle_since = Instant::now();
            } else if idle_since.elapsed() >= IDLE && self.tenure.retire(&self.lane) {
                return;
            }
            let next = next.unwrap_or_else(|| Instant::now() + IDLE);
            // Every arm but the request's and the load's only says that something changed; what those bring is handed over whole.
            let changed = tokio::select! {
                Some(taken) = self.loads.next() => {
                    self.loaded(taken);
                    continue;
                }
                Some(done) = self.attempts.join_next() => Changed::Request(done.ok()),
                () = self.share.granted() => Changed::Other,
                () = self.lane.changed() => Changed::Lane,
                // Not once there is nobody left to change it: the process is ending.
                Ok(()) = configuration.changed() => Changed::Other,
                () = self.tenure.stopping.cancelled(), if !stopping => Changed::Other,
                () = sleep_until(next) => Changed::Other,
            };
            self.loads.disturb();
            match changed {
                Changed::Request(first) => self.finish_all(first),
                Changed::Lane => idle_since = Instant::now(),
                Changed::Other => {}
            }
        }
    }

    /// Begins nothing more: parks what waits.
    fn stop(&mut self) -> Option<Instant> {
        self.share.leave();
        self.lane.close();
        self.put_back();
        None
    }

    /// Does what can be done now, and tells when there may be more to do.
    async fn step(&mut self) -> Option<Instant> {
        let spec = match self.standing() {
            Standing::Gone(reason) => {
                self.lane.set_sends(false);
                self.share.leave();
                return self.purge(reason).await;
            }
            Standing::Held { .. } | Standing::Unknown => {
                self.lane.set_sends(false);
                return self.hold().await;
            }
            Standing::Live(spec) => spec,
        };
        self.pace.follow(&spec.delivery);
        let now = self.tenure.cx.clock.now();
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let gate = (self.breaker.gate(now), self.paused_until);
        self.lane.set_sends(matches!(gate, (Gate::Closed, None)));
        match gate {
            (Gate::Closed, None) => self.send(spec),
            (Gate::Closed, Some(until)) => self.wait_out(until).await,
            (Gate::HalfOpen, None) => self.probe(spec).await,
            (Gate::HalfOpen, Some(until)) => self.hold_until(until).await,
            (Gate::Open(until), paused) => {
                self.hold_until(paused.map_or(until, |paused| paused.max(until))).await
            }
        }
    }

    /// How long delivery of an event to this sink is tried.
    pub(super) fn window(&mut self) -> Duration {
        let asked = match self.standing() {
            Standing::Live(spec) => spec.delivery.window,
            Standing::Held { window } => window,
            // A database that was restored may not know it: until it does again, its window is as it was.
            Standing::Unknown => self.asked_window,
            Standing::Gone(_) => None,
        };
        self.asked_window = asked;
        asked.unwrap_or(self.tenure.cx.delivery.window)
    }

    /// How the sink stands now; looked up once for each version of the configuration.
    fn standing(&mut self) -> Standing {
        let Some(configuration) = self.tenure.cx.watch.current() else {
            return Standing::Unknown;
        };
        let version = configuration.version();
        match &self.standing {
            Some((seen, standing)) if *seen == version => standing.clone(),
            _ => {
                let standing = standing::of(Some(&configuration), self.lane.sink);
                self.standing = Some((version, standing.clone()));
                // Its window may be another.
                self.expiry_due = Instant::now();
                standing
            }
        }
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
        let Some(Done { request, attempt, making, span }) = done else {
            tracing::error!(sink.sid = %self.lane.sink, "an attempt ended in a panic: its events are parked");
            self.breaker.failed(self.tenure.cx.clock.now(), fastrand::f64(), None, true);
            return self.tenure.remember(self.lane.sink, self.breaker.state());
        };
        let _in_trace = span.as_ref().map(Span::enter);
        let Request { parcels, spec, started, probe, drains } = request;
        let drained = drains.is_some();
        drop(drains);
        if drained {
            self.congestion.worked(attempt.duration, self.open_drains());
        }
        if attempt.outcomes.contains(&Outcome::Delivered) {
            self.congestion.heard(attempt.duration);
            if drained {
                let (open, most) = (self.open_drains(), self.pace.requests());
                self.congestion.made(making);
                self.congestion.answered(attempt.duration, open, most);
            }
        }
        let was_closed = self.is_closed();
        let now = self.tenure.cx.clock.now();
        self.lane.pulse.attempted(now, spec.configuration.sink_type(), &attempt);
        self.learn(&attempt, probe);
        self.tell(&Told { spec: &spec, attempt: &attempt, started, parcels: &parcels, was_closed });
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
