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
//! | 2 | as the only suspect of its partition | as the only suspect of the process |
//! | 3 | as the only suspect of its process | not again: it goes to quarantine |
//!
//! The first step costs one write for [`GROUP`] chunks and no waiting to speak of, so that what dies of something else is back
//! at once, however much stands in `ready`: only what the dead one can have read is suspect. The steps after it are slow, and
//! only for the few that were in hand at two deaths or more. After a release nothing is suspect but what is noted.
//!
//! Of what is parked, the first [`LOADS`] chunks that each lane takes are suspect: no lane has more in hand.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use millrace_domain::SinkSid;
use millrace_queue::{Class, Entry, EntryId, Error, Inheritance, Place, Result};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use crate::{parcel::Source, tenure::Tenure};

/// Suspects of a partition that are run together.
pub(crate) const WINDOW: u32 = 256;
/// Suspects that are noted in one call.
const GROUP: usize = 64;
/// Parked chunks of a set that a lane may have in hand.
const LOADS: u32 = 16;
/// Entries that wait for their turn.
const WAITING_MAX: usize = 64;
/// Bytes of entries that wait for their turn; the last may pass it.
const WAITING_BYTES: usize = 256 * 1024;
/// How far beyond its bound a reader may have read.
const READ_BYTES: usize = 8 * 1024 * 1024;
/// Notes of one that nobody is to survive again.
const STRIKES: u32 = 3;

/// A suspect that is in hand; keeps its place until it is settled.
#[derive(Debug, Default)]
pub(crate) struct Held {
    #[expect(dead_code, reason = "given back when the chunk is settled")]
    permits: Vec<OwnedSemaphorePermit>,
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
    notes: Mutex<HashMap<Place, u32>>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    loads: Mutex<HashMap<(SinkSid, Class), u32>>,
    window: Arc<Semaphore>,
    /// The one place of the partition for a suspect that is to be alone.
    alone: Arc<Semaphore>,
    /// That of the process.
    alone_everywhere: Arc<Semaphore>,
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
    pub(crate) fn new(
        inheritance: Inheritance,
        sinks: impl Iterator<Item = SinkSid>,
        alone_everywhere: Arc<Semaphore>,
    ) -> Self {
        let Inheritance { unclean, last, notes } = inheritance;
        let noted = notes.iter().filter_map(|(place, _)| match place {
            Place::Ready(id) => Some(*id),
            Place::Parked(..) => None,
        });
        // Without an entry nothing in `ready` is suspect, whatever is noted.
        let until = last.and_then(|last| if unclean { Some(last) } else { noted.max() });
        let loads = sinks
            .flat_map(|sink| [Class::Backlog, Class::Delayed].map(|class| ((sink, class), LOADS)));
        Self {
            unclean,
            notes: Mutex::new(notes.into_iter().collect()),
            waiting: Mutex::new(Waiting { until, ..Waiting::default() }),
            arrived: Notify::new(),
            loads: Mutex::new(if unclean { loads.collect() } else { HashMap::new() }),
            window: Arc::new(Semaphore::new(WINDOW as usize)),
            alone: Arc::new(Semaphore::new(1)),
            alone_everywhere,
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
    pub(crate) async fn vet(&self, tenure: &Tenure, place: Place) -> Result<Vetted> {
        let strikes = self.strikes(place);
        if strikes == 0 && !self.is_among_the_first(place) {
            return Ok(Vetted::Free);
        }
        if strikes >= STRIKES {
            return Ok(Vetted::Quarantine(reason()));
        }
        let mut permits = Vec::new();
        for place in [&self.alone, &self.alone_everywhere].into_iter().take(strikes as usize) {
            let Ok(permit) = Arc::clone(place).try_acquire_owned() else {
                return Ok(Vetted::Later);
            };
            permits.push(permit);
        }
        tenure.note(&[(place, strikes + 1)]).await?;
        if strikes == 0 {
            self.count_one_of_the_first(place);
        }
        self.forget(place);
        Ok(Vetted::Held(Held { permits }))
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

    fn strikes(&self, place: Place) -> u32 {
        lock(&self.notes).get(&place).copied().unwrap_or(0)
    }

    /// In this tenure it is not suspect again: it is settled, or, let go, has been survived.
    fn forget(&self, place: Place) {
        lock(&self.notes).remove(&place);
    }
}

fn reason() -> String {
    format!("{STRIKES} owners died with it in hand, the last of them with no other suspect")
}

/// Runs what waits of `ready`, until all that is suspect was survived.
pub(crate) async fn run(tenure: Arc<Tenure>) {
    let stopping = tenure.stopping.clone();
    // Cancelled, what waits stays in `ready`, and what was noted and not begun is suspect to the next owner: no harm.
    stopping.run_until_cancelled(Runner { tenure, bytes: 0 }.run()).await;
}

struct Runner {
    tenure: Arc<Tenure>,
    /// Of the suspects that were run because the owner before did not release.
    bytes: usize,
}

impl Runner {
    async fn run(&mut self) {
        let probation = &Arc::clone(&self.tenure).probation;
        while let Some(entry) = self.next().await {
            let id = entry.id;
            let strikes = probation.strikes(Place::Ready(id));
            match strikes {
                0 if !probation.unclean => self.open(entry, None),
                0 => self.run_together(entry).await,
                STRIKES.. => self.quarantine(entry),
                _ => self.run_alone(entry, strikes).await,
            }
            probation.forget(Place::Ready(id));
            self.ask_for_more();
        }
        self.ask_for_more();
        // All that was in hand is settled when every place is free again.
        let all = Arc::clone(&probation.window).acquire_many_owned(WINDOW).await;
        if probation.unclean && all.is_ok() {
            self.tenure.trust();
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
                        self.open(entry, None);
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
        let notes: Vec<_> = group.iter().map(|(entry, _)| (Place::Ready(entry.id), 1)).collect();
        self.note(&notes).await;
        for (entry, permit) in group {
            self.bytes += entry.chunk.len();
            self.open(entry, Some(Held { permits: vec![permit] }));
        }
    }

    /// Runs a suspect when no other one of the partition, or of the process, is in hand.
    async fn run_alone(&mut self, entry: Entry, strikes: u32) {
        let probation = &Arc::clone(&self.tenure).probation;
        let mut permits = Vec::new();
        let places =
            [(&probation.window, WINDOW), (&probation.alone, 1), (&probation.alone_everywhere, 1)];
        for (places, number) in places.into_iter().take(1 + strikes as usize) {
            let Ok(permit) = Arc::clone(places).acquire_many_owned(number).await else { return };
            permits.push(permit);
        }
        tracing::warn!(partition = self.tenure.partition.0, entry = %entry.id, strikes, "runs a chunk alone that was in hand when its owners died");
        self.note(&[(Place::Ready(entry.id), strikes + 1)]).await;
        self.open(entry, Some(Held { permits }));
    }

    fn quarantine(&self, entry: Entry) {
        let share = self.tenure.cx.unsettled.take(entry.chunk.len());
        let share = share.on_probation(Held::default());
        self.tenure.quarantine(Source::Ready(entry.id), reason(), share);
    }

    fn ask_for_more(&self) {
        if self.tenure.probation.has_room_again() {
            self.tenure.cx.more_to_read.notify_one();
        }
    }

    fn open(&self, entry: Entry, held: Option<Held>) {
        self.tenure.open(entry, held);
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
