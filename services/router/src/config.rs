//! The settings of a router.

use std::time::Duration;

use anyhow::Context as _;
use millrace_queue::redis::check_url;
use millrace_runtime::{
    sections::{ControlPlaneSettings, InternalSettings, QueueSettings, ShutdownSettings},
    telemetry::{LogSettings, TelemetrySettings},
};
use serde::{Deserialize, Serialize};

/// Everything a router is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// This process.
    pub router: RouterSettings,
    /// The queue.
    pub queue: QueueSettings,
    /// Where the configuration comes from.
    pub control_plane: ControlPlaneSettings,
    /// What the services trust each other by.
    pub internal: InternalSettings,
    /// Where `/healthz`, `/readyz` and `/metrics` are.
    pub admin: AdminSettings,
    /// Logs.
    pub log: LogSettings,
    /// Traces.
    pub telemetry: TelemetrySettings,
    /// How the process ends.
    pub shutdown: ShutdownSettings,
}

/// This process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouterSettings {
    /// Address of gRPC and of `POST /v1/Events`.
    pub listen: String,
    /// Longest wait for the whole body of a request. Between 100 ms and 60 s.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Longest wait for the queue to take the events of a publish. Between 100 ms and 60 s.
    #[serde(with = "humantime_serde")]
    pub append_timeout: Duration,
    /// How long an event that asked for deduplication is known by its id. Costs about 150 bytes of the queue's memory an event.
    /// Between 1 s and 7 days.
    #[serde(with = "humantime_serde")]
    pub dedup_window: Duration,
    /// Most bytes of requests that are not answered yet, of the process; what is over is told to try again later.
    /// At least 8 MB.
    pub in_flight_bytes: u32,
}

/// Where the admin routes are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Address of `/healthz`, `/readyz`, `/metrics`.
    pub listen: String,
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8081".to_owned(),
            read_timeout: Duration::from_secs(10),
            append_timeout: Duration::from_secs(10),
            dedup_window: Duration::from_hours(1),
            in_flight_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { listen: "0.0.0.0:9081".to_owned() }
    }
}

impl Settings {
    /// Checks what a process of its own needs.
    ///
    /// # Errors
    /// The first setting that is wrong or missing, by name.
    pub fn validate(&self) -> anyhow::Result<()> {
        self.queue.check_redis()?;
        check_url(self.queue.url.reveal()).context("wrong setting `queue.url`")?;
        self.check()
    }

    /// Checks what types cannot; where the queue is is not looked at.
    ///
    /// # Errors
    /// The first setting that is out of its bounds, by name.
    pub fn check(&self) -> anyhow::Result<()> {
        self.queue.check()?;
        self.internal.check()?;
        self.telemetry.check()?;
        let wait = Duration::from_millis(100)..=Duration::from_secs(60);
        let bounds = [
            (
                "router.read_timeout",
                wait.contains(&self.router.read_timeout),
                "must be between 100ms and 60s",
            ),
            (
                "router.append_timeout",
                wait.contains(&self.router.append_timeout),
                "must be between 100ms and 60s",
            ),
            (
                "router.dedup_window",
                (Duration::from_secs(1)..=Duration::from_hours(7 * 24))
                    .contains(&self.router.dedup_window),
                "must be between 1s and 7days",
            ),
            (
                "router.in_flight_bytes",
                self.router.in_flight_bytes >= 8 * 1024 * 1024,
                "must be at least 8388608",
            ),
        ];
        for (name, holds, message) in bounds {
            anyhow::ensure!(holds, "wrong setting `{name}`: {message}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millrace_runtime::config::MaskedSecret;

    use super::*;

    #[test]
    fn a_setting_out_of_bounds_is_named() {
        let mut settings = Settings::default();
        assert!(settings.check().expect_err("no token").to_string().contains("internal.token"));
        settings.internal.token = MaskedSecret::new("0123456789abcdef0123456789");
        settings.check().expect("the defaults are within their bounds");
        settings.queue.partitions = 0;
        assert!(settings.check().expect_err("none").to_string().contains("queue.partitions"));
    }
}
