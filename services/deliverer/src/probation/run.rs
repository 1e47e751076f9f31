//! Runs what stands in `ready` at a takeover: first what nothing is held against, then each suspect alone.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use millrace_queue::{Entry, Error, Place};
use tokio::time::sleep;

use super::{ALONE_FROM, GROUP, Held, STRIKES, WINDOW, lock, note::Note, reason};
use crate::{parcel::Source, tenure::Tenure};

/// How far beyond its bound a reader may have read.
const READ_BYTES: usize = 8 * 1024 * 1024;
/// Suspects that stand back for the others; with more, one is run at once.
const ASIDE_MAX: usize = 512;
/// Bytes of them.
const ASIDE_BYTES: usize = 4 * 1024 * 1024;

/// Runs what waits of `ready`, until all that is suspect was survived.
pub(crate) async fn run(tenure: Arc<Tenure>) {
    let stopping = tenure.stopping.clone();
    let runner = Runner { tenure, bytes: 0, aside: VecDeque::new(), aside_bytes: 0 };
    // Cancelled, what waits stays in `ready`, and what was noted and not begun is suspect to the next owner: no harm.
    stopping.run_until_cancelled(runner.run()).await;
}

struct Runner {
    tenure: Arc<Tenure>,
    /// Of the suspects that were run because the owner before did not release.
    bytes: usize,
    /// What owners died with, for when the others are through.
    aside: VecDeque<Entry>,
    aside_bytes: usize,
}

impl Runner {
    async fn run(mut self) {
        let probation = &Arc::clone(&self.tenure).probation;
        while let Some(entry) = self.next().await {
            let place = Place::Ready(entry.id);
            match probation.strikes(&self.tenure.cx.living, place) {
                0 if !probation.unclean => {
                    let noted = probation.forget(place);
                    self.tenure.open(entry, noted.then(Held::default));
                }
                0 => {
                    probation.forget(place);
                    self.run_together(entry).await;
                }
                _ => self.set_aside(entry).await,
            }
            self.ask_for_more();
        }
        self.ask_for_more();
        // All that was in hand is settled when every place is free again.
        let all = Arc::clone(&probation.window).acquire_many_owned(WINDOW).await;
        if probation.unclean && all.is_ok() {
            self.tenure.trust();
        }
        drop(all);
        while let Some(entry) = self.aside.pop_front() {
            self.run_alone(entry).await;
        }
    }

    /// The next entry, once there is one; `None`: nothing that comes is suspect, and nothing waits.
    async fn next(&mut self) -> Option<Entry> {
        let probation = &self.tenure.probation;
        // What the dead owner cannot have read any more is not suspect.
        let enough = self.tenure.cx.delivery.unsettled_bytes + READ_BYTES;
        loop {
            let arrived = probation.arrived.notified();
            {
                let mut waiting = lock(&probation.waiting);
                let until = waiting.until?;
                let beyond = waiting.entries.front().is_some_and(|first| first.id > until);
                if beyond || waiting.taken >= until || self.bytes > enough {
                    (waiting.until, waiting.bytes) = (None, 0);
                    for entry in std::mem::take(&mut waiting.entries) {
                        self.tenure.open(entry, None);
                    }
                    return None;
                }
                if let Some(entry) = waiting.take() {
                    return Some(entry);
                }
            }
            arrived.await;
        }
    }

    /// Runs a suspect with others, as many as wait and have room.
    async fn run_together(&mut self, first: Entry) {
        let probation = &Arc::clone(&self.tenure).probation;
        let window = &probation.window;
        let Ok(permit) = Arc::clone(window).acquire_owned().await else { return };
        let mut group = vec![(first, permit)];
        while group.len() < GROUP {
            let Ok(permit) = Arc::clone(window).try_acquire_owned() else { break };
            let Some(entry) = probation.take_if_unnoted() else { break };
            group.push((entry, permit));
        }
        let note = Note::in_hand(1, self.tenure.cx.living.mark()).number();
        let notes: Vec<_> = group.iter().map(|(entry, _)| (Place::Ready(entry.id), note)).collect();
        self.note(&notes).await;
        for (entry, permit) in group {
            self.bytes += entry.chunk.len();
            self.tenure.open(entry, Some(Held { permits: vec![permit] }));
        }
    }

    /// Has a suspect stand back for the others.
    async fn set_aside(&mut self, entry: Entry) {
        self.aside_bytes += entry.chunk.len();
        self.aside.push_back(entry);
        while (self.aside.len() > ASIDE_MAX || self.aside_bytes > ASIDE_BYTES)
            && let Some(first) = self.aside.pop_front()
        {
            self.run_alone(first).await;
        }
    }

    /// Runs a suspect when no other one of the partition, or of the process, is in hand; the longer suspect, the more is made
    /// sure that nothing else kills.
    async fn run_alone(&mut self, entry: Entry) {
        self.aside_bytes -= entry.chunk.len();
        let (tenure, place) = (&self.tenure, Place::Ready(entry.id));
        let (cx, probation) = (&tenure.cx, &tenure.probation);
        let (partition, mark) = (tenure.partition.0, cx.living.mark());
        let strikes = probation.strikes(&cx.living, place);
        let Ok(window) = Arc::clone(&probation.window).acquire_many_owned(WINDOW).await else {
            return;
        };
        let mut permits = probation.alone(&cx.suspects, strikes).await;
        permits.push(window);
        if strikes >= ALONE_FROM {
            tracing::warn!(partition, entry = %entry.id, strikes, "holds a chunk back that was in hand when its owners died");
            self.note(&[(place, Note::held_back(strikes, mark).number())]).await;
            sleep(cx.quiet).await;
        }
        // It may be known by now that an owner lives that seemed to be dead.
        let strikes = probation.strikes(&cx.living, place);
        probation.forget(place);
        if strikes >= STRIKES {
            let share = cx.unsettled.take(entry.chunk.len()).on_probation(Held::default());
            return tenure.quarantine(Source::Ready(entry.id), reason(), share);
        }
        tracing::warn!(partition, entry = %entry.id, strikes, "runs a chunk alone that was in hand when its owners died");
        self.note(&[(place, Note::in_hand(strikes + 1, mark).number())]).await;
        tenure.open(entry, Some(Held { permits }));
    }

    fn ask_for_more(&self) {
        if self.tenure.probation.has_room_again() {
            self.tenure.cx.more_to_read.notify_one();
        }
    }

    /// Notes, however often it takes: what is not noted must not be touched.
    async fn note(&self, notes: &[(Place, u32)]) {
        let mut pause = Duration::from_millis(20);
        loop {
            match self.tenure.note(notes).await {
                Ok(()) => return,
                Err(Error::Stale) => {
                    self.tenure.abort();
                    std::future::pending::<()>().await;
                }
                Err(error) => tracing::debug!(
                    partition = self.tenure.partition.0,
                    error = &error as &dyn std::error::Error,
                    "cannot note suspects, will try again"
                ),
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}
