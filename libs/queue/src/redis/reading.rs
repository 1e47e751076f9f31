//! Appending, and reading what stands in a partition.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Cmd, cmd};
use bytes::Bytes;
use millrace_domain::{Partition, SinkSid, Timestamp};
use millrace_proto::internal::BacklogState;
use uuid::Uuid;

use super::{
    RedisQueue,
    cluster::{Cluster, Reads},
    entries::{self, RawEntry, RawStreams},
    failure::Failure,
    keys::{CHUNK_FIELD, Keys},
    link::Link,
    node::Node,
};
use crate::{
    Class, Entry, EntryId, Error, ParkedChunk, ParkedId, ParkedQuery, READ_LIMIT, Result, backlog,
    compress::{self, decompress},
    fair::Start,
};

/// Chunks of each partition that a waiting read brings at most: more than what comes between two reads even to a busy one. Where there
/// are as many, the next read looks first, in steps that are bounded in bytes.
const WAITING_COUNT: usize = 8;
/// A rest before a wait, where reads are many: the runtime's clock counts milliseconds, so this is until the next of them.
const REST: Duration = Duration::from_micros(1);
/// A wait that is worth reads that outlive it.
const SOON: Duration = Duration::from_millis(100);

impl RedisQueue {
    pub(super) async fn append_chunk(&self, partition: Partition, chunk: Bytes) -> Result<EntryId> {
        let operation = || format!("append to partition {}", partition.0);
        let chunk = if self.compress_ready { compress::pack(chunk) } else { chunk };
        // At once as long as it gets: a chunk is not moved while the command grows.
        let mut append = Cmd::with_capacity(5, chunk.len() + 64);
        append
            .arg("XADD")
            .arg(self.keys.ready(partition))
            .arg("*")
            .arg(CHUNK_FIELD)
            .arg(chunk.as_ref());
        let id: String =
            self.link.write(&append).await.map_err(|failure| failure.during(operation))?;
        entries::id(&id).ok_or_else(|| not_ours(format!("id `{id}` of a new entry")))
    }

    pub(super) async fn read_ready(
        &self,
        cursors: &[(Partition, EntryId)],
        wait: Duration,
    ) -> Result<Vec<(Partition, Entry)>> {
        if cursors.is_empty() {
            tokio::time::sleep(wait).await;
            return Ok(Vec::new());
        }
        let found = match &self.link {
            Link::One(node) => self.read_one(node, cursors, wait).await,
            Link::Many(cluster) if wait >= SOON => self.read_waiting(cluster, cursors, wait).await,
            Link::Many(_) => match self.read_now(cursors).await {
                Ok(found) if found.is_empty() => {
                    tokio::time::sleep(wait).await;
                    self.read_now(cursors).await
                }
                found => found,
            },
        };
        found.map_err(|failure| failure.during(|| "read partitions".into()))
    }

