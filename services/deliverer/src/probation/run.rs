//! Runs what stands in `ready` at a takeover: first what nothing is held against, then, step by step, what was in hand at
//! deaths (in [`narrow`](super::narrow)).

use std::{sync::Arc, time::Duration};

use millrace_queue::{Entry, EntryId, Error, Place};
use tokio::time::sleep;

use super::{GROUP, Held, WINDOW, lock, narrow::Aside, note::Note, step::Course, step::course};
use crate::tenure::Tenure;

/// How far beyond its bound a reader may have read.
const READ_BYTES: usize = 8 * 1024 * 1024;

/// Runs what waits of `ready`, until all that is suspect was survived.
pub(crate) async fn run(tenure: Arc<Tenure>) {
    let stopping = tenure.stopping.clone();
    let runner = Runner { tenure, bytes: 0, aside: Aside::default() };
    // Cancelled, what waits stays in `ready`, and what was noted and not opened is taken back by who releases.
    stopping.run_until_cancelled(runner.run()).await;
}

pub(super) struct Runner {
    pub(super) tenure: Arc<Tenure>,
    /// Of the suspects that were run because the owner before did not release.
    bytes: usize,
    /// What owners died with, for when the others are through.
    pub(super) aside: Aside,
}

impl Runner {
    async fn run(mut self) {
        let probation = &Arc::clone(&self.tenure).probation;
        while let Some(entry) = self.next().await {
            let place = Place::Ready(entry.id);
            let step = probation.step(&self.tenure.cx.living, place);
            match course(step) {
                Course::Together if !probation.unclean || self.has_run_enough() => {
                    let noted = probation.forget(place);
                    self.tenure.open(entry, noted.then(Held::default));
                }
                Course::Together => {
                    probation.forget(place);
                    self.run_together(entry).await;
                }
                // Its bytes are read again when its turn comes.
                course => self.aside.push(course, entry.id, entry.chunk.len()),
            }
            self.ask_for_more();
        }
        self.ask_for_more();
        // All that was in hand is settled when every place is free again.
        let all = Arc::clone(&probation.together).acquire_many_owned(WINDOW).await;
        if probation.unclean && all.is_ok() {
            self.tenure.trust();
        }
        drop(all);
        self.narrow_down().await;
    }

    /// What the dead owner cannot have read any more is not suspect.
    fn has_run_enough(&self) -> bool {
        self.bytes > self.tenure.cx.delivery.unsettled_bytes + READ_BYTES
    }

    /// The next entry, once there is one; `None`: nothing that comes is suspect, and nothing waits.
    async fn next(&mut self) -> Option<Entry> {
        let probation = &self.tenure.probation;
        let enough = self.has_run_enough();
        loop {
            let arrived = probation.arrived.notified();
            {
                let mut waiting = lock(&probation.waiting);
                let mut until = waiting.until?;
                if enough {
                    until = until.min(probation.last_noted);
                    waiting.until = Some(until);
                }
                let beyond = waiting.entries.front().is_some_and(|first| first.id > until);
                if beyond || waiting.taken >= until {
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
        let places = &probation.together;
        let Ok(permit) = Arc::clone(places).acquire_owned().await else { return };
        let mut group = vec![(first, permit)];
        while group.len() < GROUP {
            let Ok(permit) = Arc::clone(places).try_acquire_owned() else { break };
            let Some(entry) = probation.take_if_unnoted() else { break };
            group.push((entry, permit));
        }
        let note = Note::in_hand(1, self.tenure.cx.living.mark()).number();
        let notes: Vec<_> = group.iter().map(|(entry, _)| (Place::Ready(entry.id), note)).collect();
        self.note(&notes).await;
        for (entry, permit) in group {
            self.bytes += entry.chunk.len();
            self.tenure.open(entry, Some(Held::together(permit)));
        }
    }

    fn ask_for_more(&self) {
        if self.tenure.probation.has_room_again() {
            self.tenure.cx.more_to_read.notify_one();
        }
    }

    /// Notes, however often it takes: what is not noted must not be touched.
    pub(super) async fn note(&self, notes: &[(Place, u32)]) {
        self.insist(|| self.tenure.note(notes)).await;
    }

    /// Reads suspects that stood aside, however often it takes; what was lost meanwhile is let go.
    pub(super) async fn read(&self, ids: &[EntryId]) -> Vec<Entry> {
        let Tenure { partition, cx, cursor, .. } = &*self.tenure;
        let found = self.insist(|| cx.queue.standing(*partition, ids)).await;
        let lost = ids.iter().filter(|id| found.iter().all(|entry| entry.id != **id));
        cursor.settled(lost.copied());
        found
    }

    async fn insist<T, F>(&self, mut call: impl FnMut() -> F) -> T
    where
        F: Future<Output = millrace_queue::Result<T>>,
    {
        let mut pause = Duration::from_millis(20);
        loop {
            match call().await {
                Ok(answer) => return answer,
                Err(Error::Stale) => {
                    self.tenure.abort();
                    std::future::pending::<()>().await;
                }
                Err(error) => tracing::debug!(
                    partition = self.tenure.partition.0,
                    error = &error as &dyn std::error::Error,
                    "cannot note or read suspects, will try again"
                ),
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}
