//! What processes cost: for each delivered event, and at their peak.

use crate::{
    figures::{float, number},
    usage::Usage,
};

/// What the receiver's process is called.
pub(crate) const RECEIVER: &str = "receiver";
/// What the generator's process is called.
pub(crate) const GENERATOR: &str = "generator";

/// What one process used between two looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) process: &'static str,
    pub(crate) cpu_us: u64,
    /// Unknown of a process that has ended.
    pub(crate) peak_rss_bytes: Option<u64>,
}

impl Cost {
    /// What processes used between two looks.
    pub(crate) fn between(
        before: &[(&'static str, Usage)],
        after: &[(&'static str, Usage)],
    ) -> Vec<Self> {
        let cost =
            |((process, before), (_, after)): (&(&'static str, Usage), &(&str, Usage))| Self {
                process,
                cpu_us: after.cpu_us.saturating_sub(before.cpu_us),
                peak_rss_bytes: Some(after.peak_rss_bytes),
            };
        before.iter().zip(after).map(cost).collect()
    }

    /// Whether it is part of Millrace, or of what it stands on.
    pub(crate) fn is_millrace(&self) -> bool {
        ![RECEIVER, GENERATOR].contains(&self.process)
    }
}

/// What the processes of several runs used together, and their highest peak.
pub(crate) fn sum<'a>(runs: impl IntoIterator<Item = &'a [Cost]>) -> Vec<Cost> {
    let mut total: Vec<Cost> = Vec::new();
    for cost in runs.into_iter().flatten() {
        match total.iter_mut().find(|known| known.process == cost.process) {
            Some(known) => {
                known.cpu_us += cost.cpu_us;
                known.peak_rss_bytes = known.peak_rss_bytes.max(cost.peak_rss_bytes);
            }
            None => total.push(*cost),
        }
    }
    total
}

/// CPU-µs of Millrace and of what it stands on, for each of `events`.
pub(crate) fn per_event(costs: &[Cost], events: usize) -> f64 {
    let ours: u64 = costs.iter().filter(|cost| cost.is_millrace()).map(|cost| cost.cpu_us).sum();
    float(ours) / float(events.max(1))
}

/// CPU-µs of one process, for each of `events`.
pub(crate) fn of_process(costs: &[Cost], process: &str, events: usize) -> f64 {
    let used = costs.iter().filter(|cost| cost.process == process).map(|cost| cost.cpu_us);
    float(used.sum::<u64>()) / float(events.max(1))
}

/// Peak of the resident memory of one process.
pub(crate) fn peak_megabytes(costs: &[Cost], process: &str) -> f64 {
    let found = costs.iter().find(|cost| cost.process == process);
    megabytes(found.and_then(|cost| cost.peak_rss_bytes).unwrap_or_default())
}

/// CPU-µs for each of `events`, process by process.
pub(crate) fn by_process(costs: &[Cost], events: usize) -> String {
    let item = |cost: &&Cost| {
        let cpu = number(float(cost.cpu_us) / float(events.max(1)));
        match cost.peak_rss_bytes {
            Some(bytes) => format!("{} {cpu} ({:.0} MB)", cost.process, megabytes(bytes)),
            None => format!("{} {cpu}", cost.process),
        }
    };
    let (ours, others): (Vec<&Cost>, Vec<&Cost>) = costs.iter().partition(|it| it.is_millrace());
    let list = |costs: &[&Cost]| costs.iter().map(item).collect::<Vec<_>>().join(", ");
    format!("{}; besides: {}", list(&ours), list(&others))
}

/// Bytes in MB of 1,048,576.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    float(bytes) / (1_024.0 * 1_024.0)
}
