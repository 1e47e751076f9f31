//! The one writer: takes whatever waits, does all of it in one transaction, and answers after the commit. So the
//! cost of a flush to disk is shared by all who came while the last one ran.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use millrace_domain::Partition;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, watch};

use super::{
    clock::{Clock, Ids, entry_id},
    failure::Failure,
    job::Job,
    leases::Leases,
    marks, recovery, reports, settle,
};

/// Most jobs in one transaction.
const GATHERED: usize = 512;
/// How often chunks that expired are looked for, in milliseconds.
const SWEEP_EVERY_MS: i64 = 60_000;

/// The rows one statement inserts into `ready`: a few sizes, so that each is prepared once.
static INSERTS: LazyLock<[(usize, String); 4]> = LazyLock::new(|| {
    [64, 16, 4, 1].map(|rows| {
        let values = vec!["(?, ?, ?)"; rows].join(", ");
        (rows, format!("INSERT INTO ready (id, partition, chunk) VALUES {values}"))
    })
});

/// The writer and what only it may touch.
pub(super) struct Writer {
    pub(super) pool: SqlitePool,
    pub(super) clock: Arc<Clock>,
    pub(super) ids: Ids,
    pub(super) leases: Leases,
    /// Changes with each commit that appended.
    pub(super) appended: watch::Sender<u64>,
    /// Reports of attempts kept for each partition.
    pub(super) attempts_max: u64,
    /// Reports of attempts appended since they were last trimmed; none yet: not trimmed in this life.
    pub(super) untrimmed: HashMap<Partition, u64>,
    pub(super) trimmed: Arc<AtomicU64>,
    pub(super) next_sweep_ms: i64,
}

