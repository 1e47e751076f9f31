//! Settings of control-plane.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use ipnet::IpNet;
use millrace_domain::{
    account::{API_KEYS_PER_ACCOUNT, SUBACCOUNTS_PER_ACCOUNT},
    destination::DestinationPolicy,
    secret::SecretHash,
    sink::SINKS_PER_ACCOUNT,
    subscription::SUBSCRIPTIONS_PER_ACCOUNT,
};
use millrace_queue::redis::check_url;
use millrace_runtime::{
    config::MaskedSecret,
    sections::{InternalSettings, QueueSettings, ShutdownSettings, SinksSettings},
    telemetry::{LogSettings, TelemetrySettings},
};
use millrace_store::Keyring;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use crate::throttle::Throttle;

/// Highest limit of an account.
const LIMIT_MAX: u32 = 100_000;

/// The settings in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The service itself.
    pub control_plane: ControlPlane,
    /// Where resources are kept.
    pub database: Database,
    /// The queue, whose reports are kept.
    pub queue: QueueSettings,
    /// What secrets are sealed with.
    pub seal: Seal,
    /// What an account may have.
    pub limits: Limits,
    /// How REST answers.
    pub rest: Rest,
    /// How the services know each other.
    pub internal: InternalSettings,
    /// Where events may be delivered to.
    pub delivery: Delivery,
    /// What is said of the types of sink.
    pub sinks: SinksSettings,
    /// What is kept of deliveries.
    pub logs: Logs,
    /// The operator's listener.
    pub admin: Admin,
    /// How the process logs.
    pub log: LogSettings,
    /// Which traces are recorded, and where they go.
    pub telemetry: TelemetrySettings,
    /// How the process ends.
    pub shutdown: ShutdownSettings,
}

/// Section `control_plane`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlPlane {
    /// Address of REST and gRPC.
    pub listen: String,
    /// What callers know this server by, such as `https://events.example.com`: absolute URLs start with it. Unset: `http` and the
    /// host that a request names, which behind a TLS proxy is wrong.
    pub public_url: Option<String>,
    /// What the URI in `dataschema` starts with.
    pub schemas_url: String,
    /// SHA-256 of the platform keys, in hex: a list, or one text with commas.
    #[serde(deserialize_with = "list_or_text")]
    pub platform_keys: Vec<String>,
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8080".to_owned(),
            public_url: None,
            schemas_url: "https://events-schemas.twilio.com".to_owned(),
            platform_keys: Vec::new(),
        }
    }
}

/// Section `database`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host/name`.
    pub url: MaskedSecret,
    /// Most connections at once. Between 2 and 1,000.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: MaskedSecret::default(), max_connections: 10 }
    }
}

/// Section `seal`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seal {
    /// Keys of the form `id:Base64 of 32 bytes`, with commas: the first seals, all open.
    pub keys: MaskedSecret,
}

/// Section `delivery`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// Whether webhooks may be plain `http`.
    pub allow_http: bool,
    /// Networks that are not public and may be delivered to.
    pub allow_cidrs: Vec<IpNet>,
}

/// Section `logs`: what is kept of deliveries. Attempts and dropped events are kept for 7 days, error logs for 23.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// Most bytes of dropped events that an account keeps, to be sent again; the oldest go first, that they were dropped is
    /// still told.
    pub dropped_bytes: u64,
    /// Most dropped events that an account keeps so.
    pub dropped_events: u64,
}

impl Default for Logs {
    fn default() -> Self {
        Self { dropped_bytes: 100_000_000, dropped_events: 100_000 }
    }
}

