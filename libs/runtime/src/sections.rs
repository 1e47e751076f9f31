//! Sections of settings that several services have: the same names, bounds and defaults in each.

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::config::MaskedSecret;

mod sinks;

pub use self::sinks::{
    CloudEventsSettings, FileSettings, KinesisSettings, SegmentSettings, SinksSettings,
};

/// Fewest characters of `internal.token`: 128 bits in Base64.
const INTERNAL_TOKEN_MIN_CHARS: usize = 22;
/// Most replicas to wait for: more than any installation has.
const WAIT_REPLICAS_MAX: u32 = 5;
/// Most partitions: what one Redis Cluster shards well.
const PARTITIONS_MAX: u16 = 4_096;

/// Section `queue`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// Where Redis is: `redis://user:password@host:6379/0`; a cluster, by some of its nodes:
    /// `redis+cluster://user:password@host:6379,host:6379`; behind sentinels, by what they call the primary:
    /// `redis+sentinel://user:password@sentinel:26379,sentinel:26379/name/0`. `rediss` in place of `redis` is TLS.
    pub url: MaskedSecret,
    /// The password of the sentinels, where they ask for one.
    pub sentinel_password: MaskedSecret,
    /// File with the certificates (PEM) to trust over TLS, in place of those that the system trusts.
    pub tls_ca: String,
    /// How many replicas must have an event before it is accepted (`WAIT`): at most 5. 0: a failover may lose what was
    /// accepted just before.
    pub wait_replicas: u32,
    /// Longest wait for them, such as `"1s"`; after that, the producer is told to publish again. Between 10 ms and 5 s.
    #[serde(with = "humantime_serde")]
    pub wait_timeout: Duration,
    /// Number of partitions, the same in every process: fixed at installation.
    pub partitions: u16,
    /// What the names of keys begin with, the same in every process.
    pub prefix: String,
    /// How events are compressed on their way through Redis, but for deduplicated ones: `"lz4"` or `"none"`. Deliverers that know this setting read
    /// both.
    pub compression: Compression,
    /// Percent of the queue's memory (`maxmemory` of Redis) above which routers refuse publishes; the rest is room to park.
    /// Between 1 and 100.
    pub high_water_percent: u8,
    /// Bytes of parked events, before compression, from which on an account's publishes are refused. `0`: without end. Not
    /// given: a quarter of what `high_water_percent` comes to, which is without end where the queue's memory is.
    pub account_backlog_bytes: Option<u64>,
}

/// How events are compressed in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// By LZ4, chunks from 4 kB on.
    #[default]
    Lz4,
    /// Not at all.
    None,
}

/// Section `control_plane` of a service that watches it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlPlaneSettings {
    /// URL of control-plane's gRPC.
    pub address: String,
}

/// Section `internal`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InternalSettings {
    /// The secret that all services share; at least 22 random characters.
    pub token: MaskedSecret,
}

/// Section `shutdown`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownSettings {
    /// Longest wait for what is open when the process stops, such as `"20s"`.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            url: MaskedSecret::default(),
            sentinel_password: MaskedSecret::default(),
            tls_ca: String::new(),
            wait_replicas: 0,
            wait_timeout: Duration::from_secs(1),
            partitions: 64,
            prefix: "mr".to_owned(),
            compression: Compression::default(),
            high_water_percent: 75,
            account_backlog_bytes: None,
        }
    }
}

impl Default for ControlPlaneSettings {
    fn default() -> Self {
        Self { address: "http://127.0.0.1:8080".to_owned() }
    }
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { grace: Duration::from_secs(20) }
    }
}

impl Compression {
    /// Whether there is any.
    pub fn is_on(self) -> bool {
        self != Self::None
    }
}

impl QueueSettings {
    /// Checks what every use needs.
    ///
    /// # Errors
    /// The first setting that is wrong, by name.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            (1..=PARTITIONS_MAX).contains(&self.partitions),
            "wrong setting `queue.partitions`: must be between 1 and {PARTITIONS_MAX}"
        );
        anyhow::ensure!(
            !self.prefix.is_empty() && self.prefix.bytes().all(|b| b.is_ascii_alphanumeric()),
            "wrong setting `queue.prefix`: must be letters and digits"
        );
        anyhow::ensure!(
            self.wait_replicas <= WAIT_REPLICAS_MAX,
            "wrong setting `queue.wait_replicas`: must be at most {WAIT_REPLICAS_MAX}"
        );
        let waits = Duration::from_millis(10)..=Duration::from_secs(5);
        anyhow::ensure!(
            waits.contains(&self.wait_timeout),
            "wrong setting `queue.wait_timeout`: must be between 10ms and 5s"
        );
        anyhow::ensure!(
            (1..=100).contains(&self.high_water_percent),
            "wrong setting `queue.high_water_percent`: must be between 1 and 100"
        );
        Ok(())
    }

    /// Checks what a process needs that uses Redis.
    ///
    /// # Errors
    /// The first setting that is wrong or missing, by name.
    pub fn check_redis(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.url.is_empty(),
            "the setting `queue.url` is missing, such as `redis://127.0.0.1:6379`"
        );
        self.tls_ca_pem()?;
        self.check()
    }

    /// Reads the certificates that are to be trusted; `None`: those that the system trusts.
    ///
    /// # Errors
    /// A file that cannot be read, by the name of the setting.
    pub fn tls_ca_pem(&self) -> anyhow::Result<Option<Vec<u8>>> {
        if self.tls_ca.is_empty() {
            return Ok(None);
        }
        let read = std::fs::read(&self.tls_ca);
        let pem = read.with_context(|| {
            format!("wrong setting `queue.tls_ca`: cannot read `{}`", self.tls_ca)
        })?;
        Ok(Some(pem))
    }
}

impl InternalSettings {
    /// Checks the token.
    ///
    /// # Errors
    /// A token that is missing, short, or cannot be sent.
    pub fn check(&self) -> anyhow::Result<()> {
        let token = self.token.reveal();
        anyhow::ensure!(
            !token.is_empty(),
            "the setting `internal.token` is missing: the secret that all services share"
        );
        anyhow::ensure!(
            token.len() >= INTERNAL_TOKEN_MIN_CHARS && token.bytes().all(|b| b.is_ascii_graphic()),
            "wrong setting `internal.token`: must be at least {INTERNAL_TOKEN_MIN_CHARS} printable ASCII characters, random"
        );
        Ok(())
    }
}