impl Writer {
    /// Works until nobody can ask any more.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut gathered = Vec::with_capacity(GATHERED);
        while jobs.recv_many(&mut gathered, GATHERED).await > 0 {
            self.commit(std::mem::take(&mut gathered)).await;
        }
    }

    /// Does `jobs` whole; if that fails, each alone, so that one that cannot be done fails by itself.
    async fn commit(&mut self, mut jobs: Vec<Job>) {
        let Err(error) = self.transact(&mut jobs).await else {
            jobs.into_iter().for_each(|job| job.tell(Ok(())));
            return;
        };
        if jobs.len() == 1 {
            tracing::warn!(%error, "the queue's file did not take a write");
            jobs.into_iter().for_each(|job| job.tell(Err(Arc::clone(&error))));
            return;
        }
        for job in jobs {
            let mut alone = vec![job];
            let result = self.transact(&mut alone).await;
            if let Err(error) = &result {
                tracing::warn!(%error, "the queue's file did not take a write");
            }
            alone.into_iter().for_each(|job| job.tell(result.clone()));
        }
    }

    async fn transact(&mut self, jobs: &mut [Job]) -> Result<(), Failure> {
        if jobs.iter().all(Job::is_in_memory) {
            // Nothing for the disk.
            jobs.iter_mut().for_each(|job| self.change_leases(job));
            return Ok(());
        }
        let mut connection = self.pool.acquire().await?;
        // Not sqlx's transaction: after an error on which SQLite has rolled back by itself (the disk is full), it
        // holds that one is still open and refuses every later one.
        let appended = match self.whole(&mut connection, jobs).await {
            Ok(appended) => appended,
            Err(error) => {
                // Fails where SQLite has done it.
                drop(sqlx::query("ROLLBACK").execute(&mut *connection).await);
                return Err(error.into());
            }
        };
        if appended {
            self.appended.send_modify(|commits| *commits += 1);
        }
        Ok(())
    }

    /// Does `jobs` in one transaction; tells whether something was appended.
    async fn whole(&mut self, to: &mut SqliteConnection, jobs: &mut [Job]) -> sqlx::Result<bool> {
        let before = self.ids.last();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *to).await?;
        let mut appended = self.append(to, jobs).await?;
        for job in jobs {
            match job {
                Job::Append(_) | Job::AppendNew(_) => {}
                Job::Leases(_) => {
                    self.change_leases(job);
                    if let Job::Leases(ask) = job {
                        recovery::remember(to, ask).await?;
                    }
                }
                Job::Owner(_) => self.change_leases(job),
                Job::Note(ask) => {
                    let (partition, token, notes) = &ask.work;
                    let holds = self.leases.holds(*partition, *token, self.clock.now_ms());
                    if holds {
                        recovery::note(to, *partition, notes).await?;
                    }
                    ask.note(holds);
                }
                Job::Redrive(ask) => {
                    let moved = recovery::redrive(self, to, &ask.work).await?;
                    appended |= moved > 0;
                    ask.note(moved);
                }
                Job::Discard(ask) => {
                    let gone = recovery::discard(to, &ask.work).await?;
                    ask.note(gone);
                }
                Job::Settle(ask) => {
                    let settled = settle::settle(self, to, &ask.work).await?;
                    ask.note(settled);
                }
                Job::TakeReports(ask) => {
                    let now_ms = self.clock.now_ms();
                    ask.note(reports::take(to, &ask.work, now_ms).await?);
                }
                Job::Acknowledge(ask) => {
                    reports::remove(to, &ask.work.1).await?;
                    ask.note(());
                }
            }
        }
        if self.ids.last() != before {
            let keep = sqlx::query("UPDATE meta SET value = ? WHERE key = 'last_id'");
            keep.bind(self.ids.last()).execute(&mut *to).await?;
        }
        self.sweep(to).await?;
        sqlx::query("COMMIT").execute(to).await?;
        Ok(appended)
    }

    /// Does all appends among `jobs`, many rows a statement.
    async fn append(&mut self, to: &mut SqliteConnection, jobs: &mut [Job]) -> sqlx::Result<bool> {
        let now_ms = self.clock.now_ms();
        let mut rows = Vec::new();
        for job in jobs {
            match job {
                Job::Append(ask) => {
                    let id = self.ids.next(now_ms);
                    ask.note(entry_id(id));
                    rows.push((id, ask.work.0, ask.work.1.clone()));
                }
                Job::AppendNew(ask) => {
                    let (chunk, seen) = marks::unseen(to, &ask.work, now_ms).await?;
                    rows.extend(
                        chunk.map(|chunk| (self.ids.next(now_ms), ask.work.partition, chunk)),
                    );
                    ask.note(seen);
                }
                _ => {}
            }
        }
        let mut left = rows.as_slice();
        for (size, sql) in INSERTS.iter() {
            while let Some((some, others)) = left.split_at_checked(*size) {
                let mut insert = sqlx::query(sql.as_str());
                for (id, partition, chunk) in some {
                    insert = insert.bind(*id).bind(i64::from(partition.0)).bind(chunk.as_ref());
                }
                insert.execute(&mut *to).await?;
                left = others;
            }
        }
        Ok(!rows.is_empty())
    }

    /// Changes leases, or looks at them, in memory.
    fn change_leases(&mut self, job: &mut Job) {
        let now_ms = self.clock.now_ms();
        match job {
            Job::Leases(ask) => {
                let (partitions, token, change) = &ask.work;
                let held = self.leases.change(partitions, *token, change, now_ms);
                ask.note(held);
            }
            Job::Owner(ask) => {
                let owner = self.leases.address_of_owner(ask.work, now_ms).map(str::to_owned);
                ask.note(owner);
            }
            _ => {}
        }
    }

    /// Gives back the room of parked chunks and of marks that expired.
    async fn sweep(&mut self, to: &mut SqliteConnection) -> sqlx::Result<()> {
        let now_ms = self.clock.now_ms();
        if now_ms < self.next_sweep_ms {
            return Ok(());
        }
        self.next_sweep_ms = now_ms + SWEEP_EVERY_MS;
        let empty = "UPDATE parked SET chunk = NULL WHERE expires <= ? AND chunk IS NOT NULL";
        sqlx::query(empty).bind(now_ms).execute(&mut *to).await?;
        marks::forget(to, now_ms).await
    }

    /// Counts what was given up, unread.
    pub(super) fn count_trimmed(&self, reports: u64) {
        self.trimmed.fetch_add(reports, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::{Error, Queue, Settled, Settlement, SqliteOptions, SqliteQueue, Token};

    const HOME: Partition = Partition(1);

    /// Bounds the database. In memory, the connection that reads is the one that writes.
    async fn bound(queue: &SqliteQueue, pages: u32) {
        let bound = format!("PRAGMA max_page_count = {pages}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(bound)).execute(&queue.reader).await.expect("bound");
    }

    #[tokio::test]
    async fn writes_again_when_a_full_disk_has_room_again() {
        let queue = SqliteQueue::open(SqliteOptions::default()).await.expect("open");
        let token = Token(Uuid::now_v7());
        queue.acquire(&[HOME], token, Duration::from_secs(60)).await.expect("acquire");
        let chunk = Bytes::from(vec![7; 20_000]);
        let first = queue.append(HOME, chunk.clone()).await.expect("append");
        bound(&queue, 40).await;
        let mut taken = 1;
        let full = loop {
            match queue.append(HOME, chunk.clone()).await {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, Error::Full), "{full:?}");
        let still = queue.append(HOME, chunk.clone()).await.map(drop);
        assert!(matches!(still, Err(Error::Full)), "{still:?}");
        bound(&queue, 10_000).await;
        queue.append(HOME, chunk).await.expect("append");
        let settlement = Settlement { entries: vec![first], ..Settlement::default() };
        assert_eq!(queue.settle(HOME, token, &settlement).await.expect("settle"), Settled::Done);
        assert_eq!(queue.depth().await.expect("depth"), taken, "what did not fit is not there");
    }
}
