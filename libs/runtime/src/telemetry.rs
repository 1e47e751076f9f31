//! Logs, metrics and traces, set up once a process and flushed at its end.

use metrics_exporter_prometheus::PrometheusHandle;

mod connect;
mod logs;
mod metrics;
mod settings;
pub mod traces;

pub use self::{
    logs::{LogFormat, LogSettings},
    metrics::{Metric, describe},
    settings::{OtlpSettings, TelemetrySettings},
};

/// What a process tells of itself.
#[derive(Debug)]
pub struct Telemetry {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    traces: Option<traces::Export>,
}

/// Starts logging (to standard error) and metrics.
///
/// # Errors
/// A filter that does not parse; a process that did this before.
pub fn init(settings: &LogSettings) -> anyhow::Result<Telemetry> {
    logs::init(settings)?;
    Ok(Telemetry { metrics: metrics::init()?, traces: None })
}

impl Telemetry {
    /// Exports traces as well, where there is an endpoint; `service` is what the process is called unless it is told.
    ///
    /// # Errors
    /// Settings that cannot be used; a process that did this before.
    pub fn with_traces(
        mut self,
        settings: &TelemetrySettings,
        service: &'static str,
    ) -> anyhow::Result<Self> {
        self.traces = traces::start(settings, service)?;
        Ok(self)
    }

    /// Exports what is still to be exported, within a few seconds: the end of a process.
    pub async fn flush(self) {
        if let Some(traces) = self.traces {
            traces.flush().await;
        }
    }
}
