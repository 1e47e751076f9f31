//! Reading of a cluster: one read for each partition, which waits at the server and is kept from one call to the next.
//!
//! A command can read one slot only, so each partition has a connection for its read. A read that waits answers when
//! something comes: nothing polls, and a server that does not answer holds up its own partitions only.
//!
//! A caller whose cursor goes back does not end the read that waits further on: what stands between is looked at once,
//! beside it. Nothing comes to stand there later, unless the server is another one: then the read that waits fails.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, BoxFuture, abortable},
    stream::FuturesUnordered,
};
use millrace_domain::Partition;
use tokio::time::{Instant, sleep, timeout_at};

use super::Cluster;
use crate::{
    Entry, EntryId, READ_LIMIT,
    redis::{
        entries::{self, RawEntry, RawStreams},
        failure::{Failure, Redirect},
        keys::Keys,
        node::Node,
        reading::xread,
        slots::slot,
    },
};

/// How long a read waits at the server. A server that vanished is noticed not much later.
const WAIT: Duration = Duration::from_secs(5);
/// First and longest pause before a read that failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// About how many bytes all reads together should bring.
const READ_BYTES: usize = 8 * 1024 * 1024;
/// How many times as many chunks are asked for where there was more.
const GROWTH: usize = 4;

/// The reads that wait.
#[derive(Default)]
pub(crate) struct Reads {
    open: FuturesUnordered<BoxFuture<'static, Done>>,
    partitions: HashMap<Partition, Read>,
    serial: u64,
    /// What a chunk was like lately.
    chunk_bytes: usize,
}

/// The read of a partition.
struct Read {
    /// After what it waits.
    after: EntryId,
    /// From where on there was nothing up to there.
    clear_from: EntryId,
    /// From where on that is being looked at.
    looks_from: Option<EntryId>,
    serial: u64,
    node: Option<Arc<Node>>,
    /// Gives it up, if it is under way.
    abort: Option<AbortHandle>,
    /// Up to how many chunks to ask for.
    count: usize,
    /// Pause before the next, where the last one failed.
    pause: Duration,
}

/// What came of a read or a look: of which, by partition and serial number.
type Done = (Partition, u64, Work, Result<RawStreams, Failure>);

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Waited for what comes.
    Wait,
    /// Looked at what stands between this cursor and where the read waits.
    Look(EntryId),
}

impl Reads {
    /// Reads after cursors; where there is nothing, waits up to `wait`.
    pub(crate) async fn read(
        &mut self,
        cluster: &Arc<Cluster>,
        keys: &Keys,
        cursors: &[(Partition, EntryId)],
        wait: Duration,
    ) -> Result<Vec<(Partition, Entry)>, Failure> {
        let deadline = Instant::now() + wait;
        self.partitions.retain(|partition, read| {
            let kept = cursors.iter().any(|(cursor, _)| cursor == partition);
            if !kept {
                read.give_up();
            }
            kept
        });
        let (mut found, mut failure, mut anew) = (Vec::new(), None, false);
        loop {
            if found.is_empty() {
                cluster.refresh_if_stale().await;
                self.begin(cluster, keys, cursors);
            }
            let next = if found.is_empty() {
                timeout_at(deadline, self.open.next()).await.ok().flatten()
            } else {
                self.open.next().now_or_never().flatten()
            };
            let Some((partition, serial, work, result)) = next else { break };
            let Some(read) = self.partitions.get_mut(&partition) else { continue };
            if read.serial != serial {
                continue;
            }
            let asked = cursors.iter().find(|(cursor, _)| *cursor == partition);
            let Some((_, asked)) = asked else { continue };
            match result {
                Ok(streams) => {
                    let chunks = entries::chunks(streams, keys);
                    self.take((partition, *asked), work, chunks, &mut found);
                }
                Err(error) => {
                    read.give_up();
                    anew |= read.pause.is_zero();
                    read.pause = (read.pause * 2).clamp(PAUSES.0, PAUSES.1);
                    cluster.note(&error);
                    failure = Some(error);
                }
            }
            if found.len() >= READ_LIMIT {
                break;
            }
        }
        found.truncate(READ_LIMIT);
        match failure {
            // What was found is found again. The caller is told of each read that fails: the server that comes may have less.
            Some(failure) if anew => Err(failure),
            Some(failure) if self.partitions.values().all(|read| !read.pause.is_zero()) => {
                Err(failure)
            }
            _ => Ok(found),
        }
    }

    /// Begins the reads that are not under way, or not where they should be.
    fn begin(&mut self, cluster: &Arc<Cluster>, keys: &Keys, cursors: &[(Partition, EntryId)]) {
        let (map, most) = (cluster.map(), self.most());
        for (partition, after) in cursors {
            let read = self.partitions.entry(*partition).or_insert_with(Read::new);
            let node = map.node(slot(keys.ready(*partition).as_bytes()));
            let same = match (&read.node, node) {
                (Some(read), Some(node)) => Arc::ptr_eq(read, node),
                _ => false,
            };
            if read.abort.is_some() && same {
                if let Some(look) = read.look(*after) {
                    let work = Work::Look(look.after);
                    let look = look.of(*partition, keys, most);
                    let (cluster, done) = (Arc::clone(cluster), (*partition, read.serial));
                    let look = async move { (done.0, done.1, work, look.run(&cluster).await) };
                    self.open.push(look.boxed());
                }
                continue;
            }
            self.serial += 1;
            read.begin(*after, self.serial, node.cloned());
            let reading = Reading {
                cluster: Arc::clone(cluster),
                node: node.cloned(),
                keys: keys.clone(),
                cursor: (*partition, *after),
                count: read.count.min(most),
                pause: read.pause,
            };
            let (partition, serial) = (*partition, self.serial);
            let (reading, abort) = abortable(reading.run());
            read.abort = Some(abort);
            // Given up: nobody looks at what came of it.
            let reading =
                async move { (partition, serial, Work::Wait, reading.await.unwrap_or(Ok(None))) };
            self.open.push(reading.boxed());
        }
    }

