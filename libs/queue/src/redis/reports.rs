//! Reports: streams that the consumers of one group read, take over from each other, and remove.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use ::redis::{Cmd, cmd};
use millrace_domain::Partition;

use super::{
    RedisQueue,
    entries::{self, RawEntry, RawStreams},
    failure::Failure,
    keys::{REPORT_FIELD, REPORT_GROUP},
    script::SCRIPTS,
};
use crate::{EntryId, Report, ReportKind, Result};

/// From then on, what a consumer has in hand is another's to take.
const TAKEN_OVER_AFTER: Duration = Duration::from_secs(60);
/// How often it is looked for.
const TAKE_OVER_EVERY: Duration = Duration::from_secs(15);

/// How far this process is in reading one kind for one consumer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Partitions whose history (what the consumer had in hand before this process) is read, up to where. `None`: not
    /// begun.
    history: Option<VecDeque<(Partition, EntryId)>>,
    took_over: Option<Instant>,
    /// The partition that comes first next time.
    first: u16,
}

/// One call of `reports`.
struct Round<'a> {
    kind: ReportKind,
    consumer: &'a str,
    limit: usize,
    found: Vec<Report>,
}

impl Round<'_> {
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.found.len())
    }
}

impl RedisQueue {
    pub(super) async fn read_reports(
        &self,
        kind: ReportKind,
        consumer: &str,
        limit: usize,
    ) -> Result<Vec<Report>> {
        let mut all = self.progress.lock().await;
        let progress = all.entry((kind, consumer.to_owned())).or_default();
        let mut round = Round { kind, consumer, limit, found: Vec::new() };
        match self.round(progress, &mut round).await {
            Ok(()) => Ok(round.found),
            Err(failure) => {
                // What an answer that was lost brought is in hand: begin with that.
                *progress = Progress::default();
                Err(failure.during(|| "read reports".into()))
            }
        }
    }

    async fn round(&self, progress: &mut Progress, round: &mut Round<'_>) -> Result<(), Failure> {
        if progress.history.is_none() {
            self.make_groups(round.kind).await?;
            progress.history =
                Some(self.all_partitions().map(|p| (p, EntryId::default())).collect());
        }
        if let Some(history) = &mut progress.history {
            self.read_history(history, round).await?;
        }
        if progress.took_over.is_none_or(|at| at.elapsed() >= TAKE_OVER_EVERY) && round.room() > 0 {
            self.take_over(round).await?;
            progress.took_over = Some(Instant::now());
        }
        self.read_new(progress, round).await
    }

    async fn make_groups(&self, kind: ReportKind) -> Result<(), Failure> {
        let calls: Vec<_> = self
            .all_partitions()
            .map(|partition| {
                let mut call = SCRIPTS.group.call();
                call.key(self.keys.reports(partition, kind)).arg(REPORT_GROUP);
                call
            })
            .collect();
        self.link.call_each::<i64>(&calls).await.into_iter().try_for_each(|made| made.map(drop))
    }

    /// Reads again what the consumer has in hand, partition by partition.
    async fn read_history(
        &self,
        history: &mut VecDeque<(Partition, EntryId)>,
        round: &mut Round<'_>,
    ) -> Result<(), Failure> {
        while round.room() > 0 && !history.is_empty() {
            let asked = history.len().min(round.room());
            let from: Vec<_> =
                history.iter().take(asked).map(|(p, after)| (*p, after.to_string())).collect();
            let answer = self.read_group(round, &from).await?;
            history.drain(..asked);
            for (partition, entries) in answer {
                if let Some(last) = entries.last().and_then(|(text, _)| entries::id(text)) {
                    history.push_back((partition, last));
                }
                self.keep(partition, entries, round).await?;
            }
        }
        Ok(())
    }

    /// Reads what no consumer has been given, some partitions at a time, and goes on from there the next time.
    async fn read_new(
        &self,
        progress: &mut Progress,
        round: &mut Round<'_>,
    ) -> Result<(), Failure> {
        let mut partitions: VecDeque<_> = self.all_partitions().collect();
        partitions.rotate_left(usize::from(progress.first));
        let mut reached = 0;
        while round.room() > 0 && !partitions.is_empty() {
            let asked = partitions.len().min(round.room());
            reached += asked;
            let from: Vec<_> = partitions.drain(..asked).map(|p| (p, ">".to_owned())).collect();
            let count = (round.room() / asked).max(1);
            for (partition, entries) in self.read_group(round, &from).await? {
                if entries.len() >= count {
                    partitions.push_back(partition);
                }
                self.keep(partition, entries, round).await?;
            }
        }
        progress.first = next_first(progress.first, reached, self.partitions);
        Ok(())
    }

