//! The choice of driver for a type of sink.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use millrace_domain::{
    SinkType,
    outcome::{Outcome, Reason},
};

use crate::{
    Attempt, BatchLimits, Delivery, Driver, SinkSpec,
    cloudevents::CloudEvents,
    file::{File, FileOptions},
    http::{HttpClient, HttpOptions, SetupError},
    segment::{Segment, SegmentOptions},
    webhook::Webhook,
};

/// How sinks are spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    /// All that is HTTP.
    pub http: HttpOptions,
    /// Where Segment is.
    pub segment: SegmentOptions,
    /// Where files are; none: there are no such sinks.
    pub file: Option<FileOptions>,
    /// What receivers of CloudEvents are told that events come from: visible ASCII.
    pub origin: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            http: HttpOptions::default(),
            segment: SegmentOptions::default(),
            file: None,
            origin: "millrace".to_owned(),
        }
    }
}

/// One driver for each type of sink, made once a process: drivers hold the connections.
#[derive(Clone)]
pub struct Drivers {
    /// In the order of [`SinkType::ALL`].
    by_type: [Arc<dyn Driver>; SinkType::ALL.len()],
}

impl Drivers {
    /// Makes the drivers that are built here; those of leaf crates are put in by [`Drivers::with`].
    ///
    /// # Errors
    /// [`SetupError`] if the options cannot be used.
    pub fn new(options: &Options) -> Result<Self, SetupError> {
        // One client: whatever speaks HTTP shares its connections.
        let http = Arc::new(HttpClient::new(&options.http)?);
        let segment = Segment::new(Arc::clone(&http), &options.segment)?;
        let cloudevents = CloudEvents::new(Arc::clone(&http), &options.origin);
        let drivers = Self::of_one(Arc::new(Unbuilt))
            .with(SinkType::Webhook, Arc::new(Webhook::new(http)))
            .with(SinkType::Segment, Arc::new(segment))
            .with(SinkType::CloudEvents, Arc::new(cloudevents));
        Ok(match options.file.clone() {
            Some(file) => {
                drivers.with(SinkType::File, Arc::new(File::new(file, options.http.deadline)))
            }
            None => drivers,
        })
    }

    /// The same driver for every type: for tests, which script what sinks answer.
    pub fn of_one(driver: Arc<dyn Driver>) -> Self {
        Self { by_type: std::array::from_fn(|_| Arc::clone(&driver)) }
    }

    /// Has `driver` speak `sink_type` from now on.
    #[must_use]
    pub fn with(mut self, sink_type: SinkType, driver: Arc<dyn Driver>) -> Self {
        self.by_type[place(sink_type)] = driver;
        self
    }

    /// The driver that speaks `sink_type`.
    pub fn of(&self, sink_type: SinkType) -> &Arc<dyn Driver> {
        &self.by_type[place(sink_type)]
    }
}

/// Where in [`SinkType::ALL`] a type stands.
fn place(sink_type: SinkType) -> usize {
    match sink_type {
        SinkType::Webhook => 0,
        SinkType::Kinesis => 1,
        SinkType::Segment => 2,
        SinkType::CloudEvents => 3,
        SinkType::File => 4,
    }
}

/// Stands for the types that this process has no driver for.
struct Unbuilt;

#[async_trait]
impl Driver for Unbuilt {
    fn limits(&self, _: &SinkSpec) -> BatchLimits {
        BatchLimits { events: 1, bytes: 64 * 1024 }
    }

    async fn deliver(&self, sink: &SinkSpec, batch: &[Delivery], _: i64) -> Attempt {
        Attempt {
            outcomes: vec![Outcome::Discard { reason: Reason::Configuration }; batch.len()],
            http_status: None,
            duration: Duration::ZERO,
            detail: format!(
                "this deliverer cannot deliver to `{}` sinks",
                sink.configuration.sink_type().as_str()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_place_of_its_own() {
        let places = SinkType::ALL.map(place);
        assert_eq!(places, std::array::from_fn(|at| at));
    }
}
