//! Probation: what the owner before may have died of is not run like anything else.
//!
//! A chunk that crashes its process would crash one owner after the other, and with each all its partitions. So an owner that
//! takes over from one that did not release notes chunks durably **before it touches them**, and the notes go when the
//! chunks are settled. What is still noted at the next takeover was in hand at a death, and is narrowed down, step by step
//! ([`step`]):
//!
//! | step | the chunk was in hand at a death | it is run |
//! |---|---|---|
//! | – | perhaps: it stood in `ready`, or was among the next to be drained | with up to [`WINDOW`] others of its partition |
//! | 1 | with others | with up to [`TURNS`] others of its partition, [`step::MANY`] of the process, few at first |
//! | 2 | with others again, that were more than a few | with up to [`step::FEW`] of the process |
//! | 3 | as one of a few suspects of the process | as the only one, once the process lived a while without it |
//! | 4 | as the only suspect of its process | the same once more |
//! | 5 | as the only suspect of its process, twice | not again: it goes to quarantine |
//!
//! The first step costs one write for [`GROUP`] chunks and no waiting to speak of, so that what dies of something else is back
//! at once, however much stands in `ready`: only what the dead one can have read is suspect. What was in hand at a death stands
//! aside until that is through, and holds up nothing that is fresh; then it is run again, first a few, and as many more with each
//! that is survived ([`window`]), so that thousands are through in seconds and still few are in hand when one of them kills. Who
//! is further up waits for all below ([`gate`]). After a release nothing is suspect but what is noted.
//!
//! **What kills without the chunk acquits it** ([`note`]). Before it is run alone, it is held back for `deliverer.quiet`, which
//! is longer than a delivery takes, and that is noted: whoever dies meanwhile died of something else, and the chunk goes back to
//! the first step. So deaths that strike at any time hit a chunk while it waits rather than
//! while it runs, and hardly twice in a row the other way; a chunk that kills never does so while it waits. And no death is what
//! the process that noted it lives through: one that lost its lease and took it again, or is listed again ([`crate::living`]).
//!
//! **Nothing is held against a chunk that was not begun.** Who releases a partition takes back what it noted of chunks and did not
//! open, as it was told to stop in between.
//!
//! Of what is parked, the first [`LOADS`] chunks that each lane takes are suspect: no lane has more in hand.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use millrace_domain::SinkSid;
use millrace_queue::{Class, Entry, EntryId, Inheritance, Place, Result};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use self::{
    gate::Pass,
    note::Note,
    step::{Course, after_death, course, reason},
    window::{Turn, Window},
};
use crate::{living::Living, tenure::Tenure};

mod gate;
mod narrow;
mod note;
mod run;
mod step;
mod window;

pub(crate) use self::{gate::Gate, run::run};

/// Suspects of a partition that are run together.
const WINDOW: u32 = 256;
/// Suspects of a partition that are run together once a death was noted.
const TURNS: usize = 64;
/// Of so few places nobody waits for one longer than need be.
const SCARCE: usize = 16;
/// Suspects that are noted in one call.
const GROUP: usize = 64;
/// Parked chunks of a set that a lane may have in hand.
const LOADS: u32 = 16;
/// Entries that wait for their turn.
const WAITING_MAX: usize = 64;
/// Bytes of entries that wait for their turn; the last may pass it.
const WAITING_BYTES: usize = 256 * 1024;
/// A suspect that is in hand; keeps its places until it is settled.
#[derive(Debug, Default)]
pub(crate) struct Held {
    _together: Option<OwnedSemaphorePermit>,
    turn: Option<Turn>,
    pass: Option<Pass>,
}

impl Held {
    fn together(permit: OwnedSemaphorePermit) -> Self {
        Self { _together: Some(permit), turn: None, pass: None }
    }

    fn narrowed(turn: Option<Turn>, pass: Pass) -> Self {
        Self { _together: None, turn, pass: Some(pass) }
    }