    async fn read_group(
        &self,
        round: &Round<'_>,
        from: &[(Partition, String)],
    ) -> Result<Vec<(Partition, Vec<RawEntry>)>, Failure> {
        let keys: HashMap<_, _> = from
            .iter()
            .map(|(partition, _)| (self.keys.reports(*partition, round.kind), *partition))
            .collect();
        let count = (round.room() / from.len()).max(1);
        let read = |from: &[(Partition, String)]| {
            let mut read = cmd("XREADGROUP");
            read.arg("GROUP").arg(REPORT_GROUP).arg(round.consumer).arg("COUNT").arg(count);
            read.arg("STREAMS");
            for (partition, _) in from {
                read.arg(self.keys.reports(*partition, round.kind));
            }
            for (_, after) in from {
                read.arg(after);
            }
            read
        };
        let reads = from.chunks(self.link.most_keys()).map(read).collect();
        let mut found = Vec::new();
        for streams in self.link.each::<RawStreams>(reads).await {
            let streams = streams?.unwrap_or_default().into_iter();
            found.extend(streams.filter_map(|(key, entries)| Some((*keys.get(&key)?, entries))));
        }
        Ok(found)
    }

    /// Takes what any consumer has had in hand for too long.
    async fn take_over(&self, round: &mut Round<'_>) -> Result<(), Failure> {
        for partition in self.all_partitions() {
            if round.room() == 0 {
                break;
            }
            let mut claim = cmd("XAUTOCLAIM");
            claim.arg(self.keys.reports(partition, round.kind)).arg(REPORT_GROUP);
            claim.arg(round.consumer).arg(millis(TAKEN_OVER_AFTER)).arg("0-0");
            claim.arg("COUNT").arg(round.room());
            let (_, entries, _): (String, Vec<RawEntry>, Vec<String>) =
                self.link.query(&claim).await?;
            self.keep(partition, entries, round).await?;
        }
        Ok(())
    }

    /// Keeps what has a body; what was trimmed since it was given leaves the group.
    async fn keep(
        &self,
        partition: Partition,
        entries: Vec<RawEntry>,
        round: &mut Round<'_>,
    ) -> Result<(), Failure> {
        let mut gone = Vec::new();
        for (text, fields) in entries {
            let Some(id) = entries::id(&text) else { continue };
            match fields.and_then(|fields| entries::value(fields, REPORT_FIELD)) {
                Some(body) => round.found.push(Report { partition, id, body }),
                None => gone.push(id),
            }
        }
        if !gone.is_empty() {
            self.link.query::<i64>(&self.xack(partition, round.kind, &gone)).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_reports(
        &self,
        kind: ReportKind,
        reports: &[(Partition, EntryId)],
    ) -> Result<()> {
        let mut by_partition: HashMap<Partition, Vec<EntryId>> = HashMap::new();
        for (partition, id) in reports {
            by_partition.entry(*partition).or_default().push(*id);
        }
        let mut remove = ::redis::pipe();
        for (partition, ids) in by_partition {
            // The entry first: what a crash leaves of it in the group is cleared when it is looked for.
            let mut xdel = cmd("XDEL");
            xdel.arg(self.keys.reports(partition, kind));
            ids.iter().for_each(|id| {
                xdel.arg(id.to_string());
            });
            remove.add_command(xdel);
            remove.add_command(self.xack(partition, kind, &ids));
        }
        if remove.is_empty() {
            return Ok(());
        }
        let result = self.link.pipeline::<Vec<i64>>(&remove).await;
        result.map_err(|failure| failure.during(|| "acknowledge reports".into()))?;
        Ok(())
    }

    fn xack(&self, partition: Partition, kind: ReportKind, ids: &[EntryId]) -> Cmd {
        let mut xack = cmd("XACK");
        xack.arg(self.keys.reports(partition, kind)).arg(REPORT_GROUP);
        for id in ids {
            xack.arg(id.to_string());
        }
        xack
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The partition that comes first after `reached` of `all` were asked from `first` on; where all were, another one does all the same.
fn next_first(first: u16, reached: usize, all: u16) -> u16 {
    let step = u16::try_from(reached).ok().filter(|reached| *reached < all).unwrap_or(1);
    u16::try_from((u32::from(first) + u32::from(step)) % u32::from(all.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_where_it_stopped() {
        assert_eq!(next_first(0, 128, 256), 128);
        assert_eq!(next_first(200, 128, 256), 72);
        for reached in [64, 65, 70_000] {
            assert_eq!(next_first(63, reached, 64), 0, "all were asked");
        }
        assert_eq!(next_first(5, 0, 64), 5, "there was room for none");
        assert_eq!(next_first(u16::MAX - 1, 1, u16::MAX), 0);
    }
}