/// Section `limits`: what an account, and a subaccount for itself, may have.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most sinks. Between 1 and 100,000.
    pub sinks_per_account: u32,
    /// Most subscriptions. Between 1 and 100,000.
    pub subscriptions_per_account: u32,
    /// Most API keys. Between 1 and 100,000.
    pub api_keys_per_account: u32,
    /// Most subaccounts that are not closed. Between 1 and 100,000.
    pub subaccounts_per_account: u32,
    /// Requests a second that an account may make of each replica of control-plane, REST and gRPC together; publishing is not
    /// counted, and platform keys are not limited. At most 100,000; 0: no limit.
    pub requests_per_second: u32,
    /// Requests that an account may make at once before that rate counts. Between 1 and 100,000.
    pub request_burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sinks_per_account: SINKS_PER_ACCOUNT,
            subscriptions_per_account: SUBSCRIPTIONS_PER_ACCOUNT,
            api_keys_per_account: API_KEYS_PER_ACCOUNT,
            subaccounts_per_account: SUBACCOUNTS_PER_ACCOUNT,
            requests_per_second: 100,
            request_burst: 1_000,
        }
    }
}

impl Limits {
    fn check(&self) -> anyhow::Result<()> {
        for (name, limit) in [
            ("sinks_per_account", self.sinks_per_account),
            ("subscriptions_per_account", self.subscriptions_per_account),
            ("api_keys_per_account", self.api_keys_per_account),
            ("subaccounts_per_account", self.subaccounts_per_account),
            ("request_burst", self.request_burst),
        ] {
            anyhow::ensure!(
                (1..=LIMIT_MAX).contains(&limit),
                "wrong setting `limits.{name}`: must be from 1 to {LIMIT_MAX}"
            );
        }
        anyhow::ensure!(
            self.requests_per_second <= LIMIT_MAX,
            "wrong setting `limits.requests_per_second`: must be at most {LIMIT_MAX}, or 0 for no limit"
        );
        Ok(())
    }
}

/// Section `rest`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rest {
    /// Whether `sink_configuration` is shown with `***` in place of its secrets. Event Streams shows them.
    pub mask_secrets: bool,
}

/// Section `admin`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address of `/healthz`, `/readyz` and `/metrics`.
    pub listen: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "0.0.0.0:9080".to_owned() }
    }
}

/// The settings of the service, checked.
pub(crate) struct Checked {
    pub(crate) platform_keys: Arc<[SecretHash]>,
    pub(crate) public_url: Option<String>,
    pub(crate) schemas_url: String,
    pub(crate) internal_token: SecretHash,
    pub(crate) policy: DestinationPolicy,
    pub(crate) throttle: Throttle,
}

impl Settings {
    /// Checks what every embedding needs; where the service listens and keeps its rows is not looked at.
    pub(crate) fn check(&self) -> anyhow::Result<Checked> {
        self.internal.check()?;
        self.queue.check()?;
        self.limits.check()?;
        self.sinks.check()?;
        let control_plane = &self.control_plane;
        let platform_keys = control_plane.platform_keys.iter().enumerate().map(|(at, text)| {
            SecretHash::from_hex(text).ok_or_else(|| {
                anyhow::anyhow!("wrong setting `control_plane.platform_keys[{at}]`: must be the SHA-256 of a key, 64 hex digits")
            })
        });
        let public_url = control_plane.public_url.as_deref().filter(|url| !url.is_empty());
        Ok(Checked {
            platform_keys: platform_keys.collect::<anyhow::Result<_>>()?,
            public_url: public_url.map(|url| base("public_url", url)).transpose()?,
            schemas_url: base("schemas_url", &control_plane.schemas_url)?,
            internal_token: SecretHash::of(self.internal.token.reveal()),
            policy: DestinationPolicy {
                allow_http: self.delivery.allow_http,
                allow_cidrs: self.delivery.allow_cidrs.clone(),
            },
            throttle: Throttle::new(self.limits.requests_per_second, self.limits.request_burst),
        })
    }

    /// Checks all that a process of its own needs.
    ///
    /// # Errors
    /// The first setting that is wrong or missing, by its name.
    pub fn validate(&self) -> anyhow::Result<()> {
        self.check()?;
        self.telemetry.check()?;
        self.keyring()?;
        for (name, listen) in [
            ("control_plane.listen", &self.control_plane.listen),
            ("admin.listen", &self.admin.listen),
        ] {
            let parsed = listen.parse::<SocketAddr>();
            anyhow::ensure!(
                parsed.is_ok() || listen.rsplit_once(':').is_some(),
                "wrong setting `{name}`: must be an address such as `0.0.0.0:8080`"
            );
        }
        anyhow::ensure!(
            !self.database.url.is_empty(),
            "the setting `database.url` is missing, such as `postgres://millrace@localhost/millrace`"
        );
        anyhow::ensure!(
            (2..=1_000).contains(&self.database.max_connections),
            "wrong setting `database.max_connections`: must be from 2 to 1,000"
        );
        self.queue.check_redis()?;
        check_url(self.queue.url.reveal()).context("wrong setting `queue.url`")
    }

