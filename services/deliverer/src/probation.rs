//! Probation: what the owner before may have died of is not run like anything else.
//!
//! A chunk that crashes its process would crash one owner after the other, and with each all its partitions. So an owner that
//! takes over from one that did not release notes chunks durably **before it touches them**, and the notes go when the
//! chunks are settled. What is still noted at the next takeover was in hand at a death, and is narrowed down:
//!
//! | noted | the chunk was in hand at a death | it is run |
//! |---|---|---|
//! | – | perhaps: it stood in `ready`, or was among the next to be drained | with up to [`WINDOW`] others of its partition |
//! | 1 | with others | as the only suspect of its partition |
//! | 2 | as the only suspect of its partition | as the only suspect of the process, once that lived a while without it |
//! | 3 | as the only suspect of its process | the same once more |
//! | 4 | as the only suspect of its process, twice | not again: it goes to quarantine |
//!
//! The first step costs one write for [`GROUP`] chunks and no waiting to speak of, so that what dies of something else is back
//! at once, however much stands in `ready`: only what the dead one can have read is suspect. The steps after it are slow, and
//! only for the few that were in hand at two deaths or more; everything else goes before them. After a release nothing is
//! suspect but what is noted.
//!
//! **What kills without the chunk acquits it** ([`note`]). Before it is run alone, it is held back for `deliverer.quiet`, which
//! is longer than a delivery takes, and that is noted: whoever dies meanwhile died of something else, and all but one death is
//! forgiven. So deaths that strike at any time hit a chunk while it waits rather than while it runs, and hardly twice in a row
//! the other way; a chunk that kills never does so while it waits. And no death is what the process that noted it lives through:
//! one that lost its lease and took it again, or is listed again ([`crate::living`]).
//!
//! Of what is parked, the first [`LOADS`] chunks that each lane takes are suspect: no lane has more in hand.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use millrace_domain::SinkSid;
use millrace_queue::{Class, Entry, EntryId, Inheritance, Place, Result};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use self::note::Note;
use crate::{living::Living, tenure::Tenure};

mod note;
mod run;

pub(crate) use self::run::run;

/// Suspects of a partition that are run together.
const WINDOW: u32 = 256;
/// Suspects that are noted in one call.
const GROUP: usize = 64;
/// Parked chunks of a set that a lane may have in hand.
const LOADS: u32 = 16;
/// Entries that wait for their turn.
const WAITING_MAX: usize = 64;
/// Bytes of entries that wait for their turn; the last may pass it.
const WAITING_BYTES: usize = 256 * 1024;
/// Notes of one that nobody is to survive again.
const STRIKES: u32 = 4;
/// From so many on, a suspect is run as the only one of the process.
const ALONE_FROM: u32 = 2;
/// Places of the process for suspects of which something is noted: one takes one, one that is to be alone all.
const PLACES: u32 = 1 << 16;
/// How long a parked suspect that was held back long enough waits for its lane.
const FOR_ITS_LANE: Duration = Duration::from_secs(10);

/// The places of a process for suspects of which something is noted.
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(PLACES as usize))
}

/// A suspect that is in hand; keeps its places until it is settled.
#[derive(Debug, Default)]
pub(crate) struct Held {
    permits: Vec<OwnedSemaphorePermit>,
}

impl Held {
    /// Tells whether others wait until it is settled.
    pub(crate) fn is_alone(&self) -> bool {
        self.permits.len() > 1
    }
}

/// What to do with a parked chunk.
#[derive(Debug)]
pub(crate) enum Vetted {
    /// Nothing is held against it.
    Free,
    /// Take it in hand.
    Held(Held),
    /// Others go first.
    Later,
    /// Do not touch it.
    Quarantine(String),
}

