//! Logs and metrics, set up once a process. Trace export comes with the OTLP exporter.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// How a process logs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// `json`, `pretty`, or `auto`: pretty on a terminal.
    pub format: LogFormat,
    /// What to log, such as `info` or `info,millrace_deliverer=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

/// Starts logging (to standard error) and metrics, and gives what renders the metrics.
///
/// # Errors
/// A filter that does not parse; a process that did this before.
pub fn init(settings: &LogSettings) -> anyhow::Result<PrometheusHandle> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|error| anyhow::anyhow!("wrong setting `log.filter`: {error}"))?;
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started =
        if json { subscriber.json().flatten_event(true).try_init() } else { subscriber.try_init() };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    metrics()
}

/// Starts metrics alone.
///
/// # Errors
/// If a recorder is there already.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    Ok(PrometheusBuilder::new().install_recorder()?)
}