    /// What secrets are sealed with.
    pub(crate) fn keyring(&self) -> anyhow::Result<Keyring> {
        Keyring::parse(self.seal.keys.reveal())
            .map_err(|error| anyhow::anyhow!("wrong setting `seal.keys`: {error}"))
    }
}

/// A URL that others are appended to, without a slash at its end.
fn base(key: &str, text: &str) -> anyhow::Result<String> {
    let url = Url::parse(text).ok().filter(|url| {
        let plain = url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && plain
    });
    anyhow::ensure!(
        url.is_some(),
        "wrong setting `control_plane.{key}`: must be a URL such as `https://events.example.com`"
    );
    Ok(text.trim_end_matches('/').to_owned())
}

/// A list, or one text whose parts commas or spaces part: what an environment variable holds easily.
fn list_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ListOrText {
        List(Vec<String>),
        Text(String),
    }
    Ok(match ListOrText::deserialize(deserializer)? {
        ListOrText::List(list) => list,
        ListOrText::Text(text) => {
            let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
            parts.map(ToOwned::to_owned).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use millrace_runtime::config::{SettingsArgs, load};

    use super::*;

    const TOKEN: &str = "internal.token=\"0123456789abcdef0123456789\"";

    fn wrong(set: &[&str]) -> String {
        let set = set.iter().map(|setting| (*setting).to_owned()).collect();
        let args = SettingsArgs { set, ..SettingsArgs::default() };
        load(&Settings::default(), &args)
            .and_then(|settings| settings.validate())
            .expect_err("wrong")
            .to_string()
    }

    #[test]
    fn a_wrong_setting_is_named() {
        assert!(wrong(&[]).contains("internal.token"));
        assert!(wrong(&["internal.token=short"]).contains("internal.token"));
        assert!(wrong(&[TOKEN]).contains("seal.keys"));
        let keys = format!("seal.keys=\"{}\"", Keyring::generate("a").reveal());
        assert!(wrong(&[TOKEN, &keys]).contains("database.url"));
        for (key, value) in [
            ("control_plane.platform_keys", "\"abc\""),
            ("control_plane.public_url", "\"events.example.com\""),
            ("control_plane.schemas_url", "\"\""),
            ("control_plane.listen", "\"8080\""),
            ("limits.requests_per_second", "100001"),
            ("limits.request_burst", "0"),
            ("control_plane.listn", "\"0.0.0.0:8080\""),
            ("delivery.allow_cidrs", "[\"10.0.0.0/33\"]"),
            ("shutdown.grace", "\"soon\""),
            ("limits.sinks_per_account", "0"),
            ("limits.subscriptions_per_account", "100001"),
            ("rest.mask_secrets", "\"***\""),
        ] {
            let error = wrong(&[TOKEN, &keys, &format!("{key}={value}")]);
            let word = key.rsplit('.').next().expect("a key");
            assert!(error.contains(word) || error.contains("CIDR"), "{key}: {error}");
        }
    }

    #[test]
    fn platform_keys_are_a_list_or_a_text() {
        let hash = SecretHash::of("key").to_hex();
        for value in [format!("[\"{hash}\"]"), format!("\"{hash},{hash}\"")] {
            let set = vec![TOKEN.to_owned(), format!("control_plane.platform_keys={value}")];
            let args = SettingsArgs { set, ..SettingsArgs::default() };
            let settings = load(&Settings::default(), &args).expect("valid");
            assert!(!settings.check().expect("valid").platform_keys.is_empty());
        }
    }
}