/// The probation of one tenure.
#[derive(Debug)]
pub(crate) struct Probation {
    unclean: bool,
    began: Instant,
    notes: Mutex<HashMap<Place, Note>>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    loads: Mutex<HashMap<(SinkSid, Class), u32>>,
    window: Arc<Semaphore>,
    /// The one place of the partition for a suspect that is to be alone.
    alone: Arc<Semaphore>,
    /// Parked suspects that are held back; with their places, they were so for long enough.
    held_back: Mutex<HashMap<Place, Option<Vec<OwnedSemaphorePermit>>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The last suspect of `ready`; `None`: the probation of `ready` is over.
    until: Option<EntryId>,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The last that was taken.
    taken: EntryId,
    /// There was no room, and it was not told since that there is.
    full: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Probation {
    /// A probation of what is inherited; `sinks` have something parked.
    pub(crate) fn new(inheritance: Inheritance, sinks: impl Iterator<Item = SinkSid>) -> Self {
        let Inheritance { unclean, last, notes } = inheritance;
        let noted = notes.iter().filter_map(|(place, _)| match place {
            Place::Ready(id) => Some(*id),
            Place::Parked(..) => None,
        });
        // Without an entry nothing in `ready` is suspect, whatever is noted.
        let until = last.and_then(|last| if unclean { Some(last) } else { noted.max() });
        let loads = sinks
            .flat_map(|sink| [Class::Backlog, Class::Delayed].map(|class| ((sink, class), LOADS)));
        let notes = notes.into_iter().map(|(place, number)| (place, Note::of(number)));
        Self {
            unclean,
            began: Instant::now(),
            notes: Mutex::new(notes.collect()),
            waiting: Mutex::new(Waiting { until, ..Waiting::default() }),
            arrived: Notify::new(),
            loads: Mutex::new(if unclean { loads.collect() } else { HashMap::new() }),
            window: Arc::new(Semaphore::new(WINDOW as usize)),
            alone: Arc::new(Semaphore::new(1)),
            held_back: Mutex::default(),
        }
    }

    /// Tells whether entries need not wait.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.waiting).until.is_none()
    }

    /// Tells whether the owner before left nothing to survive in `ready`.
    pub(crate) fn is_needless(&self) -> bool {
        self.unclean && self.is_over()
    }

    /// Tells whether more entries may be read.
    pub(crate) fn has_room(&self) -> bool {
        let mut waiting = lock(&self.waiting);
        waiting.full = waiting.until.is_some()
            && (waiting.entries.len() >= WAITING_MAX || waiting.bytes >= WAITING_BYTES);
        !waiting.full
    }

    /// Tells once that there is room again.
    fn has_room_again(&self) -> bool {
        let mut waiting = lock(&self.waiting);
        let half = waiting.entries.len() <= WAITING_MAX / 2 && waiting.bytes <= WAITING_BYTES / 2;
        half && std::mem::take(&mut waiting.full)
    }

    /// Has an entry wait for its turn; gives it back where none has to.
    pub(crate) fn wait(&self, entry: Entry) -> Option<Entry> {
        let mut waiting = lock(&self.waiting);
        if waiting.until.is_none() {
            return Some(entry);
        }
        waiting.bytes += entry.chunk.len();
        waiting.entries.push_back(entry);
        self.arrived.notify_one();
        None
    }

    /// Looks what is noted of a parked chunk that is about to be taken in hand, and notes it.
    ///
    /// # Errors
    /// If it cannot be noted: it must not be touched.
    pub(crate) async fn vet(&self, tenure: &Arc<Tenure>, place: Place) -> Result<Vetted> {
        let strikes = self.strikes(&tenure.cx.living, place);
        if strikes == 0 && !self.is_among_the_first(place) {
            // What is noted though nothing is held against it goes with it.
            let noted = self.forget(place);
            return Ok(if noted { Vetted::Held(Held::default()) } else { Vetted::Free });
        }
        let Some(permits) = self.places_of(tenure, place, strikes) else {
            return Ok(Vetted::Later);
        };
        if strikes >= STRIKES {
            return Ok(Vetted::Quarantine(reason()));
        }
        let note = Note::in_hand(strikes + 1, tenure.cx.living.mark());
        tenure.note(&[(place, note.number())]).await?;
        if strikes == 0 {
            self.count_one_of_the_first(place);
        }
        self.forget(place);
        Ok(Vetted::Held(Held { permits }))
    }

