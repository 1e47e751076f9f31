//! What a lane does with parked chunks: loads them to be sent, moves them, gives them up.

use std::{sync::Arc, time::Duration};

use millrace_domain::Timestamp;
use millrace_proto::internal::DropReason;
use millrace_queue::{Class, Result};
use tokio::time::Instant;

use super::{
    let_go,
    run::{EXPIRY_INTERVAL, Runner},
    send::drop_expired,
    shelf::{self, Probed, Shelf, Taken},
};
use crate::{metrics, parcel::Parcel, trace};

/// Parked chunks that are loaded at once.
const LOAD_CHUNKS: usize = 2;
/// Parked chunks that are moved or given up at once.
const SWEEP_CHUNKS: usize = 8;

/// What a lane has loaded of its parked chunks, and is loading.
#[derive(Default)]
pub(super) struct Loads {
    /// At most one at a time, so that nothing is loaded twice.
    running: tokio::task::JoinSet<Taken>,
    /// When to load again, after it could not be done.
    not_before: Option<Instant>,
    /// The last found nothing, and nothing has changed since it began.
    fruitless: bool,
    /// Something has changed since the one that runs began.
    disturbed: bool,
}

impl Loads {
    /// Waits for the load that runs to end. `None`: there is none. A panic in it is one here.
    pub(super) async fn next(&mut self) -> Option<Taken> {
        match self.running.join_next().await? {
            Ok(taken) => Some(taken),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Some(Taken { parcels: Vec::new(), again: Some(shelf::later()) }),
            },
        }
    }

    /// Something has changed: there may be what there was not before.
    pub(super) fn disturb(&mut self) {
        (self.fruitless, self.disturbed) = (false, true);
    }

    /// Gives up the load that runs, and waits until it is gone.
    pub(super) async fn abandon(&mut self) {
        self.running.shutdown().await;
    }

    /// Tells whether one runs, or has brought what was not taken in yet.
    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }
}

impl Runner {
    /// Has parked chunks loaded to be sent, while fewer than `room` parcels wait. Tells when there will be more to load, where the
    /// lane is not woken then.
    pub(super) fn load(&mut self, room: usize) -> Option<Instant> {
        let view = self.lane.view();
        if view.in_hand.is_empty() && !view.backlog && view.delayed.is_none() {
            return None;
        }
        let full = self.drained.len() >= room || !Shelf::has_hand(&view);
        if full || self.loads.is_running() {
            return None;
        }
        let now = self.tenure.cx.clock.now();
        let due = view.delayed.is_some_and(|due| due <= now);
        self.loads.not_before = self.loads.not_before.filter(|at| *at > Instant::now());
        if self.loads.not_before.is_some() {
            return self.loads.not_before;
        }
        if due && self.loads.fruitless {
            // It was not due yet when it was looked.
            return Some(Instant::now());
        }
        if (due || view.backlog) && !self.loads.fruitless {
            self.loads.disturbed = false;
            let (shelf, limit) = (
                self.shelf.clone(),
                if room == 1 || self.congestion.is_mindful() { 1 } else { LOAD_CHUNKS },
            );
            // Probes are for a sink that is down.
            let load = async move { shelf.take_next(limit, &mut Probed::default()).await };
            self.tenure.cx.background.spawn(&mut self.loads.running, load);
        }
        let due = view.delayed.filter(|due| *due > now);
        due.map(|due| self.tenure.cx.clock.instant_of(due))
    }

    /// Takes in what was loaded.
    pub(super) fn loaded(&mut self, taken: Taken) {
        self.loads.fruitless = taken.parcels.is_empty() && !self.loads.disturbed;
        self.loads.not_before = taken.again;
        self.drained.extend(taken.parcels);
    }

    /// Waits for a load that runs: what else is done with parked chunks is not done beside it.
    pub(super) async fn have_loaded(&mut self) {
        while let Some(taken) = self.loads.next().await {
            self.loaded(taken);
        }
    }

    /// Takes one parked chunk to probe with. Tells when the next is due, where there is none.
    pub(super) async fn load_for_probe(&mut self) -> Option<Instant> {
        let view = self.lane.view();
        if !self.drained.is_empty() || !Shelf::has_hand(&view) {
            return None;
        }
        if view.backlog || view.delayed.is_some() {
            let taken = self.shelf.take_next(1, &mut self.probed).await;
            self.drained.extend(taken.parcels);
            if taken.again.is_some() {
                return taken.again;
            }
        }
        self.lane.view().delayed.map(|due| self.tenure.cx.clock.instant_of(due))
    }

