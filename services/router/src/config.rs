//! The settings of a router.

use std::time::Duration;

use millrace_runtime::{config::MaskedSecret, telemetry::LogSettings};
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
    /// Most bytes of requests that are not answered yet, of the process; what is over is told to try again later.
    /// At least 8 MB.
    pub in_flight_bytes: u32,
}

/// The queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// URL of Redis, such as `redis://user:password@host:6379/0`.
    pub url: MaskedSecret,
    /// Number of partitions: fixed at installation.
    pub partitions: u16,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlPlaneSettings {
    /// URL of control-plane's gRPC.
    pub address: String,
}

/// What the services trust each other by.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InternalSettings {
    /// The shared token, at least 16 bytes; the same in every service.
    pub token: MaskedSecret,
}

/// Where the admin routes are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Address of `/healthz`, `/readyz`, `/metrics`.
    pub listen: String,
}

/// How the process ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownSettings {
    /// Longest wait for requests that are open.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8081".to_owned(),
            read_timeout: Duration::from_secs(10),
            append_timeout: Duration::from_secs(10),
            in_flight_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { url: MaskedSecret::default(), partitions: 64 }
    }
}

impl Default for ControlPlaneSettings {
    fn default() -> Self {
        Self { address: "http://127.0.0.1:8080".to_owned() }
    }
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { listen: "0.0.0.0:9081".to_owned() }
    }
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { grace: Duration::from_secs(20) }
    }
}

impl Settings {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first setting that is out of its bounds, by name.
    pub fn check(&self) -> anyhow::Result<()> {
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
                "router.in_flight_bytes",
                self.router.in_flight_bytes >= 8 * 1024 * 1024,
                "must be at least 8388608",
            ),
            (
                "queue.partitions",
                (1..=4_096).contains(&self.queue.partitions),
                "must be between 1 and 4096",
            ),
            (
                "internal.token",
                self.internal.token.reveal().len() >= 16,
                "must be at least 16 bytes, the same in every service",
            ),
        ];
        for (name, holds, message) in bounds {
            anyhow::ensure!(holds, "setting `{name}` {message}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_bounds_is_named() {
        let mut settings = Settings::default();
        assert!(settings.check().expect_err("no token").to_string().contains("internal.token"));
        settings.internal.token = MaskedSecret::new("0123456789abcdef");
        settings.check().expect("the defaults are within their bounds");
        settings.queue.partitions = 0;
        assert!(settings.check().expect_err("none").to_string().contains("queue.partitions"));
    }
}