    /// The places that a parked suspect takes; `None`: others go first, or it is held back.
    fn places_of(
        &self,
        tenure: &Arc<Tenure>,
        place: Place,
        strikes: u32,
    ) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut held_back = lock(&self.held_back);
        if held_back.get(&place).is_some_and(Option::is_some) {
            return held_back.remove(&place).flatten();
        }
        if strikes >= ALONE_FROM {
            if held_back.insert(place, None).is_none() {
                hold_back(tenure, place, strikes);
            }
            return None;
        }
        if strikes == 0 {
            return Some(Vec::new());
        }
        let own = Arc::clone(&self.alone).try_acquire_owned().ok()?;
        let among = Arc::clone(&tenure.cx.suspects).try_acquire_owned().ok()?;
        Some(vec![own, among])
    }

    /// Tells whether a chunk is one of the first of its set, which the owner before may have had in hand.
    fn is_among_the_first(&self, place: Place) -> bool {
        let Place::Parked(sink, class, _) = place else { return false };
        lock(&self.loads).contains_key(&(sink, class))
    }

    /// One of the first of its set is noted.
    fn count_one_of_the_first(&self, place: Place) {
        let Place::Parked(sink, class, _) = place else { return };
        let mut loads = lock(&self.loads);
        if let Some(left) = loads.get_mut(&(sink, class)) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                loads.remove(&(sink, class));
            }
        }
    }

    /// The deaths that are held against a chunk, as far as is known now.
    fn strikes(&self, living: &Living, place: Place) -> u32 {
        let note = lock(&self.notes).get(&place).copied().unwrap_or_default();
        note.deaths(living.lives(note.by, self.began))
    }

    /// In this tenure it is not suspect again: it is settled, or, let go, has been survived. Tells whether it was noted.
    fn forget(&self, place: Place) -> bool {
        lock(&self.notes).remove(&place).is_some()
    }

    /// The places of a suspect that is to be the only one: of the partition, of the process as well where `strikes` say so.
    async fn alone(&self, suspects: &Arc<Semaphore>, strikes: u32) -> Vec<OwnedSemaphorePermit> {
        let of_process = if strikes < ALONE_FROM { 1 } else { PLACES };
        let mut permits = Vec::new();
        for (places, number) in [(&self.alone, 1), (suspects, of_process)] {
            // They are never closed.
            permits.extend(Arc::clone(places).acquire_many_owned(number).await);
        }
        permits
    }
}

/// Holds a parked suspect back: its lane finds it when it comes again after that.
fn hold_back(tenure: &Arc<Tenure>, place: Place, strikes: u32) {
    let tenure = Arc::clone(tenure);
    tenure.cx.tasks.clone().spawn("hold-suspect-back", move |_| async move {
        let (cx, probation) = (&tenure.cx, &tenure.probation);
        let held = async {
            let permits = probation.alone(&cx.suspects, strikes).await;
            let note = Note::held_back(strikes, cx.living.mark());
            if tenure.note(&[(place, note.number())]).await.is_ok() {
                sleep(cx.quiet).await;
                lock(&probation.held_back).insert(place, Some(permits));
                sleep(FOR_ITS_LANE).await;
            }
        };
        // Cut off, it stays parked, and is held back by the next owner.
        tenure.stopping.run_until_cancelled(held).await;
        lock(&probation.held_back).remove(&place);
        Ok(())
    });
}

fn reason() -> String {
    format!(
        "{STRIKES} owners died with it in hand, the last two with no other suspect, and lived without it"
    )
}

impl Probation {
    /// Takes the first that waits, if it is a suspect of which nothing is noted.
    fn take_if_unnoted(&self) -> Option<Entry> {
        let mut waiting = lock(&self.waiting);
        let (until, first) = (waiting.until?, waiting.entries.front()?.id);
        let unnoted = first <= until && !lock(&self.notes).contains_key(&Place::Ready(first));
        if unnoted { waiting.take() } else { None }
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.chunk.len();
        self.taken = entry.id;
        Some(entry)
    }
}
