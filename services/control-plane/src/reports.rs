//! Keeps what deliverers report: reads the queue's reports, writes them to the logs in groups, and then removes them.
//!
//! The invariant: **a report is removed after it is written**, and written again changes nothing. While the database is away, reports wait in
//! the queue (of attempts only the newest, drops all), and nobody who delivers waits for them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_domain::{Partition, Timestamp};
use millrace_queue::{EntryId, Queue, Report, ReportKind};
use millrace_runtime::CancellationToken;
use millrace_store::{LogStore, logs::Written};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    announce::{Announcement, Announcer},
    queue::QueueHandle,
    random,
    reports::{
        entries::Gathered, health::Health, problems::Problems, quota::Quota, storing::Storing,
        tally::Tally,
    },
};

pub(crate) mod account;
mod entries;
pub(crate) mod health;
pub(crate) mod problems;
pub(crate) mod quota;
pub(crate) mod storing;
pub(crate) mod tally;

/// Most entries of a stream that are read at once; an entry has the reports of one settlement, which may be of thousands of events.
const ATTEMPTS_MAX: usize = 128;
/// The same of drops, which carry events.
const DROPS_MAX: usize = 32;
/// Bytes of attempts that are decoded together, but for one entry alone: what else the processor has to do waits for about 0.5 ms (3,000 events'
/// ids).
const PART_BYTES: usize = 128 * 1024;
/// How long reports are gathered where they are few: statements are what costs.
const GATHER: Duration = Duration::from_millis(500);
/// How often an idle queue is asked.
const IDLE: Duration = Duration::from_secs(1);
/// Longest wait for what is told at the end.
const END: Duration = Duration::from_secs(2);
/// First and longest wait after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// What keeping reports works with.
pub(crate) struct Reports {
    pub(crate) queue: QueueHandle,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) quota: Quota,
    pub(crate) health: Health,
    pub(crate) problems: Problems,
    pub(crate) tally: Tally,
    pub(crate) announcer: Announcer,
    /// What others of this process have to tell.
    pub(crate) news: mpsc::Receiver<Announcement>,
    /// The name under which this process reads; another's is another's.
    pub(crate) consumer: String,
    /// For how long it has stored what there was.
    pub(crate) storing: Storing,
}

/// Reports that were read together.
#[derive(Default)]
struct Round {
    attempts: Vec<Report>,
    drops: Vec<Report>,
}

/// Keeps reports, for ever.
pub(crate) async fn keep(mut reports: Reports, stopping: CancellationToken) -> anyhow::Result<()> {
    let keep = async {
        let Some(queue) = reports.queue.wait().await else { return };
        loop {
            let pause = match reports.round(&*queue).await {
                Ok(round) => round.pause(),
                Err(error) => {
                    tracing::debug!(%error, "cannot read reports, tries again");
                    RETRY.1
                }
            };
            sleep(pause).await;
        }
    };
    // Cancelling is safe: what was not removed is read and written again, which changes nothing.
    stopping.run_until_cancelled(keep).await;
    reports.end().await;
    Ok(())
}

impl Reports {
    /// Reads, writes and removes some reports.
    async fn round(&mut self, queue: &dyn Queue) -> millrace_queue::Result<Round> {
        let began = random::now();
        let round = Round {
            attempts: queue.reports(ReportKind::Attempts, &self.consumer, ATTEMPTS_MAX).await?,
            drops: queue.reports(ReportKind::Drops, &self.consumer, DROPS_MAX).await?,
        };
        if round.is_empty() {
            self.quota.keep(&*self.logs, std::iter::empty()).await;
            self.storing.reached(began);
            self.look(queue).await;
            return Ok(round);
        }
        // Drops first: with them come the turns of sinks, which attempts are judged by.
        match round.drops.as_slice() {
            [] => self.quota.keep(&*self.logs, std::iter::empty()).await,
            drops => self.keep(&[], drops).await,
        }
        let mut left = &round.attempts[..];
        while !left.is_empty() {
            let (attempts, others) = left.split_at(first_part(left));
            self.keep(attempts, &[]).await;
            left = others;
        }
        if round.has_all_attempts() {
            self.storing.reached(began);
        }
        queue.acknowledge(ReportKind::Attempts, &places(&round.attempts)).await?;
        queue.acknowledge(ReportKind::Drops, &places(&round.drops)).await?;
        self.look(queue).await;
        Ok(round)
    }

    /// Writes reports, and draws from them what there is to tell.
    async fn keep(&mut self, attempts: &[Report], drops: &[Report]) {
        let gathered = Gathered::of(attempts, drops);
        let written = self.write(&gathered).await;
        self.note(&gathered, &written).await;
    }

    /// Does what is due by time, and tells what there is to tell.
    async fn look(&mut self, queue: &dyn Queue) {
        let now = random::now();
        self.health.look(now).await;
        self.problems.look(now, &mut self.announcer).await;
        self.tally.tell(now, &mut self.announcer, false);
        while let Ok(news) = self.news.try_recv() {
            self.announcer.add(news);
        }
        self.announcer.publish(queue).await;
    }

