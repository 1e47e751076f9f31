//! The settings of a deliverer.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use ipnet::IpNet;
use millrace_domain::{AccountSid, backoff::Backoff, destination::DestinationPolicy};
use millrace_queue::redis::check_url;
use millrace_runtime::{
    sections::{
        ControlPlaneSettings, InternalSettings, QueueSettings, ShutdownSettings, SinksSettings,
    },
    telemetry::{LogSettings, TelemetrySettings},
};
use serde::{Deserialize, Serialize};

/// Everything a deliverer is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// This process.
    pub deliverer: DelivererSettings,
    /// The queue.
    pub queue: QueueSettings,
    /// Where the configuration comes from.
    pub control_plane: ControlPlaneSettings,
    /// What the services trust each other by.
    pub internal: InternalSettings,
    /// How events are delivered.
    pub delivery: DeliverySettings,
    /// What is said of the types of sink.
    pub sinks: SinksSettings,
    /// What is told of deliveries.
    pub logs: LogsSettings,
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
pub struct DelivererSettings {
    /// Address of gRPC.
    pub listen: String,
    /// Where other services reach it; empty: `listen`, or the address towards control-plane where that is every address.
    pub advertise: String,
    /// How long an owner may be silent before another takes its partitions.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How often a lease is renewed; at most a third of it.
    #[serde(with = "humantime_serde")]
    pub renew: Duration,
    /// How long a process must live without a chunk that owners before died with, before it is tried alone. At most 5 min; longer
    /// than a delivery takes, so that deaths of another cause do not put innocent chunks into quarantine.
    #[serde(with = "humantime_serde")]
    pub quiet: Duration,
}

/// How events are delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliverySettings {
    /// Whether webhooks may be `http`.
    pub allow_http: bool,
    /// Networks that webhooks may be in although they are not public.
    pub allow_cidrs: Vec<IpNet>,
    /// Longest wait for a receiver's complete answer, from connect to the last byte. Between 100 ms and 60 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long delivery of an event is tried, from its acceptance. Between 1 s and 7 days.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Bound of the wait after the first failure.
    #[serde(with = "humantime_serde")]
    pub backoff_base: Duration,
    /// Bound of any wait.
    #[serde(with = "humantime_serde")]
    pub backoff_cap: Duration,
    /// Most requests at once, of the process. A sink may have as many open as are left: alone, nearly half of them.
    pub in_flight: usize,
    /// Most requests at once, to one sink.
    pub in_flight_per_sink: u32,
    /// Most events that wait in memory for one sink.
    pub lane_events: usize,
    /// Most bytes of events that wait in memory for one sink.
    pub lane_bytes: usize,
    /// Most bytes of chunks that are read and not settled, of the process.
    pub unsettled_bytes: usize,
    /// How long an event may wait in memory before it is parked.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// How long what is to be parked is gathered, unless a lane waits for it.
    #[serde(with = "humantime_serde")]
    pub gather: Duration,
}

/// What is told of deliveries, to control-plane's logs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsSettings {
    /// Which requests are told of.
    pub attempts: AttemptLog,
    /// The same of single accounts, by SID.
    pub accounts: BTreeMap<String, AttemptLog>,
}

impl LogsSettings {
    /// Which requests of an account are told of.
    pub(crate) fn of(&self, account: AccountSid) -> AttemptLog {
        if self.accounts.is_empty() {
            return self.attempts;
        }
        self.accounts.get(&account.to_string()).copied().unwrap_or(self.attempts)
    }
}

/// Which requests are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptLog {
    /// Every one.
    #[default]
    All,
    /// Those that failed, and the delivery that ends a row of failures or is a lane's first.
    Failures,
    /// None: neither attempts nor error logs are kept. What is dropped is, all the same.
    None,
}

impl AttemptLog {
    /// The word as the setting spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failures => "failures",
            Self::None => "none",
        }
    }
}

/// Where the admin routes are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Address of `/healthz`, `/readyz`, `/metrics`.
    pub listen: String,
}

impl Default for DelivererSettings {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8082".to_owned(),
            advertise: String::new(),
            lease: Duration::from_secs(10),
            renew: Duration::from_secs(3),
            quiet: Duration::from_secs(10),
        }
    }
}

