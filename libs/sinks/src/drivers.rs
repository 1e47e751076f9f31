//! The choice of driver for a type of sink.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use millrace_domain::{
    SinkType,
    outcome::{Outcome, Reason},
};

use crate::{
    Attempt, BatchLimits, Delivery, Driver, SinkSpec,
    http::{HttpOptions, SetupError},
    webhook::Webhook,
};

/// One driver for each type of sink, made once a process: drivers hold the connections.
#[derive(Clone)]
pub struct Drivers {
    webhook: Arc<dyn Driver>,
    unbuilt: Arc<dyn Driver>,
}

impl Drivers {
    /// Makes the drivers.
    ///
    /// # Errors
    /// [`SetupError`] if the options cannot be used.
    pub fn new(http: &HttpOptions) -> Result<Self, SetupError> {
        Ok(Self { webhook: Arc::new(Webhook::new(http)?), unbuilt: Arc::new(Unbuilt) })
    }

    /// The same driver for every type: for tests, which script what sinks answer.
    pub fn of_one(driver: Arc<dyn Driver>) -> Self {
        Self { webhook: Arc::clone(&driver), unbuilt: driver }
    }

    /// The driver that speaks `sink_type`.
    pub fn of(&self, sink_type: SinkType) -> &Arc<dyn Driver> {
        match sink_type {
            SinkType::Webhook => &self.webhook,
            SinkType::Kinesis | SinkType::Segment => &self.unbuilt,
        }
    }
}

/// Stands for the types that cannot be delivered to; the domain refuses to create such sinks.
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
                "this version of Millrace cannot deliver to `{}` sinks",
                sink.configuration.sink_type().as_str()
            ),
        }
    }
}
