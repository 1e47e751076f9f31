//! The report: one row for each mode, and what each process cost.

use crate::{generate::Generated, latency::Latency, receive::Received, stack::Mode, usage::Usage};

/// What the receiver's process is called.
pub(crate) const RECEIVER: &str = "receiver";
/// What the generator's process is called.
const GENERATOR: &str = "generator";

/// What was measured in one mode.
pub(crate) struct Row {
    pub(crate) mode: Mode,
    pub(crate) load: &'static str,
    pub(crate) generated: Generated,
    pub(crate) received: Received,
    pub(crate) costs: Vec<Cost>,
}

/// What one process cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    process: &'static str,
    cpu_us_per_event: f64,
    /// Unknown of a process that has ended.
    peak_rss_bytes: Option<u64>,
}

impl Cost {
    /// What processes used between two looks, for each of `events`.
    pub(crate) fn between(
        before: &[(&'static str, Usage)],
        after: &[(&'static str, Usage)],
        events: usize,
    ) -> Vec<Self> {
        let cost =
            |((process, before), (_, after)): (&(&'static str, Usage), &(&str, Usage))| Self {
                process,
                cpu_us_per_event: float(after.cpu_us.saturating_sub(before.cpu_us)) / float(events),
                peak_rss_bytes: Some(after.peak_rss_bytes),
            };
        before.iter().zip(after).map(cost).collect()
    }

    /// What the generator said of itself.
    pub(crate) fn of_generator(generated: &Generated, events: usize) -> Self {
        let cpu_us_per_event = float(generated.cpu_us) / float(events);
        Self { process: GENERATOR, cpu_us_per_event, peak_rss_bytes: None }
    }

    /// Whether it is part of Millrace, or of what it stands on.
    fn is_millrace(&self) -> bool {
        ![RECEIVER, GENERATOR].contains(&self.process)
    }
}

impl Row {
    fn per_second(&self, events: usize, ended_us: u64) -> f64 {
        float(events) * 1e6 / float(ended_us.saturating_sub(self.generated.started_us).max(1))
    }

    fn name(&self) -> String {
        format!("{} {}", self.mode.name(), self.load)
    }

    fn total(&self) -> (f64, f64) {
        let ours = || self.costs.iter().filter(|cost| cost.is_millrace());
        let bytes: u64 = ours().filter_map(|cost| cost.peak_rss_bytes).sum();
        (ours().map(|cost| cost.cpu_us_per_event).sum(), megabytes(bytes))
    }
}

/// Prints all that was measured.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "\n{:<19}{:>11}{:>13}{:>12}{:>11}{:>26}{:>12}{:>10}",
        "mode",
        "accepted/s",
        "delivered/s",
        "CPU-µs each",
        "peak RSS",
        "latency p50/p99/max ms",
        "duplicates",
        "refused"
    );
    for row in rows {
        let (cpu, rss) = row.total();
        println!(
            "{:<19}{:>11.0}{:>13.0}{cpu:>12.1}{rss:>8.0} MB{:>26}{:>12}{:>10}",
            row.name(),
            row.per_second(row.generated.accepted, row.generated.ended_us),
            row.per_second(row.received.events, row.received.last_us),
            millis(row.received.latency),
            row.received.duplicates,
            row.generated.repeated,
        );
    }
    println!(
        "\nCPU-µs for each delivered event, by process (peak RSS; PostgreSQL's counts shared pages in each of its processes):"
    );
    for row in rows {
        let (ours, others): (Vec<&Cost>, Vec<&Cost>) =
            row.costs.iter().partition(|cost| cost.is_millrace());
        println!("{:<19}{}; besides: {}", row.name(), list(&ours), list(&others));
    }
    println!("\nlatency of the answer to a batch, p50/p99/max ms:");
    for row in rows {
        println!("{:<19}{}", row.name(), millis(row.generated.answer));
    }
}

fn list(costs: &[&Cost]) -> String {
    let item = |cost: &&Cost| match cost.peak_rss_bytes {
        Some(bytes) => {
            format!("{} {:.1} ({:.0} MB)", cost.process, cost.cpu_us_per_event, megabytes(bytes))
        }
        None => format!("{} {:.1}", cost.process, cost.cpu_us_per_event),
    };
    costs.iter().map(item).collect::<Vec<_>>().join(", ")
}

fn millis(latency: Latency) -> String {
    let ms = |us: u64| float(us) / 1e3;
    format!("{:.1}/{:.1}/{:.1}", ms(latency.p50_us), ms(latency.p99_us), ms(latency.max_us))
}

fn megabytes(bytes: u64) -> f64 {
    float(bytes) / (1_024.0 * 1_024.0)
}

/// A count as a number to divide; none here is large enough to lose a digit that is printed.
fn float<T: TryInto<u64>>(count: T) -> f64 {
    let count = count.try_into().unwrap_or(u64::MAX);
    std::time::Duration::from_nanos(count).as_secs_f64() * 1e9
}