impl Default for DeliverySettings {
    fn default() -> Self {
        let Backoff { base, cap } = Backoff::default();
        Self {
            allow_http: false,
            allow_cidrs: Vec::new(),
            timeout: Duration::from_secs(5),
            window: millrace_domain::sink::DELIVERY_WINDOW,
            backoff_base: base,
            backoff_cap: cap,
            in_flight: 1_024,
            in_flight_per_sink: 64,
            lane_events: 1_000,
            lane_bytes: 4 * 1024 * 1024,
            unsettled_bytes: 40 * 1024 * 1024,
            linger: Duration::from_secs(5),
            gather: Duration::from_secs(1),
        }
    }
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { listen: "0.0.0.0:9082".to_owned() }
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
        self.sinks.check()?;
        let renew = self.deliverer.renew;
        anyhow::ensure!(
            (Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&self.deliverer.lease)
                && renew <= self.deliverer.lease,
            "wrong setting `deliverer.lease`: must be between 1s and 1h"
        );
        let bounds = [
            (
                "logs.accounts",
                self.logs.accounts.keys().all(|sid| sid.parse::<AccountSid>().is_ok()),
                "must name accounts by their SIDs",
            ),
            (
                "deliverer.renew",
                renew * 3 <= self.deliverer.lease && !renew.is_zero(),
                "must be more than 0 and at most a third of `deliverer.lease`",
            ),
            (
                "deliverer.quiet",
                self.deliverer.quiet <= Duration::from_secs(300),
                "must be at most 5m",
            ),
            (
                "shutdown.grace",
                self.shutdown.grace >= self.delivery.timeout,
                "must be at least `delivery.timeout`, so that open requests end and are not repeated",
            ),
        ];
        for (name, holds, message) in bounds.into_iter().chain(self.delivery.bounds()) {
            anyhow::ensure!(holds, "wrong setting `{name}`: {message}");
        }
        Ok(())
    }
}

impl DeliverySettings {
    /// Which addresses may be delivered to.
    pub fn policy(&self) -> DestinationPolicy {
        DestinationPolicy { allow_http: self.allow_http, allow_cidrs: self.allow_cidrs.clone() }
    }

    /// The waits between tries.
    pub fn backoff(&self) -> Backoff {
        Backoff { base: self.backoff_base, cap: self.backoff_cap }
    }

    fn bounds(&self) -> [(&'static str, bool, &'static str); 8] {
        let seconds = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
        [
            (
                "delivery.timeout",
                (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.timeout),
                "must be between 100ms and 60s",
            ),
            (
                "delivery.window",
                seconds(1, 7 * 24 * 3600).contains(&self.window),
                "must be between 1s and 7days",
            ),
            (
                "delivery.backoff_base",
                !self.backoff_base.is_zero() && self.backoff_base <= self.backoff_cap,
                "must be more than 0 and at most `delivery.backoff_cap`",
            ),
            (
                // A wait of hours is taken for a clock that jumped.
                "delivery.backoff_cap",
                self.backoff_cap <= Duration::from_secs(3_600),
                "must be at most 1h",
            ),
            (
                "delivery.in_flight",
                (1..=100_000).contains(&self.in_flight),
                "must be between 1 and 100000",
            ),
            (
                "delivery.in_flight_per_sink",
                (1..=10_000).contains(&self.in_flight_per_sink),
                "must be between 1 and 10000",
            ),
            (
                "delivery.linger",
                self.linger <= Duration::from_secs(60) && self.gather <= Duration::from_secs(10),
                "must be at most 60s, and `delivery.gather` at most 10s",
            ),
            (
                "delivery.lane_events",
                self.lane_events >= 1
                    && self.lane_bytes >= 1
                    && self.unsettled_bytes >= 1024 * 1024,
                "and `delivery.lane_bytes` must be at least 1, `delivery.unsettled_bytes` at least 1 MB",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use millrace_runtime::config::MaskedSecret;

    use super::*;

    #[test]
    fn the_defaults_lack_only_the_shared_token() {
        let mut settings = Settings::default();
        assert!(settings.check().expect_err("no token").to_string().contains("internal.token"));
        settings.internal.token = MaskedSecret::new("0123456789abcdef0123456789");
        settings.check().expect("valid");
        settings.logs.accounts.insert("AC7".to_owned(), AttemptLog::None);
        assert!(settings.check().expect_err("no SID").to_string().contains("logs.accounts"));
        settings.logs.accounts.clear();
        settings.delivery.window = Duration::ZERO;
        assert!(settings.check().expect_err("no window").to_string().contains("delivery.window"));
    }
}