    pub(super) async fn read_standing(
        &self,
        partition: Partition,
        ids: &[EntryId],
    ) -> Result<Vec<Entry>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (key, mut ids) = (self.keys.ready(partition), ids.to_vec());
        ids.sort_unstable();
        let mut ranges = ::redis::pipe();
        for id in ids {
            ranges.cmd("XRANGE").arg(&key).arg(id.to_string()).arg(id.to_string());
        }
        let found: Vec<Vec<RawEntry>> = self.link.pipeline(&ranges).await.map_err(|failure| {
            failure.during(|| format!("read chunks of partition {}", partition.0))
        })?;
        let found = vec![(key, found.into_iter().flatten().collect())];
        let found = entries::chunks(Some(found), &self.keys);
        Ok(found.into_iter().flat_map(|(_, entries)| entries).collect())
    }

    /// Reads of the one server, in one command at a time.
    async fn read_one(
        &self,
        node: &Node,
        cursors: &[(Partition, EntryId)],
        wait: Duration,
    ) -> Result<Vec<(Partition, Entry)>, Failure> {
        let mut plan = self.shares.plan(cursors);
        let start = if wait.is_zero() { Start::Looking } else { self.shares.start(Instant::now()) };
        match start {
            Start::Looking => {
                while let Some(count) = plan.next_count() {
                    let read = self.xread(&plan.cursors, count, None);
                    let streams: RawStreams = node.query(&read).await?;
                    plan.take(entries::chunks(streams, &self.keys));
                }
            }
            Start::Waiting => {}
            Start::Resting => tokio::time::sleep(REST).await,
        }
        if plan.is_empty() && !wait.is_zero() {
            // All of them, however many: what comes to any ends the wait, and what came since is little.
            let read = self.xread(cursors, WAITING_COUNT, Some(wait));
            let began = Instant::now();
            let streams: RawStreams = node.wait(&read, wait).await?;
            let found = entries::chunks(streams, &self.keys);
            let chunks = || found.iter().flat_map(|(_, entries)| entries);
            let more = found.iter().any(|(_, entries)| entries.len() >= WAITING_COUNT)
                || chunks().count() > READ_LIMIT;
            let bytes = chunks().map(|entry| entry.chunk.len()).sum();
            self.shares.note_wait(Instant::now(), began.elapsed(), bytes, more);
            plan.take(found);
        }
        Ok(self.shares.finish(plan))
    }

    /// Reads of a cluster what is there now: a command can read one partition only.
    async fn read_now(
        &self,
        cursors: &[(Partition, EntryId)],
    ) -> Result<Vec<(Partition, Entry)>, Failure> {
        let mut plan = self.shares.plan(cursors);
        while let Some(count) = plan.next_count() {
            let reads = plan.cursors.iter().map(|cursor| self.xread(&[*cursor], count, None));
            let mut found = Vec::new();
            for streams in self.link.each::<RawStreams>(reads.collect()).await {
                found.extend(entries::chunks(streams?, &self.keys));
            }
            plan.take(found);
        }
        Ok(self.shares.finish(plan))
    }

    /// Reads of a cluster by reads that wait, one for each partition, which outlive the call.
    async fn read_waiting(
        &self,
        cluster: &Arc<Cluster>,
        cursors: &[(Partition, EntryId)],
        wait: Duration,
    ) -> Result<Vec<(Partition, Entry)>, Failure> {
        let (mut kept, mut own) = (self.reads.try_lock().ok(), Reads::default());
        // Two readers at once: the second does without what the first keeps.
        let reads = kept.as_deref_mut().unwrap_or(&mut own);
        reads.read(cluster, &self.keys, cursors, wait).await
    }

    fn xread(&self, cursors: &[(Partition, EntryId)], count: usize, wait: Option<Duration>) -> Cmd {
        xread(&self.keys, cursors, count, wait)
    }

    pub(super) async fn all_backlogs(
        &self,
        partition: Partition,
    ) -> Result<Vec<(SinkSid, BacklogState)>> {
        let read = cmd("HGETALL").arg(self.keys.backlogs(partition)).take();
        let fields: Vec<(Vec<u8>, Vec<u8>)> =
            self.link.query(&read).await.map_err(|failure| {
                failure.during(|| format!("list backlogs of {}", partition.0))
            })?;
        let backlog = |(name, state): (Vec<u8>, Vec<u8>)| {
            let Some(sink) = str::from_utf8(&name).ok().and_then(|sid| sid.parse().ok()) else {
                backlog::warn_of_no_sink(partition, &name);
                return None;
            };
            Some((sink, backlog::decode(partition, sink, &state)))
        };
        Ok(fields.into_iter().filter_map(backlog).collect())
    }

    pub(super) async fn parked_chunks(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
        query: ParkedQuery<'_>,
    ) -> Result<Vec<ParkedChunk>> {
        let operation = || format!("read what is parked for {sink}");
        let set = self.keys.parked(partition, sink, class);
        let mut range = cmd("ZRANGE");
        range.arg(&set).arg("-inf").arg(query.until.as_millis()).arg("BYSCORE");
        range.arg("LIMIT").arg(0).arg(query.limit.saturating_add(query.skip.len()));
        range.arg("WITHSCORES");
        let found: Vec<(String, f64)> =
            self.link.query(&range).await.map_err(|failure| failure.during(operation))?;
        let mut wanted = Vec::new();
        for (member, at) in found {
            let id = Uuid::try_parse(&member)
                .map_err(|error| corrupt(format!("parked chunk `{member}`"), error))?;
            wanted.push((ParkedId(id), millis(at)));
        }
        wanted.retain(|(id, _)| !query.skip.contains(id));
        wanted.truncate(query.limit);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let (chunks, places) = self
            .chunks_and_places(partition, sink, &set, &wanted)
            .await
            .map_err(|failure| failure.during(operation))?;
        let found = wanted.into_iter().zip(chunks.into_iter().zip(places));
        // What is in the set no more was settled since: not ours to give.
        Ok(found
            .filter(|(_, (_, place))| place.is_some())
            .map(|((id, at), (chunk, _))| ParkedChunk { id, at, chunk: chunk.map(decompress) })
            .collect())
    }

    /// The chunks, and whether each still stands in the set: read after them, so that a chunk that is settled meanwhile
    /// does not look like one that expired. No transaction, in which a full Redis refuses even reads.
    async fn chunks_and_places(
        &self,
        partition: Partition,
        sink: SinkSid,
        set: &str,
        wanted: &[(ParkedId, Timestamp)],
    ) -> Result<(Vec<Option<Vec<u8>>>, Vec<Option<f64>>), Failure> {
        let mut both = ::redis::pipe();
        both.cmd("MGET");
        for (id, _) in wanted {
            both.arg(self.keys.chunk(partition, sink, *id));
        }
        both.cmd("ZMSCORE").arg(set);
        for (id, _) in wanted {
            both.arg(id.0.simple().to_string());
        }
        self.link.pipeline(&both).await
    }

    pub(super) async fn first_parked_at(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
    ) -> Result<Option<Timestamp>> {
        let mut first = cmd("ZRANGE");
        first.arg(self.keys.parked(partition, sink, class)).arg(0).arg(0).arg("WITHSCORES");
        let found: Vec<(String, f64)> = self
            .link
            .query(&first)
            .await
            .map_err(|failure| failure.during(|| format!("read what is parked for {sink}")))?;
        Ok(found.first().map(|(_, at)| millis(*at)))
    }
}

/// Reads `ready` after cursors, up to `count` chunks of each; waits up to `wait` where there is nothing.
pub(super) fn xread(
    keys: &Keys,
    cursors: &[(Partition, EntryId)],
    count: usize,
    wait: Option<Duration>,
) -> Cmd {
    // At once as long as it gets: 6 words, and of each partition a key and an id of about 18 letters each.
    let mut read = Cmd::with_capacity(6 + 2 * cursors.len(), 64 + 48 * cursors.len());
    read.arg("XREAD").arg("COUNT").arg(count);
    if let Some(wait) = wait {
        // To Redis, 0 is for ever.
        read.arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
    }
    read.arg("STREAMS");
    for (partition, _) in cursors {
        read.arg(keys.ready(*partition));
    }
    for (_, after) in cursors {
        read.arg(after.to_string());
    }
    read
}

/// A score of a sorted set, which is whole milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "scores are written from whole milliseconds")]
fn millis(score: f64) -> Timestamp {
    Timestamp::from_millis(score as i64)
}

fn corrupt(what: String, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Corrupt { what, source: Box::new(source) }
}

pub(super) fn not_ours(what: String) -> Error {
    Error::Corrupt { what, source: "it is not what Redis gives".into() }
}