    /// Tells what was counted and not told.
    async fn end(mut self) {
        self.tally.tell(random::now(), &mut self.announcer, true);
        if let Ok(queue) = self.queue.get() {
            let told = self.announcer.publish(&*queue);
            if tokio::time::timeout(END, told).await.is_err() {
                tracing::info!("some news is not told: the queue does not answer");
            }
        }
    }

    /// Writes until it is written: what comes meanwhile waits in the queue.
    async fn write(&self, gathered: &Gathered) -> Written {
        let (mut wait, longest) = RETRY;
        let mut told = false;
        let mut written = Written::default();
        loop {
            let started = Instant::now();
            match self.logs.write_into(&gathered.entries, random::now(), &mut written).await {
                Ok(()) => {
                    metrics::histogram!("millrace_logs_write_seconds").record(started.elapsed());
                    if told {
                        tracing::info!("logs are written again");
                    }
                    return written;
                }
                Err(error) if !std::mem::replace(&mut told, true) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        error,
                        cause = error.source(),
                        "cannot write logs: reports wait in the queue, nothing else does"
                    );
                }
                Err(_) => {}
            }
            sleep(wait).await;
            wait = longest.min(wait * 2);
        }
    }

    /// Counts what was written, and says what was not.
    async fn note(&mut self, gathered: &Gathered, written: &Written) {
        let counted = |log: &'static str, count: u64| {
            if count > 0 {
                metrics::counter!("millrace_log_entries_total", "log" => log).increment(count);
            }
        };
        counted("attempts", written.attempts);
        counted("errors", written.errors.len() as u64);
        counted("drops", written.drops.len() as u64);
        for (id, why) in &written.refused {
            metrics::counter!("millrace_log_entries_refused_total").increment(1);
            tracing::warn!(%id, why, "the database refuses an entry of the logs: it is left out");
        }
        if gathered.unreadable > 0 {
            metrics::counter!("millrace_reports_unreadable_total").increment(gathered.unreadable);
            tracing::error!(gathered.unreadable, "reports cannot be read: they are left out");
        }
        let dropped = gathered.entries.drops.iter();
        let new = || dropped.clone().filter(|entry| written.drops.contains(&entry.id));
        self.tally.count(new());
        if !gathered.entries.drops.is_empty() {
            self.quota.keep(&*self.logs, new().map(|entry| entry.account)).await;
        }
        self.problems.count(gathered, &written.errors, &mut self.announcer).await;
        self.health.turned(&gathered.turns, &mut self.announcer).await;
        self.health.attempted(&gathered.entries.attempts).await;
    }
}

impl Round {
    fn is_empty(&self) -> bool {
        self.attempts.is_empty() && self.drops.is_empty()
    }

    /// Whether no attempts were left in the queue when it began.
    fn has_all_attempts(&self) -> bool {
        self.attempts.len() < ATTEMPTS_MAX
    }

    /// How long to wait for more.
    fn pause(&self) -> Duration {
        let full = self.attempts.len() >= ATTEMPTS_MAX || self.drops.len() >= DROPS_MAX;
        if full {
            Duration::ZERO
        } else if self.is_empty() {
            IDLE
        } else {
            GATHER
        }
    }
}

/// How many reports are written together, of some.
fn first_part(reports: &[Report]) -> usize {
    let mut bytes = 0;
    let fitting = reports.iter().take_while(|report| {
        bytes += report.body.len();
        bytes <= PART_BYTES
    });
    fitting.count().max(1)
}

fn places(reports: &[Report]) -> Vec<(Partition, EntryId)> {
    reports.iter().map(|report| (report.partition, report.id)).collect()
}

/// Makes days of logs and drops those that are over, for ever.
pub(crate) async fn keep_days(
    logs: Arc<dyn LogStore>,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    /// Well under the days that are made ahead.
    const PERIOD: Duration = Duration::from_secs(1_800);
    let keep = async {
        let mut told = false;
        loop {
            let now: Timestamp = random::now();
            let wait = match logs.keep_days(now).await {
                Ok(()) => {
                    told = false;
                    PERIOD
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let error: &dyn std::error::Error = &error;
                        let cause = error.source();
                        tracing::warn!(error, cause, "cannot make days of logs, tries again");
                    }
                    RETRY.1
                }
            };
            sleep(wait).await;
        }
    };
    // Cancelling is safe: days are made and dropped in transactions, and a repeat does nothing.
    stopping.run_until_cancelled(keep).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_is_written_together_is_bounded_in_bytes_and_never_nothing() {
        let reports = |sizes: &[usize]| -> Vec<Report> {
            let report = |size: &usize| Report {
                partition: Partition(0),
                id: EntryId::default(),
                body: Bytes::from(vec![0; *size]),
            };
            sizes.iter().map(report).collect()
        };
        assert_eq!(first_part(&reports(&[1, 2, 3])), 3);
        assert_eq!(first_part(&reports(&[PART_BYTES - 1, 1, 1])), 2);
        assert_eq!(first_part(&reports(&[2 * PART_BYTES, 1])), 1, "the largest goes alone");
    }
}
