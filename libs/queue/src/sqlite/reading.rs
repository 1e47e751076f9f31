//! What is read beside the writer: nothing here changes anything.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use millrace_domain::{Partition, SinkSid, Timestamp};
use millrace_proto::internal::BacklogState;
use sqlx::{
    Row, Sqlite,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{
    SqliteQueue,
    clock::{entry_id, number},
    ended,
    failure::during,
    partition_of,
    settle::{class_number, sink_bytes},
};
use crate::{
    Class, Entry, EntryId, Error, ParkedChunk, ParkedId, ParkedQuery, Result, backlog,
    compress::decompress,
};

impl SqliteQueue {
    pub(super) async fn read_ready(
        &self,
        cursors: &[(Partition, EntryId)],
        wait: Duration,
    ) -> Result<Vec<(Partition, Entry)>> {
        let deadline = Instant::now() + wait;
        let mut appended = self.appended.clone();
        loop {
            // Seen before the read: what is appended during it wakes the wait below.
            appended.mark_unchanged();
            let found = self.read_now(cursors).await?;
            if !found.is_empty() || Instant::now() >= deadline {
                return Ok(found);
            }
            match timeout_at(deadline, appended.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(during(ended(), || "read partitions".into())),
                Err(_) => return Ok(found),
            }
        }
    }

    pub(super) async fn read_standing(
        &self,
        partition: Partition,
        ids: &[EntryId],
    ) -> Result<Vec<Entry>> {
        let wanted: Vec<_> = ids.iter().map(|id| number(*id).to_string()).collect();
        let select = "SELECT id, chunk FROM ready
            WHERE partition = ? AND id IN (SELECT value FROM json_each(?)) ORDER BY id";
        let rows = sqlx::query(select)
            .bind(i64::from(partition.0))
            .bind(format!("[{}]", wanted.join(",")))
            .fetch_all(&self.reader)
            .await;
        let entry = |row: SqliteRow| {
            let chunk = Bytes::from(row.try_get::<Vec<u8>, _>("chunk")?);
            Ok(Entry { id: entry_id(row.try_get("id")?), chunk })
        };
        rows.and_then(|rows| rows.into_iter().map(entry).collect())
            .map_err(|error| during(error, || format!("read chunks of {}", partition.0)))
    }

    async fn read_now(&self, cursors: &[(Partition, EntryId)]) -> Result<Vec<(Partition, Entry)>> {
        let mut plan = self.shares.plan(cursors);
        while let Some(count) = plan.next_count() {
            let answer = self
                .read_after(&plan.cursors, count)
                .await
                .map_err(|error| during(error, || "read partitions".into()))?;
            plan.take(answer);
        }
        Ok(self.shares.finish(plan))
    }

    async fn read_after(
        &self,
        cursors: &[(Partition, EntryId)],
        count: usize,
    ) -> sqlx::Result<Vec<(Partition, Vec<Entry>)>> {
        let cursors: Vec<_> =
            cursors.iter().map(|(p, after)| format!("[{},{}]", p.0, number(*after))).collect();
        let select = "SELECT r.id, r.partition, r.chunk FROM json_each(?1) AS c
            CROSS JOIN ready AS r ON r.id IN (
                SELECT id FROM ready WHERE partition = c.value ->> 0 AND id > c.value ->> 1
                ORDER BY id LIMIT ?2)";
        let rows = sqlx::query(select)
            .bind(format!("[{}]", cursors.join(",")))
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_all(&self.reader)
            .await?;
        let mut found: HashMap<Partition, Vec<Entry>> = HashMap::new();
        for row in rows {
            let chunk = Bytes::from(row.try_get::<Vec<u8>, _>("chunk")?);
            let entry = Entry { id: entry_id(row.try_get("id")?), chunk };
            found.entry(partition_of(row.try_get("partition")?)).or_default().push(entry);
        }
        for entries in found.values_mut() {
            entries.sort_by_key(|entry| entry.id);
        }
        Ok(found.into_iter().collect())
    }

    pub(super) async fn all_backlogs(
        &self,
        partition: Partition,
    ) -> Result<Vec<(SinkSid, BacklogState)>> {
        let rows = sqlx::query("SELECT sink, state FROM backlogs WHERE partition = ?")
            .bind(i64::from(partition.0))
            .fetch_all(&self.reader)
            .await
            .map_err(|error| during(error, || format!("list backlogs of {}", partition.0)))?;
        Ok(rows.iter().filter_map(|row| backlog_of(partition, row)).collect())
    }

    pub(super) async fn parked_chunks(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
        query: ParkedQuery<'_>,
    ) -> Result<Vec<ParkedChunk>> {
        let select = "SELECT id, at, CASE WHEN expires > ? THEN chunk END AS chunk FROM parked
            WHERE partition = ? AND sink = ? AND class = ? AND at <= ?
            AND id NOT IN (SELECT unhex(value) FROM json_each(?))
            ORDER BY at, id LIMIT ?";
        let skip: Vec<_> = query.skip.iter().map(|id| format!("\"{}\"", id.0.simple())).collect();
        let query = sqlx::query(select)
            .bind(self.clock.now_ms())
            .bind(i64::from(partition.0))
            .bind(sink_bytes(sink))
            .bind(class_number(class))
            .bind(query.until.as_millis())
            .bind(format!("[{}]", skip.join(",")))
            .bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
        let rows = self.fetch_apart(query).await;
        let read = |error| during(error, || format!("read what is parked for {sink}"));
        let rows = rows.map_err(read)?;
        rows.iter().map(parked_chunk).collect()
    }

    pub(super) async fn first_parked_at(
        &self,
        partition: Partition,
        sink: SinkSid,
        class: Class,
    ) -> Result<Option<Timestamp>> {
        let select = "SELECT min(at) FROM parked WHERE partition = ? AND sink = ? AND class = ?";
        let query = sqlx::query(select)
            .bind(i64::from(partition.0))
            .bind(sink_bytes(sink))
            .bind(class_number(class));
        let rows = self.fetch_apart(query).await;
        let first = rows
            .and_then(|rows| rows.first().map_or(Ok(None), |row| row.try_get::<Option<i64>, _>(0)));
        let first =
            first.map_err(|error| during(error, || format!("read what is parked for {sink}")))?;
        Ok(first.map(Timestamp::from_millis))
    }

    /// Fetches all rows in a task of its own: whoever asks may be on a thread that hardly gets a processor, and would keep the
    /// connection from everybody else until it does. Who stops asking ends it.
    async fn fetch_apart(
        &self,
        query: Query<'static, Sqlite, SqliteArguments>,
    ) -> sqlx::Result<Vec<SqliteRow>> {
        let reader = self.reader.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "it is aborted with whoever asks, and changes nothing"
        )]
        let fetching = tokio::spawn(async move { query.fetch_all(&reader).await });
        AbortOnDropHandle::new(fetching).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    pub(super) async fn count_ready(&self) -> Result<u64> {
        let count = async {
            let row = sqlx::query("SELECT count(*) FROM ready").fetch_one(&self.reader).await?;
            row.try_get::<i64, _>(0)
        };
        let count = count.await.map_err(|error| during(error, || "measure the queue".into()))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Bytes of the pages that hold something.
    pub(super) async fn used_bytes(&self) -> Result<u64> {
        let select = "SELECT (page_count - freelist_count) * page_size
            FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let used = async {
            let row = sqlx::query(select).fetch_one(&self.reader).await?;
            row.try_get::<i64, _>(0)
        };
        let used =
            used.await.map_err(|error| during(error, || "measure the queue's file".into()))?;
        Ok(u64::try_from(used).unwrap_or(0))
    }
}

fn backlog_of(partition: Partition, row: &SqliteRow) -> Option<(SinkSid, BacklogState)> {
    // Unchecked: whatever type somebody stored, it is bytes that do not decode.
    let bytes = |column| row.try_get_unchecked::<Vec<u8>, _>(column).unwrap_or_default();
    let name = bytes("sink");
    let Ok(sid) = <[u8; 16]>::try_from(name.as_slice()) else {
        backlog::warn_of_no_sink(partition, &name);
        return None;
    };
    let sink = SinkSid::from_u128(u128::from_be_bytes(sid));
    Some((sink, backlog::decode(partition, sink, &bytes("state"))))
}

fn parked_chunk(row: &SqliteRow) -> Result<ParkedChunk> {
    let read = || {
        let id: Vec<u8> = row.try_get("id")?;
        let at = Timestamp::from_millis(row.try_get("at")?);
        Ok((id, at, row.try_get::<Option<Vec<u8>>, _>("chunk")?))
    };
    let corrupt = |source| Error::Corrupt { what: "a parked chunk".into(), source };
    let (id, at, chunk) = read().map_err(|error: sqlx::Error| corrupt(Box::new(error)))?;
    let id = Uuid::from_slice(&id).map_err(|error| corrupt(Box::new(error)))?;
    Ok(ParkedChunk { id: ParkedId(id), at, chunk: chunk.map(decompress) })
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};
    use tokio::{runtime::Handle, task::yield_now, time::timeout};

    use super::*;
    use crate::{Queue, SqliteOptions};

    #[tokio::test]
    async fn a_damaged_backlog_does_not_hide_the_others() {
        let queue = SqliteQueue::open(SqliteOptions::default()).await.expect("open");
        // In memory, the connection that reads is the one that writes.
        let damage = "INSERT INTO backlogs (partition, sink, state)
            VALUES (1, zeroblob(16), x'ff'), (1, x'01', x'0807'), (1, x'ff' || zeroblob(15), x'0807')";
        sqlx::query(damage).execute(&queue.reader).await.expect("damage");
        let mut found = queue.backlogs(Partition(1)).await.expect("backlogs");
        found.sort_by_key(|(sink, _)| *sink);
        let whole = BacklogState { failures: 7, ..BacklogState::default() };
        let [damaged, other] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(*damaged, (SinkSid::from_u128(0), BacklogState::default()));
        assert_eq!(*other, (SinkSid::from_u128(0xff << 120), whole));
    }

    #[tokio::test]
    async fn who_reads_what_is_parked_and_gets_no_processor_stops_nobody() {
        let queue = SqliteQueue::open(SqliteOptions::default()).await.expect("open");
        let (sink, class) = (SinkSid::from_u128(1), Class::Backlog);
        let query = ParkedQuery { until: Timestamp::from_millis(i64::MAX), skip: &[], limit: 1 };
        let mut reads: [BoxFuture<'_, ()>; 2] = [
            Box::pin(queue.parked(Partition(1), sink, class, query).map(drop)),
            Box::pin(queue.first_parked(Partition(1), sink, class).map(drop)),
        ];
        for read in &mut reads {
            // It asks, and is not looked at again.
            assert!(read.now_or_never().is_none());
            let append = queue.append(Partition(1), Bytes::from_static(b"chunk"));
            let appended = timeout(Duration::from_secs(10), append).await;
            appended.expect("the connection is free").expect("append");
        }
    }

    #[tokio::test]
    async fn a_read_ends_with_whoever_asks() {
        let queue = SqliteQueue::open(SqliteOptions::default()).await.expect("open");
        let connection = queue.reader.acquire().await.expect("the only connection");
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let mut read = queue.first_parked(Partition(1), SinkSid::from_u128(1), Class::Backlog);
        assert!((&mut read).now_or_never().is_none());
        assert_eq!(tasks(), before + 1, "it waits for the connection");
        drop(read);
        let ended = async {
            while tasks() > before {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), ended).await.expect("nobody waits for the connection");
        drop(connection);
    }
}