    /// Takes what a read or a look brought, if the caller has all that stands before it.
    fn take(
        &mut self,
        (partition, asked): (Partition, EntryId),
        work: Work,
        chunks: Vec<(Partition, Vec<Entry>)>,
        found: &mut Vec<(Partition, Entry)>,
    ) {
        let mut entries: Vec<_> = chunks.into_iter().flat_map(|(_, entries)| entries).collect();
        let bytes: usize = entries.iter().map(|entry| entry.chunk.len()).sum();
        if let Some(mean) = bytes.checked_div(entries.len()) {
            self.chunk_bytes = mean.max(self.chunk_bytes - self.chunk_bytes / 8);
        }
        let Some(read) = self.partitions.get_mut(&partition) else { return };
        if let Work::Look(from) = work {
            if read.looks_from != Some(from) {
                return; // a later look is on its way
            }
            read.looks_from = None;
            if from != asked {
                return;
            }
            if entries.is_empty() {
                read.clear_from = from;
            }
        } else {
            read.give_up();
            read.pause = Duration::ZERO;
            read.count = if entries.len() >= read.count {
                (read.count * GROWTH).min(READ_LIMIT)
            } else {
                (entries.len() * 2).max(1)
            };
            if asked < read.after && read.clear_from != asked {
                // What stands between comes first: all of it is read again, from there.
                return;
            }
            entries.retain(|entry| entry.id > asked);
        }
        found.extend(entries.into_iter().map(|entry| (partition, entry)));
    }

    /// Most chunks that one read may ask for, so that all together bring about what one call gives.
    fn most(&self) -> usize {
        let busy = self.partitions.values().filter(|read| read.count > 1).count().max(1);
        let fitting = READ_BYTES / self.chunk_bytes.max(1);
        (fitting.min(READ_LIMIT) / busy).max(1)
    }
}

impl Read {
    fn new() -> Self {
        Self {
            after: EntryId::default(),
            clear_from: EntryId::default(),
            looks_from: None,
            serial: 0,
            node: None,
            abort: None,
            count: 1,
            pause: Duration::ZERO,
        }
    }

    fn begin(&mut self, after: EntryId, serial: u64, node: Option<Arc<Node>>) {
        self.give_up();
        (self.after, self.clear_from, self.looks_from) = (after, after, None);
        (self.serial, self.node) = (serial, node);
    }

    /// What has to be looked at for a caller that has everything up to `asked` only.
    fn look(&mut self, asked: EntryId) -> Option<Look> {
        let looks = self.looks_from == Some(asked);
        if asked >= self.after || asked == self.clear_from || looks {
            return None;
        }
        self.looks_from = Some(asked);
        Some(Look { after: asked, to: self.after })
    }

    fn give_up(&mut self) {
        if let Some(abort) = self.abort.take() {
            abort.abort();
        }
    }
}

/// A read under way.
struct Reading {
    cluster: Arc<Cluster>,
    node: Option<Arc<Node>>,
    keys: Keys,
    cursor: (Partition, EntryId),
    count: usize,
    pause: Duration,
}

impl Reading {
    async fn run(self) -> Result<RawStreams, Failure> {
        sleep(self.pause).await;
        let Some(node) = self.node else { return Err(super::nobody()) };
        let read = xread(&self.keys, &[self.cursor], self.count, Some(WAIT));
        match node.wait(&read, WAIT).await {
            // The slot is on its way to another server: its keys are here or there.
            Err(Failure::Redis(error))
                if matches!(Redirect::of(&error), Some(Redirect::Ask(_))) =>
            {
                sleep(PAUSES.0).await;
                let read = xread(&self.keys, &[self.cursor], self.count, None);
                let found = self.cluster.one(&read, false).await?;
                Ok(::redis::from_redis_value(found).map_err(::redis::RedisError::from)?)
            }
            result => result,
        }
    }
}

/// What stands between a cursor and where a read waits.
struct Look {
    after: EntryId,
    to: EntryId,
}

impl Look {
    fn of(self, partition: Partition, keys: &Keys, count: usize) -> Looking {
        let key = keys.ready(partition);
        let mut range = ::redis::cmd("XRANGE");
        range.arg(&key).arg(format!("({}", self.after)).arg(self.to.to_string());
        range.arg("COUNT").arg(count);
        Looking { key, range }
    }
}

/// A look under way.
struct Looking {
    key: String,
    range: ::redis::Cmd,
}

impl Looking {
    async fn run(self, cluster: &Cluster) -> Result<RawStreams, Failure> {
        let found = cluster.one(&self.range, false).await?;
        let entries: Vec<RawEntry> =
            ::redis::from_redis_value(found).map_err(::redis::RedisError::from)?;
        Ok(Some(vec![(self.key, entries)]))
    }
}