    /// The sink cannot take events now: everything goes to the backlog, and what is too old is given up.
    pub(super) async fn hold(&mut self) -> Option<Instant> {
        self.share.leave();
        drop(self.lane.take_fresh(|_| true));
        self.have_loaded().await;
        self.put_back();
        match self.sweep().await {
            // There is no room for what is due: not to be looked at again and again until there is.
            Ok(false) => Some(self.expiry_due.min(shelf::later())),
            Ok(true) => {
                // With its hands full, the lane is woken when one is free.
                let view = self.lane.view();
                let due = view.delayed.filter(|_| Shelf::has_hand(&view));
                let due = due.map(|due| self.tenure.cx.clock.instant_of(due));
                Some(due.map_or(self.expiry_due, |due| due.min(self.expiry_due)))
            }
            Err(error) => Some(self.shelf.later(&error)),
        }
    }

    /// Parks again what was loaded, and what was halved.
    pub(super) fn put_back(&mut self) {
        self.drained.clear();
        let_go(&mut self.drained);
        self.halved.clear();
    }

    /// Nobody will ever take these events: gives all of them up.
    pub(super) async fn purge(&mut self, reason: DropReason) -> Option<Instant> {
        self.have_loaded().await;
        let waiting = self
            .lane
            .take_fresh(|_| true)
            .into_iter()
            .chain(self.drained.drain(..))
            .chain(self.halved.drain(..).flatten());
        waiting.for_each(|parcel| give_up(parcel, reason));
        let cx = Arc::clone(&self.tenure.cx);
        let Some(_loading) = cx.parked.loading().await else {
            return Some(shelf::later());
        };
        for class in [Class::Backlog, Class::Delayed] {
            let view = self.lane.view();
            if !Shelf::has_hand(&view)
                || (class == Class::Backlog && !view.backlog)
                || (class == Class::Delayed && view.delayed.is_none())
            {
                continue;
            }
            let taken = self.shelf.take(class, shelf::END, SWEEP_CHUNKS, &mut self.probed).await;
            match taken {
                Ok(parcels) => parcels.into_iter().for_each(|parcel| give_up(parcel, reason)),
                Err(error) => return Some(self.shelf.later(&error)),
            }
        }
        None
    }

    /// While nothing is sent: what is due moves to the backlog, what is too old is given up. Tells whether there was room for it
    /// in memory.
    pub(super) async fn sweep(&mut self) -> Result<bool> {
        let now = self.tenure.cx.clock.now();
        let window = self.window();
        let view = self.lane.view();
        let due = view.delayed.is_some_and(|due| due <= now);
        if !due && self.expiry_due > Instant::now() {
            return Ok(true);
        }
        let cx = Arc::clone(&self.tenure.cx);
        let Some(_loading) = cx.parked.loading().await else {
            self.expiry_due = shelf::later();
            return Ok(false);
        };
        let room = Shelf::has_hand(&view);
        if room && due {
            self.shelf
                .take(Class::Delayed, now, SWEEP_CHUNKS, &mut self.probed)
                .await?
                .into_iter()
                .for_each(Parcel::park);
        }
        if self.expiry_due > Instant::now() {
            return Ok(true);
        }
        let mut wait = EXPIRY_INTERVAL.min(window / 8);
        if room && view.backlog {
            let closed = Timestamp::from_millis(
                now.as_millis() - i64::try_from(window.as_millis()).unwrap_or(i64::MAX / 2),
            );
            let (expired, found) = self.shelf.take_expired(closed, SWEEP_CHUNKS).await?;
            expired.into_iter().for_each(drop_expired);
            // More may have expired than were taken at once.
            if found == SWEEP_CHUNKS {
                wait = Duration::from_millis(10);
            }
        }
        self.expiry_due = Instant::now() + wait;
        Ok(true)
    }
}

fn give_up(parcel: Parcel, reason: DropReason) {
    metrics::dropped("gone");
    trace::dropped(&parcel, "gone");
    parcel.give_up(reason, 0);
}
