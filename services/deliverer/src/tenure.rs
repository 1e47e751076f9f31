//! A tenure: one partition for as long as this process owns it. It takes chunks, hands their parcels to lanes, and has them
//! settled. It ends by being drained (everything settled, nothing repeated) or aborted (nothing more is written).

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use millrace_domain::{Partition, SinkSid, Timestamp, breaker};
use millrace_proto::internal::{AttemptReport, BacklogState, SinkReport};
use millrace_queue::{Class, Place, Token};
use tokio::time::{Instant, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backlog::{Backlogs, Closed, breaker_state},
    clock::PUT_OFF_MAX,
    context::Context,
    cursor::Cursor,
    lane::{self, Lane},
    ledger::Ledger,
    parcel::Parcel,
    probation::{self, Probation},
    quota::Parked,
    settler,
    tally::Tally,
};

/// Reports that wait for a settlement at most; more are counted and forgotten.
const REPORTS_MAX: usize = 10_000;
/// Notes that are taken back in one call.
const NOTED_AT_ONCE: usize = 256;
/// Part of a lease in which nothing new is sent: another owner may start right after.
const LEASE_MARGIN: Duration = Duration::from_millis(500);

/// One partition while this process owns it.
pub(crate) struct Tenure {
    pub(crate) partition: Partition,
    pub(crate) token: Token,
    pub(crate) cx: Arc<Context>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) cursor: Cursor,
    pub(crate) probation: Probation,
    trusted: AtomicBool,
    /// Nothing new is begun.
    pub(crate) stopping: CancellationToken,
    /// Requests that are open are abandoned.
    pub(crate) hurry: CancellationToken,
    /// The partition is another's: nothing is written any more.
    pub(crate) aborted: CancellationToken,
    /// What its accounts have parked.
    pub(crate) parked: Parked,
    lease_until: Mutex<Instant>,
    lanes: Mutex<HashMap<SinkSid, Arc<Lane>>>,
    running: TaskTracker,
    pub(crate) settling: TaskTracker,
    breakers: Mutex<HashMap<SinkSid, breaker::State>>,
    /// What is parked, for people.
    pub(crate) tally: Tally,
    dirty: Mutex<HashSet<SinkSid>>,
    emptied: Mutex<HashMap<SinkSid, u64>>,
    reports: Mutex<Vec<AttemptReport>>,
    turns: Mutex<Vec<SinkReport>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tenure {
    /// Begins: loads what is parked, and gives its sinks their lanes.
    ///
    /// # Errors
    /// If the queue does not say what is parked.
    pub(crate) async fn begin(
        partition: Partition,
        token: Token,
        lease_until: Instant,
        cx: Arc<Context>,
    ) -> millrace_queue::Result<Arc<Self>> {
        let (backlogs, inheritance) =
            tokio::try_join!(cx.queue.backlogs(partition), cx.queue.inherit(partition))?;
        let sinks = backlogs.iter().map(|(sink, _)| *sink);
        let probation = Probation::new(inheritance, sinks);
        let tenure = Arc::new(Self {
            partition,
            token,
            cx,
            ledger: Arc::default(),
            cursor: Cursor::default(),
            trusted: AtomicBool::new(false),
            probation,
            stopping: CancellationToken::new(),
            hurry: CancellationToken::new(),
            aborted: CancellationToken::new(),
            parked: Parked::default(),
            lease_until: Mutex::new(lease_until),
            lanes: Mutex::default(),
            running: TaskTracker::new(),
            settling: TaskTracker::new(),
            breakers: Mutex::default(),
            tally: Tally::load(&backlogs),
            dirty: Mutex::default(),
            emptied: Mutex::default(),
            reports: Mutex::default(),
            turns: Mutex::default(),
        });
        for (sink, state) in &backlogs {
            tenure.parked.note(*sink, Some(state));
            tenure.resume(*sink, state);
        }
        let settled = tenure
            .settling
            .track_future(settler::run(Arc::clone(&tenure), Backlogs::load(backlogs)));
        tenure.cx.tasks.spawn(format!("settle-partition-{}", partition.0), |_| async move {
            settled.await;
            Ok(())
        });
        if tenure.probation.is_needless() {
            tenure.trust();
        } else if !tenure.probation.is_over() {
            let on_probation = tenure.settling.track_future(probation::run(Arc::clone(&tenure)));
            tenure.cx.tasks.spawn(format!("probation-{}", partition.0), |_| async move {
                on_probation.await;
                Ok(())
            });
        }
        Ok(tenure)
    }

    /// Notes suspects; see [`probation`].
    ///
    /// # Errors
    /// If they may not be noted, or the partition is another's.
    pub(crate) async fn note(&self, notes: &[(Place, u32)]) -> millrace_queue::Result<()> {
        self.probation.begin_to_note(notes.iter().map(|(place, _)| *place));
        self.cx.queue.note(self.partition, self.token, notes).await
    }

    /// Has what was noted of chunks, and not opened, be as it was before: nobody dies of them. For who has drained this.
    ///
    /// # Errors
    /// If that cannot be noted.
    pub(crate) async fn take_back_notes(&self) -> millrace_queue::Result<()> {
        for notes in self.probation.unopened().chunks(NOTED_AT_ONCE) {
            self.cx.queue.note(self.partition, self.token, notes).await?;
        }
        Ok(())
    }

    /// Says that what the owner before left in `ready` was survived.
    pub(crate) fn trust(&self) {
        self.trusted.store(true, Ordering::Release);
        self.ledger.wake();
    }

    /// Tells once that the next settlement is to say so.
    pub(crate) fn take_trust(&self) -> bool {
        self.trusted.swap(false, Ordering::AcqRel)
    }

    /// Tells whether something may still be sent: another owner cannot have started.
    pub(crate) fn holds_lease(&self) -> bool {
        !self.aborted.is_cancelled() && Instant::now() + LEASE_MARGIN < *lock(&self.lease_until)
    }

    /// Says until when the lease holds.
    pub(crate) fn renewed(&self, until: Instant) {
        *lock(&self.lease_until) = until;
    }

    /// Tells whether the lease is over, by this machine's steady clock.
    pub(crate) fn lease_is_over(&self) -> bool {
        Instant::now() >= *lock(&self.lease_until)
    }

    /// Remembers the breaker of a sink: the next settlement writes it.
    pub(crate) fn remember(&self, sink: SinkSid, state: breaker::State) {
        let before = match state == breaker::State::default() {
            true => lock(&self.breakers).remove(&sink).unwrap_or_default(),
            false => lock(&self.breakers).insert(sink, state).unwrap_or_default(),
        };
        if before != state {
            lock(&self.dirty).insert(sink);
            self.ledger.wake();
        }
    }

    /// A lane found nothing parked, when it had been told of `parks` parks.
    pub(crate) fn nothing_parked(&self, sink: SinkSid, parks: u64) {
        lock(&self.emptied).insert(sink, parks);
        lock(&self.dirty).insert(sink);
        self.ledger.wake();
    }

    /// Sinks that still have nothing parked. Only for the settler: between two settlements nothing is parked.
    pub(crate) fn take_emptied(&self) -> HashSet<SinkSid> {
        let emptied = mem::take(&mut *lock(&self.emptied));
        let lanes = lock(&self.lanes);
        let still = |sink: &SinkSid, parks: u64| {
            lanes.get(sink).is_some_and(|lane| lane.view().parks == parks)
        };
        emptied
            .into_iter()
            .filter(|(sink, parks)| still(sink, *parks))
            .map(|(sink, _)| sink)
            .collect()
    }

    /// Adds what is told of a request.
    pub(crate) fn report(&self, report: AttemptReport) {
        let mut reports = lock(&self.reports);
        if reports.len() < REPORTS_MAX {
            reports.push(report);
        } else {
            metrics::counter!("millrace_attempt_reports_lost_total").increment(1);
        }
    }

    pub(crate) fn take_reports(&self) -> Vec<AttemptReport> {
        mem::take(&mut *lock(&self.reports))
    }

    /// Adds what is told of a turn in a sink's health.
    pub(crate) fn report_turn(&self, turn: SinkReport) {
        lock(&self.turns).push(turn);
        self.ledger.wake();
    }

    pub(crate) fn take_turns(&self) -> Vec<SinkReport> {
        mem::take(&mut *lock(&self.turns))
    }

    pub(crate) fn take_dirty(&self) -> HashSet<SinkSid> {
        mem::take(&mut *lock(&self.dirty))
    }

    pub(crate) fn breakers(&self) -> HashMap<SinkSid, breaker::State> {
        lock(&self.breakers).clone()
    }

    /// The breaker of a sink.
    pub(crate) fn breaker_of(&self, sink: SinkSid) -> breaker::State {
        lock(&self.breakers).get(&sink).copied().unwrap_or_default()
    }

    /// The lane of a sink, if it has one.
    pub(crate) fn lane_of(&self, sink: SinkSid) -> Option<Arc<Lane>> {
        lock(&self.lanes).get(&sink).cloned()
    }

    /// Which of these sinks have a lane that waits for events.
    pub(crate) fn hungry_among(&self, sinks: &HashSet<SinkSid>) -> HashSet<SinkSid> {
        let lanes = lock(&self.lanes);
        let is_hungry = |sink: &&SinkSid| lanes.get(sink).is_some_and(|lane| lane.is_hungry());
        sinks.iter().filter(is_hungry).copied().collect()
    }

    /// How many sinks have a lane and are not of those.
    pub(crate) fn lanes_but(&self, those: impl Fn(&SinkSid) -> bool) -> u32 {
        let lanes = lock(&self.lanes);
        u32::try_from(lanes.keys().filter(|sink| !those(sink)).count()).unwrap_or(u32::MAX)
    }

    /// How many sinks have a lane.
    pub(crate) fn lanes(&self) -> usize {
        lock(&self.lanes).len()
    }

    /// Tells lanes what was parked for them, and which chunks are not in hand any more.
    pub(crate) fn tell_lanes(
        self: &Arc<Self>,
        parked: Vec<(SinkSid, Class, Timestamp)>,
        closed: Vec<Closed>,
    ) {
        let mut lanes = lock(&self.lanes);
        for Closed { sink, class, id } in closed {
            if let Some(lane) = lanes.get(&sink) {
                lane.closed(class, id);
            }
        }
        for (sink, class, at) in parked {
            // A lane may have retired meanwhile; what is parked needs one again.
            if !self.stopping.is_cancelled() || lanes.contains_key(&sink) {
                self.lane(&mut lanes, sink).parked(class, at);
            }
        }
    }

    /// Removes a lane that has nothing to do; tells whether it is gone.
    pub(crate) fn retire(&self, lane: &Lane) -> bool {
        let mut lanes = lock(&self.lanes);
        let gone = lane.close_if_idle();
        if gone {
            lanes.remove(&lane.sink);
        }
        gone
    }

    /// Tells whether all that was begun is settled, after [`Self::drain`] was called.
    pub(crate) fn is_drained(&self) -> bool {
        self.stopping.is_cancelled() && self.running.is_empty() && self.ledger.unsettled() == 0
    }

    /// Ends in order: finishes requests that are open, at most `grace`; parks the rest; settles everything. Gives up settling
    /// only where the tenure is aborted.
    pub(crate) async fn drain(&self, grace: Duration) {
        self.stopping.cancel();
        self.running.close();
        self.settling.close();
        if timeout(grace, self.running.wait()).await.is_err() {
            self.hurry.cancel();
            self.running.wait().await;
        }
        self.ledger.wake();
        self.settling.wait().await;
    }

    /// Ends at once: the partition is another's, or the lease is over.
    pub(crate) fn abort(&self) {
        self.aborted.cancel();
        self.hurry.cancel();
        self.stopping.cancel();
    }

    fn resume(self: &Arc<Self>, sink: SinkSid, state: &BacklogState) {
        let (now, cap) = (self.cx.clock.now(), self.cx.delivery.backoff_cap);
        let mut breaker = breaker_state(state);
        if let Some(open) = &mut breaker.open
            && open.next_probe > now.plus(PUT_OFF_MAX)
        {
            open.next_probe = now.plus(cap);
        }
        if breaker != breaker::State::default() {
            lock(&self.breakers).insert(sink, breaker);
        }
        let lane = self.lane(&mut lock(&self.lanes), sink);
        lane.resume();
    }

    pub(crate) fn hand_over(self: &Arc<Self>, parcel: Parcel) {
        let mut lanes = lock(&self.lanes);
        let lane = self.lane(&mut lanes, parcel.sink);
        // A lane that is full gives the parcel back; dropped, it is parked.
        drop(lane.push(parcel, &self.cx.delivery));
    }

    fn lane(self: &Arc<Self>, lanes: &mut HashMap<SinkSid, Arc<Lane>>, sink: SinkSid) -> Arc<Lane> {
        if let Some(lane) = lanes.get(&sink) {
            return Arc::clone(lane);
        }
        let lane = Arc::new(Lane::new(sink));
        lanes.insert(sink, Arc::clone(&lane));
        let breaker = lock(&self.breakers).get(&sink).copied().unwrap_or_default();
        let running =
            self.running.track_future(lane::run::run(Arc::clone(&lane), Arc::clone(self), breaker));
        let tenure = Arc::clone(self);
        // A lane's task is kept small: see `Tasks::spawn`.
        self.cx.tasks.spawn("lane", |_| {
            running.map(move |()| {
                tenure.ledger.wake();
                Ok(())
            })
        });
        lane
    }
}
