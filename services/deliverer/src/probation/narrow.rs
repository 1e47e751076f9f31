//! Narrows down what was in hand at deaths: many at once, then few, then one.

use std::{collections::VecDeque, sync::Arc};

use millrace_queue::{EntryId, Place};
use tokio::time::sleep;

use super::{
    GROUP, Held,
    note::Note,
    run::Runner,
    step::{Course, after_death, course, reason},
};
use crate::{living::Mark, parcel::Source};

/// Bytes of suspects that are read at once; the last may pass it.
const GROUP_BYTES: usize = 256 * 1024;

/// Suspects that stand back for the others. Of each no more is kept than where it stands, so there may be any number.
#[derive(Debug, Default)]
pub(super) struct Aside {
    many: VecDeque<Suspect>,
    few: VecDeque<Suspect>,
    alone: Vec<Suspect>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    id: EntryId,
    bytes: usize,
}

impl Suspect {
    fn place(&self) -> Place {
        Place::Ready(self.id)
    }
}

impl Aside {
    pub(super) fn push(&mut self, course: Course, id: EntryId, bytes: usize) {
        let suspect = Suspect { id, bytes };
        match course {
            Course::Together | Course::Many => self.many.push_back(suspect),
            Course::Few => self.few.push_back(suspect),
            Course::Alone | Course::Quarantine => self.alone.push(suspect),
        }
    }
}

impl Runner {
    /// Runs what stood aside.
    pub(super) async fn narrow_down(&mut self) {
        let Aside { many, few, alone } = std::mem::take(&mut self.aside);
        if many.len() + few.len() + alone.len() > 0 {
            tracing::warn!(
                partition = self.tenure.partition.0,
                chunks = many.len() + few.len() + alone.len(),
                alone = alone.len(),
                "runs chunks again, fewer at once, that were in hand when owners died"
            );
        }
        let gate = Arc::clone(&self.tenure.cx.suspects);
        // Known from the start, so that nobody of another partition goes first who is further up.
        let left = (!many.is_empty()).then(|| gate.left(Course::Many));
        let left_few = (!few.is_empty()).then(|| gate.left(Course::Few));
        self.run_narrowed(Course::Many, many).await;
        drop(left);
        self.run_narrowed(Course::Few, few).await;
        drop(left_few);
        self.run_alone(alone).await;
    }

    /// Runs suspects with others, as many at once as their course admits.
    async fn run_narrowed(&self, course: Course, mut waiting: VecDeque<Suspect>) {
        while !waiting.is_empty() {
            let Some(places) = self.places(course, fitting(&waiting)).await else { return };
            self.tenure.cx.unsettled.room().await;
            let group: Vec<_> = waiting.drain(..places.len()).collect();
            self.open_all(&group, places).await;
        }
    }

    /// Up to `most` places, once there is one.
    async fn places(&self, course: Course, most: usize) -> Option<Vec<Held>> {
        let (turns, gate) = (&self.tenure.probation.turns, &self.tenure.cx.suspects);
        let turn = turns.take().await?;
        let mut places = vec![Held::narrowed(Some(turn), gate.enter(course).await)];
        while places.len() < most
            && let Some(turn) = turns.try_take()
            && let Some(pass) = gate.try_enter(course)
        {
            places.push(Held::narrowed(Some(turn), pass));
        }
        Some(places)
    }

    /// Notes suspects and opens them, each with its place.
    async fn open_all(&self, group: &[Suspect], places: Vec<Held>) {
        let (cx, probation) = (&self.tenure.cx, &self.tenure.probation);
        let ids: Vec<_> = group.iter().map(|suspect| suspect.id).collect();
        let found = self.read(&ids).await;
        let in_hand = cx.suspects.in_hand();
        let note = |place: Place| {
            let step = after_death(probation.step(&cx.living, place), in_hand);
            (place, Note::in_hand(step, cx.living.mark()).number())
        };
        let notes: Vec<_> = found.iter().map(|entry| note(Place::Ready(entry.id))).collect();
        self.note(&notes).await;
        for (entry, held) in found.into_iter().zip(places) {
            probation.forget(Place::Ready(entry.id));
            self.tenure.open(entry, Some(held));
        }
    }

    /// Holds suspects back, all at once, to see whether the process lives without them; then runs one after the other when no
    /// other one of the process is in hand.
    async fn run_alone(&self, waiting: Vec<Suspect>) {
        if waiting.is_empty() {
            return;
        }
        let (cx, probation) = (&self.tenure.cx, &self.tenure.probation);
        let quiet = cx.suspects.quiet().await;
        self.note_all(&waiting, Note::held_back).await;
        sleep(cx.quiet).await;
        // A death from now on is not held against them, nor for them.
        self.note_all(&waiting, Note::in_hand).await;
        drop(quiet);
        for suspect in waiting {
            // It may be known by now that an owner lives that seemed to be dead.
            let step = probation.step(&cx.living, suspect.place());
            if course(step) == Course::Quarantine {
                probation.forget(suspect.place());
                let share = cx.unsettled.take(suspect.bytes).on_probation(Held::default());
                self.tenure.quarantine(Source::Ready(suspect.id), reason(), share);
                continue;
            }
            let pass = cx.suspects.enter(Course::Alone).await;
            let (partition, entry) = (self.tenure.partition.0, suspect.id);
            tracing::warn!(partition, %entry, step, "runs a chunk alone that was in hand when its owners died");
            self.open_all(&[suspect], vec![Held::narrowed(None, pass)]).await;
        }
    }

    /// Notes suspects on the steps that they are on.
    async fn note_all(&self, suspects: &[Suspect], note: fn(u32, Mark) -> Note) {
        let (living, probation) = (&self.tenure.cx.living, &self.tenure.probation);
        for group in suspects.chunks(GROUP) {
            let number = |suspect: &Suspect| {
                let step = probation.step(living, suspect.place());
                (suspect.place(), note(step, living.mark()).number())
            };
            self.note(&group.iter().map(number).collect::<Vec<_>>()).await;
        }
    }
}

/// How many of the first are read at once; at least one.
fn fitting(waiting: &VecDeque<Suspect>) -> usize {
    let mut bytes = 0;
    let within = waiting.iter().take(GROUP).take_while(|suspect| {
        let room = bytes < GROUP_BYTES;
        bytes += suspect.bytes;
        room
    });
    within.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_read_at_once_as_fit_and_at_least_one() {
        let of = |bytes: &[usize]| {
            let suspect = |bytes: &usize| Suspect { id: EntryId::default(), bytes: *bytes };
            fitting(&bytes.iter().map(suspect).collect())
        };
        assert_eq!(of(&[GROUP_BYTES * 9, 1]), 1);
        assert_eq!(of(&[1, GROUP_BYTES, 1]), 2);
        assert_eq!(of(&[1; 1_000]), GROUP);
    }
}
