//! Metrics of the process, for Prometheus: each is described, and there from the start.

use std::time::Duration;

use metrics::{
    Label, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{runtime::Handle, time::sleep};

/// How often samples are gathered into histograms: what nobody scrapes must not grow.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds of histograms of seconds: the default ones of Prometheus' clients
/// (<https://pkg.go.dev/github.com/prometheus/client_golang/prometheus#pkg-variables>), and the same steps down to 1 ms.
const SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The same for what may wait as long as an event: up to the window, 4 h unless set otherwise, and the longest one, 7 days.
const WAITS: [f64; 17] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 3_600.0, 14_400.0,
    86_400.0, 604_800.0,
];
/// Upper bounds of histograms of events: up to the most of a publish, 10,000; a chunk has 1,000 at most, a request of Kinesis 500.
const EVENTS: [f64; 13] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];
/// Upper bounds of histograms of bytes: up to a chunk, 1 MB; a larger event travels alone.
const BYTES: [f64; 7] = [256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];
/// Histograms of seconds that are waits of events.
const WAITING: [&str; 2] = ["millrace_delivery_seconds", "millrace_read_seconds"];

/// A metric: what it is called, and what it says. Its unit is the end of its name.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// Each label, with the values that are known beforehand; none: values are found as they come.
    labels: &'static [(&'static str, &'static [&'static str])],
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    /// Something that only grows.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, help, labels: &[] }
    }

    /// Something as it is now.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, help, labels: &[] }
    }

    /// A distribution.
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, help, labels: &[] }
    }

    /// With labels, each with the values that are known beforehand; none: values are found as they come.
    #[must_use]
    pub const fn by(mut self, labels: &'static [(&'static str, &'static [&'static str])]) -> Self {
        self.labels = labels;
        self
    }

    fn describe(&self) {
        match self.kind {
            Kind::Counter => describe_counter!(self.name, self.help),
            Kind::Gauge => describe_gauge!(self.name, self.help),
            Kind::Histogram => describe_histogram!(self.name, self.help),
        }
        for labels in self.series() {
            match self.kind {
                Kind::Counter => counter!(self.name, labels).increment(0),
                Kind::Gauge => gauge!(self.name, labels).increment(0.0),
                Kind::Histogram => drop(histogram!(self.name, labels)),
            }
        }
    }

    /// The series that are known beforehand.
    fn series(&self) -> Vec<Vec<Label>> {
        self.labels.iter().fold(vec![Vec::new()], |series, (name, values)| {
            let with = |labels: &Vec<Label>, value: &'static str| {
                labels.iter().cloned().chain([Label::from_static_parts(name, value)]).collect()
            };
            let more = series.iter().flat_map(|labels| values.iter().map(|it| with(labels, it)));
            more.collect()
        })
    }
}

/// What every process tells.
const EVERY: &[Metric] = &[Metric::gauge("millrace_build_info", "1, by the version that runs")
    .by(&[("version", &[env!("CARGO_PKG_VERSION")])])];

/// Says what the metrics of the process mean, and has each there before anything happened: an alert on one that is missing
/// never fires.
pub fn describe(all: &[Metric]) {
    all.iter().chain(EVERY).for_each(Metric::describe);
    gauge!("millrace_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Starts metrics.
#[expect(clippy::disallowed_methods, reason = "metrics are there before any task has a supervisor")]
pub(super) fn init() -> anyhow::Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), &EVENTS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)?;
    for name in WAITING {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &WAITS)?;
    }
    let metrics = builder.install_recorder()?;
    let kept = metrics.clone();
    if Handle::try_current().is_ok() {
        drop(tokio::spawn(async move {
            loop {
                sleep(UPKEEP).await;
                kept.run_upkeep();
            }
        }));
    }
    Ok(metrics)
}