    /// Tells whether others wait until it is settled.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.pass.is_some() && self.turn.as_ref().is_none_or(|turn| turn.of() <= SCARCE)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(turn) = &self.turn {
            turn.survived();
        }
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
    /// What this tenure noted and did not open, and what was noted of it before.
    unopened: Mutex<HashMap<Place, Note>>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    loads: Mutex<HashMap<(SinkSid, Class), u32>>,
    /// For those of which nothing is noted.
    together: Arc<Semaphore>,
    /// For those of `ready` of which something is.
    turns: Arc<Window>,
    /// For those that are parked: nobody waits here, so they would have no turn among the others.
    parked_turns: Arc<Window>,
    /// The last of `ready` of which something is noted.
    last_noted: EntryId,
    /// Parked suspects that are held back, and whether they were for long enough.
    held_back: Mutex<HashMap<Place, bool>>,
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
        let noted = noted.max();
        // Without an entry nothing in `ready` is suspect, whatever is noted.
        let until = last.and_then(|last| if unclean { Some(last) } else { noted });
        let loads = sinks
            .flat_map(|sink| [Class::Backlog, Class::Delayed].map(|class| ((sink, class), LOADS)));
        let notes = notes.into_iter().map(|(place, number)| (place, Note::of(number)));
        Self {
            unclean,
            began: Instant::now(),
            notes: Mutex::new(notes.collect()),
            unopened: Mutex::default(),
            waiting: Mutex::new(Waiting { until, ..Waiting::default() }),
            arrived: Notify::new(),
            loads: Mutex::new(if unclean { loads.collect() } else { HashMap::new() }),
            together: Arc::new(Semaphore::new(WINDOW as usize)),
            turns: Window::new(TURNS),
            parked_turns: Window::new(TURNS),
            last_noted: noted.unwrap_or_default(),
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
        let step = self.step(&tenure.cx.living, place);
        let first = self.is_among_the_first(place);
        let held = match course(step) {
            Course::Together if !first => {
                // What is noted though nothing is held against it goes with it.
                let noted = self.forget(place);
                return Ok(if noted { Vetted::Held(Held::default()) } else { Vetted::Free });
            }
            Course::Together => Some(Held::default()),
            Course::Many | Course::Few => self.narrowed(tenure, course(step)),
            Course::Alone | Course::Quarantine if !self.was_held_back(tenure, place) => None,
            Course::Quarantine => {
                lock(&self.held_back).remove(&place);
                return Ok(Vetted::Quarantine(reason()));
            }
            Course::Alone => {
                let pass = tenure.cx.suspects.try_enter(Course::Alone);
                pass.map(|pass| Held::narrowed(None, pass))
            }
        };
        let Some(held) = held else { return Ok(Vetted::Later) };
        let note = after_death(step, tenure.cx.suspects.in_hand());
        tenure.note(&[(place, Note::in_hand(note, tenure.cx.living.mark()).number())]).await?;
        if course(step) == Course::Together {
            self.count_one_of_the_first(place);
        }
        self.forget(place);
        Ok(Vetted::Held(held))
    }

    /// A place for a parked suspect that is run with others, where there is one now.
    fn narrowed(&self, tenure: &Tenure, course: Course) -> Option<Held> {
        let turn = self.parked_turns.try_take()?;
        let pass = tenure.cx.suspects.try_enter(course)?;
        Some(Held::narrowed(Some(turn), pass))
    }

    /// Tells whether a parked suspect was held back for long enough; begins to hold it back.
    fn was_held_back(&self, tenure: &Arc<Tenure>, place: Place) -> bool {
        let mut held_back = lock(&self.held_back);
        let begun = held_back.get(&place).copied();
        if begun.is_none() {
            held_back.insert(place, false);
            hold_back(tenure, place);
        }
        begun.unwrap_or(false)
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

    /// The step that a chunk is on, as far as is known now.
    fn step(&self, living: &Living, place: Place) -> u32 {
        let note = lock(&self.notes).get(&place).copied().unwrap_or_default();
        note.step_now(living.lives(note.by, self.began))
    }

    /// In this tenure it is not suspect again: it is settled, or, let go, has been survived. Tells whether it was noted.
    fn forget(&self, place: Place) -> bool {
        lock(&self.held_back).remove(&place);
        lock(&self.notes).remove(&place).is_some()
    }

    /// Something is about to be noted of these.
    pub(crate) fn begin_to_note(&self, places: impl Iterator<Item = Place>) {
        let (notes, mut unopened) = (lock(&self.notes), lock(&self.unopened));
        for place in places {
            unopened.entry(place).or_insert_with(|| notes.get(&place).copied().unwrap_or_default());
        }
    }

    /// It is taken in hand: what is noted of it goes when it is settled.
    pub(crate) fn opened(&self, place: Place) {
        lock(&self.unopened).remove(&place);
    }

    /// What was noted of chunks that were not opened, before this tenure noted it.
    pub(crate) fn unopened(&self) -> Vec<(Place, u32)> {
        let unopened = lock(&self.unopened);
        unopened.iter().map(|(place, before)| (*place, before.number())).collect()
    }
}

/// Holds a parked suspect back: its lane finds that it was when it comes again after that.
fn hold_back(tenure: &Arc<Tenure>, place: Place) {
    let on = Arc::clone(tenure);
    let held = async move {
        let held = on.stopping.run_until_cancelled(keep_back(&on, place)).await;
        let mut held_back = lock(&on.probation.held_back);
        if let Some(Ok(true)) = held {
            held_back.entry(place).and_modify(|long_enough| *long_enough = true);
        } else {
            // Cut off, it stays parked, and is held back by the next owner.
            held_back.remove(&place);
        }
    };
    // A drain waits for it: what it noted is taken back then.
    let held = tenure.settling.track_future(held);
    tenure.cx.tasks.spawn("hold-suspect-back", |_| async move {
        held.await;
        Ok(())
    });
}

/// Keeps a parked suspect back for long enough; false: that is needless by now.
async fn keep_back(tenure: &Tenure, place: Place) -> Result<bool> {
    let (cx, probation) = (&tenure.cx, &tenure.probation);
    let quiet = cx.suspects.quiet().await;
    // It may be known by now that an owner lives that seemed to be dead; then it may have been in hand meanwhile, and be through and
    // forgotten. From here on nothing is taken in hand: see `Gate::quiet`.
    let step = probation.step(&cx.living, place);
    if course(step) < Course::Alone {
        return Ok(false);
    }
    let mark = cx.living.mark();
    tenure.note(&[(place, Note::held_back(step, mark).number())]).await?;
    sleep(cx.quiet).await;
    // A death from now on is not held against it, nor for it.
    tenure.note(&[(place, Note::in_hand(step, mark).number())]).await?;
    drop(quiet);
    Ok(true)
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
