//! A queue in memory that is as deterministic as its callers, under tokio's clock, which tests pause. It passes the queue's
//! conformance suite, as Redis and SQLite do; what they have and it lacks is that it outlives nothing.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_domain::{AccountSid, Partition, SinkSid, Timestamp};
use millrace_proto::internal::BacklogState;
use millrace_queue::{
    Class, Entry, EntryId, Error, Inheritance, Member, Ownership, ParkedChunk, ParkedId,
    ParkedQuery, Place, Pressure, Quarantined, Queue, READ_LIMIT, Report, ReportKind, Result,
    Settled, Settlement, Token, chunk::MarkedChunk,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use self::state::{Kept, State};

mod state;

/// The queue.
#[derive(Debug)]
pub(crate) struct MemoryQueue {
    state: Mutex<State>,
    began: Instant,
    appended: watch::Sender<u64>,
}

impl MemoryQueue {
    pub(crate) fn new() -> Arc<Self> {
        let appended = watch::channel(0).0;
        Arc::new(Self { state: Mutex::default(), began: Instant::now(), appended })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    /// The queue's machine sets its clock.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.state().skew_ms += by_ms;
    }

    /// Forgets who owns what, as a queue does that was restored: other tokens may come.
    pub(crate) fn forget_owners(&self) {
        self.state().owners.clear();
    }

    /// Whether anybody owns a partition.
    pub(crate) fn is_owned(&self, partition: Partition) -> bool {
        let state = self.state();
        let (now, owner) = (self.now_ms(&state), state.owners.get(&partition.0));
        owner.is_some_and(|owner| owner.token.is_some() && owner.until_ms > now)
    }

    fn now_ms(&self, state: &State) -> i64 {
        let passed = i64::try_from(self.began.elapsed().as_millis()).expect("a short test");
        1_700_000_000_000 + passed + state.skew_ms
    }

    fn change_leases(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Option<Duration>,
        acquire: bool,
    ) -> Vec<Ownership> {
        let state = &mut *self.state();
        let now = self.now_ms(state);
        let until = now + lease.map_or(0, |lease| i64::try_from(lease.as_millis()).expect("short"));
        let address = state.announced.clone();
        let mut change = |partition: &Partition| {
            let owner = state.owners.entry(partition.0).or_default();
            let held = owner.token.is_some() && owner.until_ms > now;
            let ours = if held { owner.token == Some(token) } else { acquire };
            match (ours, lease) {
                (true, Some(_)) => {
                    let process = |token: Token| token.0.as_u64_pair().1;
                    let another = |before: Token| process(before) != process(token);
                    owner.unclean |= owner.token.is_some_and(another);
                    if owner.token != Some(token) {
                        *state.takeovers.entry(partition.0).or_default() += 1;
                        owner.address.clone_from(&address);
                    }
                    (owner.token, owner.until_ms) = (Some(token), until);
                }
                (true, None) => owner.token = None,
                _ => {}
            }
            if ours { Ownership::Held } else { Ownership::Lost }
        };
        partitions.iter().map(&mut change).collect()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn append(&self, partition: Partition, chunk: Bytes) -> Result<EntryId> {
        let mut state = self.state();
        let ms = u64::try_from(self.now_ms(&state)).expect("after 1970").max(state.last.ms);
        let seq = if ms == state.last.ms { state.last.seq + 1 } else { 0 };
        state.last = EntryId { ms, seq };
        let id = state.last;
        state.ready.insert((partition.0, id), chunk);
        self.appended.send_modify(|count| *count += 1);
        Ok(id)
    }

    async fn append_new(&self, _: Partition, _: MarkedChunk, _: Duration) -> Result<Vec<usize>> {
        Err(Error::Refused("no deliverer appends what is new".into()))
    }

    async fn announce(&self, member: &Member, lease: Duration) -> Result<Vec<Member>> {
        let mut state = self.state();
        let now = self.now_ms(&state);
        let until = now + i64::try_from(lease.as_millis()).expect("short");
        state.announced.clone_from(&member.address);
        state.members.insert(member.id.clone(), (member.address.clone(), until));
        state.members.retain(|_, (_, until)| *until > now);
        let listed = state.members.iter();
        Ok(listed
            .map(|(id, (address, _))| Member { id: id.clone(), address: address.clone() })
            .collect())
    }

    async fn withdraw(&self, member_id: &str) -> Result<()> {
        self.state().members.remove(member_id);
        Ok(())
    }

    async fn acquire(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<Vec<Ownership>> {
        Ok(self.change_leases(partitions, token, Some(lease), true))
    }

    async fn renew(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<(Vec<Ownership>, Timestamp)> {
        let held = self.change_leases(partitions, token, Some(lease), false);
        Ok((held, self.now().await?))
    }

    async fn release(&self, partitions: &[Partition], token: Token) -> Result<()> {
        self.change_leases(partitions, token, None, false);
        Ok(())
    }

    /// As in one process: that of whoever announced itself last.
    async fn owner_of(&self, partition: Partition) -> Result<Option<String>> {
        let state = self.state();
        let (now, owner) = (self.now_ms(&state), state.owners.get(&partition.0));
        let owner = owner.filter(|owner| owner.token.is_some() && owner.until_ms > now);
        Ok(owner.map(|owner| owner.address.clone()))
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(Timestamp::from_millis(self.now_ms(&self.state())))
    }

    async fn read(
        &self,
        cursors: &[(Partition, EntryId)],
        wait: Duration,
    ) -> Result<Vec<(Partition, Entry)>> {
        let (mut appended, deadline) = (self.appended.subscribe(), Instant::now() + wait);
        loop {
            appended.mark_unchanged();
            let found: Vec<_> = {
                let state = self.state();
                let after = |(partition, cursor): &(Partition, EntryId)| {
                    let (home, cursor) = (partition.0, *cursor);
                    let standing = state
                        .ready
                        .range((home, cursor)..=(home, EntryId { ms: u64::MAX, seq: u64::MAX }));
                    let later = standing.filter(move |((_, id), _)| *id > cursor);
                    later
                        .map(|((home, id), chunk)| {
                            (Partition(*home), Entry { id: *id, chunk: chunk.clone() })
                        })
                        .collect::<Vec<_>>()
                };
                let each = (READ_LIMIT / cursors.len().max(1)).max(1);
                cursors
                    .iter()
                    .flat_map(|cursor| after(cursor).into_iter().take(each))
                    .take(READ_LIMIT)
                    .collect()
            };
            if !found.is_empty() || timeout_at(deadline, appended.changed()).await.is_err() {
                return Ok(found);
            }
        }
    }

    async fn standing(&self, partition: Partition, ids: &[EntryId]) -> Result<Vec<Entry>> {
        let (state, mut ids) = (self.state(), ids.to_vec());
        ids.sort_unstable();
        let standing = |id: EntryId| {
            let chunk = state.ready.get(&(partition.0, id))?.clone();
            Some(Entry { id, chunk })
        };
        Ok(ids.into_iter().filter_map(standing).collect())
    }

    async fn settle(
        &self,
        partition: Partition,
        token: Token,
        settlement: &Settlement,
    ) -> Result<Settled> {
        let mut state = self.state();
        let now = self.now_ms(&state);
        if !state.holds(partition, token, now) {
            return Err(Error::Stale);
        }
        let asked =
            settlement.entries.len() + settlement.unparked.len() + settlement.quarantined.len();
        if state.consume(partition.0, settlement) == 0 && asked > 0 {
            return Ok(Settled::Already);
        }
        state.keep(partition.0, settlement);
        if settlement.trusted {
            state.owners.entry(partition.0).or_default().unclean = false;
        }
        Ok(Settled::Done)
    }

    async fn backlogs(&self, partition: Partition) -> Result<Vec<(SinkSid, BacklogState)>> {
        let state = self.state();
        let of = state.backlogs.iter().filter(|((home, _), _)| *home == partition.0);
        Ok(of.map(|((_, sink), state)| (*sink, state.clone())).collect())
    }

    async fn parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
        query: ParkedQuery<'_>,
    ) -> Result<Vec<ParkedChunk>> {
        let mut state = self.state();
        let now = self.now_ms(&state);
        let set = state.parked.get(&(partition.0, sink, class == Class::Delayed));
        let chunks = set.into_iter().flatten();
        let wanted = chunks
            .filter(|((at, id), _)| *at <= query.until && !query.skip.contains(id))
            .take(query.limit);
        let given = |((at, id), kept): (&(Timestamp, ParkedId), &Kept)| ParkedChunk {
            id: *id,
            at: *at,
            chunk: (kept.expires_ms > now).then(|| kept.chunk.clone()),
        };
        let given: Vec<_> = wanted.map(given).collect();
        state.unparked += given.len();
        Ok(given)
    }

    async fn first_parked(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
    ) -> Result<Option<Timestamp>> {
        let state = self.state();
        let set = state.parked.get(&(partition.0, sink, class == Class::Delayed));
        Ok(set.and_then(|set| set.first_key_value()).map(|((at, _), _)| *at))
    }

    async fn inherit(&self, partition: Partition) -> Result<Inheritance> {
        let state = self.state();
        let standing = state.ready.keys().filter(|(home, _)| *home == partition.0);
        let notes = state.notes.iter().filter(|((home, _), _)| *home == partition.0);
        Ok(Inheritance {
            unclean: state.owners.get(&partition.0).is_some_and(|owner| owner.unclean),
            last: standing.map(|(_, id)| *id).next_back(),
            notes: notes.map(|((_, place), note)| (*place, *note)).collect(),
        })
    }

    async fn note(&self, partition: Partition, token: Token, notes: &[(Place, u32)]) -> Result<()> {
        let mut state = self.state();
        let now = self.now_ms(&state);
        if !state.holds(partition, token, now) {
            return Err(Error::Stale);
        }
        let noted = notes.iter().map(|(place, note)| ((partition.0, *place), *note));
        state.notes.extend(noted);
        Ok(())
    }

    async fn quarantined(&self, partition: Partition) -> Result<Vec<Quarantined>> {
        let state = self.state();
        let of = state.quarantined.iter().filter(|((home, _), _)| *home == partition.0);
        let tell = |((_, place), (reason, chunk)): (&(u16, Place), &(String, Bytes))| Quarantined {
            place: *place,
            reason: reason.clone(),
            bytes: chunk.len() as u64,
        };
        Ok(of.map(tell).collect())
    }

    async fn quarantined_chunk(&self, partition: Partition, place: Place) -> Result<Option<Bytes>> {
        let state = self.state();
        Ok(state.quarantined.get(&(partition.0, place)).map(|(_, chunk)| chunk.clone()))
    }

    async fn redrive(&self, partition: Partition, places: &[Place]) -> Result<u64> {
        let mut moved = 0;
        for place in places {
            let taken = self.state().quarantined.remove(&(partition.0, *place));
            if let Some((_, chunk)) = taken {
                self.append(partition, chunk).await?;
                moved += 1;
            }
        }
        Ok(moved)
    }

    async fn discard(&self, partition: Partition, places: &[Place]) -> Result<u64> {
        let mut state = self.state();
        let gone = places
            .iter()
            .filter(|place| state.quarantined.remove(&(partition.0, **place)).is_some());
        Ok(gone.count() as u64)
    }

    async fn reports(&self, _: ReportKind, _: &str, _: usize) -> Result<Vec<Report>> {
        Ok(Vec::new()) // tests look at `State`
    }

    async fn acknowledge(&self, _: ReportKind, _: &[(Partition, EntryId)]) -> Result<()> {
        Ok(())
    }

    async fn depth(&self) -> Result<u64> {
        Ok(self.state().ready.len() as u64)
    }

    async fn pressure(&self) -> Result<Pressure> {
        Ok(Pressure::default())
    }

    async fn set_full(&self, _: &[AccountSid], _: Duration) -> Result<()> {
        Ok(()) // no router looks
    }

    async fn full_accounts(&self) -> Result<Vec<AccountSid>> {
        Ok(Vec::new())
    }
}

/// The parts of the suite that a deliverer leans on; nobody reads reports from this queue.
mod conformance {
    use millrace_queue::conformance::{self, Fixture, Store};

    use super::*;

    struct Fresh;

    #[async_trait]
    impl Fixture for Fresh {
        async fn fresh(&self) -> Box<dyn Store> {
            Box::new(Stands(MemoryQueue::new()))
        }
    }

    struct Stands(Arc<MemoryQueue>);

    #[async_trait]
    impl Store for Stands {
        async fn open(&self) -> Arc<dyn Queue> {
            Arc::clone(&self.0) as Arc<dyn Queue>
        }

        fn is_durable(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn the_queue_of_these_tests_owns_and_reads_as_the_others_do() {
        conformance::owners(&Fresh).await;
        conformance::ready(&Fresh).await;
    }

    #[tokio::test]
    async fn the_queue_of_these_tests_parks_as_the_others_do() {
        conformance::parks(&Fresh).await;
    }

    #[tokio::test]
    async fn the_queue_of_these_tests_remembers_as_the_others_do() {
        conformance::recovery(&Fresh).await;
    }
}
