//! Settings: defaults in code, then a file, then `MILLRACE__SECTION__KEY`, then flags, into one typed struct.

use std::path::{Path, PathBuf};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use serde::{Serialize, de::DeserializeOwned};

/// Prefix of the environment variables. Never one underscore: Kubernetes injects `MILLRACE_*` for a Service named so.
pub const ENV_PREFIX: &str = "MILLRACE__";

/// The flags by which every process takes settings.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SettingsArgs {
    /// File of settings, in TOML.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, such as `queue.url=redis://localhost`; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the settings in force, secrets masked, and exit.
    #[arg(long)]
    pub check: bool,
}

/// Reads settings of type `T`: `defaults`, then the file, then the environment, then `--set`.
///
/// # Errors
/// A setting that does not exist or has a wrong value, named with where it came from; a file that cannot be read.
pub fn load<T: Serialize + DeserializeOwned>(
    defaults: &T,
    args: &SettingsArgs,
) -> anyhow::Result<T> {
    let mut figment = Figment::from(Serialized::defaults(defaults));
    if let Some(file) = &args.config {
        anyhow::ensure!(
            file.is_file(),
            "cannot read the settings file `{}`: no such file",
            file.display()
        );
        figment = figment.merge(Toml::file_exact(file));
    }
    // One namespace serves all processes and the client commands; `CLIENT` and `DEV` are not settings of a service.
    figment = figment.merge(
        Env::prefixed(ENV_PREFIX).ignore(&["client", "dev"]).filter(is_service_key).split("__"),
    );
    for setting in &args.set {
        figment = figment.merge(flag(setting)?);
    }
    figment.extract().map_err(|error| anyhow::anyhow!("wrong settings: {error}"))
}

/// Prints settings as TOML; a value that must not be shown is the type's own business ([`MaskedSecret`]).
///
/// # Errors
/// If the settings are not representable.
pub fn print<T: Serialize>(settings: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(settings)?);
    Ok(())
}

/// A secret among settings: read as text, printed as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MaskedSecret(String);

impl MaskedSecret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Shows the secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Tells whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for MaskedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "***" })
    }
}

impl Serialize for MaskedSecret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}

impl<'de> serde::Deserialize<'de> for MaskedSecret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `***` is how a secret prints: a default that went through `Serialize` must not become one.
        let text = String::deserialize(deserializer)?;
        Ok(Self(if text == "***" { String::new() } else { text }))
    }
}

fn is_service_key(key: &figment::value::UncasedStr) -> bool {
    let key = key.as_str().to_ascii_lowercase();
    !(key.starts_with("client__") || key.starts_with("dev__"))
}

fn flag(setting: &str) -> anyhow::Result<Figment> {
    let (key, value) = setting
        .split_once('=')
        .ok_or_else(|| anyhow::anyhow!("`--set {setting}` must be `section.key=value`"))?;
    // A value is read as TOML where it is TOML, and as a plain text otherwise.
    let value = toml_value(value).unwrap_or_else(|| figment::value::Value::from(value));
    Ok(Figment::from(Serialized::default(key, value)))
}

fn toml_value(text: &str) -> Option<figment::value::Value> {
    Figment::from(Toml::string(&format!("value = {text}"))).extract_inner("value").ok()
}

/// Names a file in messages.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        queue: Queue,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Queue {
        url: String,
        partitions: u16,
        token: MaskedSecret,
    }

    fn defaults() -> Settings {
        Settings {
            queue: Queue {
                url: "redis://localhost".to_owned(),
                partitions: 64,
                token: MaskedSecret::default(),
            },
        }
    }

    fn with_flags(set: &[&str]) -> anyhow::Result<Settings> {
        load(
            &defaults(),
            &SettingsArgs {
                set: set.iter().map(|s| (*s).to_owned()).collect(),
                ..SettingsArgs::default()
            },
        )
    }

    #[test]
    fn a_flag_wins_over_the_default() {
        let settings =
            with_flags(&["queue.partitions=8", "queue.url=redis://other", "queue.token=12"])
                .map(|s| s.queue);
        assert!(settings.is_err(), "a token that looks like a number must be quoted");
        let settings =
            with_flags(&["queue.partitions=8", "queue.url=redis://other", "queue.token=\"s3\""])
                .expect("valid");
        assert_eq!(
            (settings.queue.partitions, settings.queue.url.as_str(), settings.queue.token.reveal()),
            (8, "redis://other", "s3")
        );
    }

    #[test]
    fn an_unknown_setting_is_named() {
        let error = with_flags(&["queue.partition=8"]).expect_err("unknown").to_string();
        assert!(error.contains("partition"), "{error}");
        assert!(with_flags(&["queue.partitions=many"]).is_err());
        assert!(with_flags(&["queue.partitions"]).is_err());
    }

    #[test]
    fn a_secret_prints_masked() {
        let secret = MaskedSecret::new("hunter2");
        assert_eq!(
            format!("{secret:?} {}", serde_json::to_string(&secret).expect("JSON")),
            "*** \"***\""
        );
    }
}
