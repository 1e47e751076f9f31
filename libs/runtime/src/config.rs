//! Settings: defaults in code, then a file, then `MILLRACE__SECTION__KEY`, then flags, into one typed struct.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    error::Kind,
    providers::{Format, Serialized, Toml},
    value::{Dict, Value},
};
use serde::{Serialize, de::DeserializeOwned};

mod environment;
mod secret;
mod source;
mod standard;

pub use self::{environment::ENV_PREFIX, secret::MaskedSecret};
use self::{source::Given, standard::Standard};

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
/// Variables for sections that only other processes have are left alone; file and flags are for this one, and strict.
///
/// # Errors
/// A setting that does not exist or has a wrong value, named with where it came from; a file that cannot be read.
pub fn load<T: Serialize + DeserializeOwned>(
    defaults: &T,
    args: &SettingsArgs,
) -> anyhow::Result<T> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    });
    extract(defaults, args, variables)
}

/// Reads settings of type `T` from `defaults` and `--set` alone: the environment is not looked at.
///
/// # Errors
/// A setting that does not exist or has a wrong value, named with where it came from.
pub fn load_flags<T: Serialize + DeserializeOwned>(
    defaults: &T,
    set: &[String],
) -> anyhow::Result<T> {
    let args = SettingsArgs { set: set.to_vec(), ..SettingsArgs::default() };
    extract(defaults, &args, std::iter::empty())
}

/// Prints settings as JSON; a reader that has seen enough may close the pipe. A value that must not be shown is the type's own business ([`MaskedSecret`]).
///
/// # Errors
/// If the settings are not representable, or standard output cannot be written.
pub fn print<T: Serialize>(settings: &T) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(settings)?) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn extract<T: Serialize + DeserializeOwned>(
    defaults: &T,
    args: &SettingsArgs,
    variables: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<T> {
    let values = Value::serialize(defaults)?.into_dict().unwrap_or_default();
    let mut figment = Figment::from(Serialized::defaults(defaults));
    if let Some(file) = &args.config {
        anyhow::ensure!(
            file.is_file(),
            "cannot read the settings file `{}`: no such file",
            file.display()
        );
        figment = figment.merge(Toml::file_exact(file));
    }
    let variables: Vec<_> = variables.collect();
    let mut standard = Standard::read(&values, &variables);
    let mut all = std::mem::take(&mut standard.given);
    all.extend(environment::given(&values, &variables)?);
    for setting in &args.set {
        all.push(flag(&values, setting)?);
    }
    for given in &all {
        figment = figment.merge(given);
    }
    standard.check(&figment)?;
    figment.extract().map_err(|error| anyhow::anyhow!("wrong settings: {}", said(&error, &all)))
}

fn flag(defaults: &Dict, setting: &str) -> anyhow::Result<Given> {
    let (key, text) = setting
        .split_once('=')
        .filter(|(key, _)| key.contains('.') && key.split('.').all(|part| !part.is_empty()))
        .ok_or_else(|| anyhow::anyhow!("`--set` must be followed by `section.key=value`"))?;
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let default = defaults.get(section).and_then(|values| values.find_ref(rest));
    Ok(Given::new(format!("`--set {key}`"), key, text, default))
}

/// What an error says and where the setting came from, without the lines of the file that TOML quotes: a secret may be among them.
fn said(error: &figment::Error, all: &[Given]) -> String {
    let text = error.to_string();
    let quoted = |line: &&str| {
        line.split_once('|')
            .is_some_and(|(number, _)| number.chars().all(|c| c.is_ascii_digit() || c == ' '))
    };
    let mut said = text.lines().filter(|line| !quoted(line)).collect::<Vec<_>>().join(": ");
    // Of a field that is not known, figment does not tell the source.
    if let Kind::UnknownField(field, _) = &error.kind
        && let Some(given) = all.iter().find(|given| given.key.split('.').any(|part| part == field))
    {
        said.push_str(&format!(" in {}", given.name));
    }
    said
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
        zones: Vec<String>,
    }

    fn defaults() -> Settings {
        Settings {
            queue: Queue {
                url: "redis://localhost".to_owned(),
                partitions: 64,
                token: MaskedSecret::default(),
                zones: Vec::new(),
            },
        }
    }

    fn with_flags(set: &[&str]) -> anyhow::Result<Settings> {
        let set: Vec<_> = set.iter().map(|setting| (*setting).to_owned()).collect();
        load_flags(&defaults(), &set)
    }

    fn with_environment(variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        extract(&defaults(), &SettingsArgs::default(), variables)
    }

    fn with_file(text: &str) -> anyhow::Result<Settings> {
        let file = std::env::temp_dir().join(format!("millrace-{}.toml", std::process::id()));
        std::fs::write(&file, text).expect("writable");
        let args = SettingsArgs { config: Some(file.clone()), ..SettingsArgs::default() };
        let loaded = extract(&defaults(), &args, std::iter::empty());
        std::fs::remove_file(file).expect("there");
        loaded
    }

    #[test]
    fn a_flag_wins_over_the_default() {
        let settings =
            with_flags(&["queue.partitions=8", "queue.url=redis://other", "queue.token=\"s3\""])
                .expect("valid");
        assert_eq!(
            (settings.queue.partitions, settings.queue.url.as_str(), settings.queue.token.reveal()),
            (8, "redis://other", "s3")
        );
    }

    #[test]
    fn a_wrong_setting_is_named_with_where_it_came_from() {
        let error = with_flags(&["queue.partition=8"]).expect_err("unknown").to_string();
        assert!(error.contains("`--set queue.partition`"), "{error}");
        let error = with_flags(&["queue.partitions=many"]).expect_err("wrong").to_string();
        assert!(error.contains("`--set queue.partitions`") && !error.contains(".rs"), "{error}");
        for setting in ["queue.partitions=-1", "queue.zones=[1]"] {
            let error = with_flags(&[setting]).expect_err("wrong").to_string();
            assert!(error.contains("`--set queue."), "{error}");
        }
        let error = with_environment(&[("MILLRACE__QUEUE__PARTITIONS", "many")]);
        let error = error.expect_err("wrong").to_string();
        assert!(error.contains("variable `MILLRACE__QUEUE__PARTITIONS`"), "{error}");
        for setting in ["queue.partitions", "queue=8", ".=8"] {
            assert!(with_flags(&[setting]).is_err(), "{setting}");
        }
    }

    #[test]
    fn a_text_may_look_like_a_number_and_a_list_be_parted_by_commas() {
        let token = "0012345678901234567";
        let settings = [
            with_flags(&[&format!("queue.token={token}"), "queue.zones=a,b"]),
            with_environment(&[
                ("MILLRACE__QUEUE__TOKEN", token),
                ("MILLRACE__QUEUE__ZONES", "a, b"),
            ]),
            with_environment(&[
                ("millrace__queue__token", "\"0012345678901234567\""),
                ("MILLRACE__QUEUE__ZONES", "[\"a\", \"b\"]"),
            ]),
        ];
        for settings in settings {
            let queue = settings.expect("valid").queue;
            assert_eq!((queue.token.reveal(), queue.zones), (token, vec!["a".into(), "b".into()]));
        }
    }

    #[test]
    fn a_refusal_shows_no_secret() {
        for text in
            ["[queue]\ntoken = 1234567", "[queue]\ntoken = hunter2", "[queue]\ntoken = \"hunter2"]
        {
            let error = with_file(text).expect_err("wrong").to_string();
            assert!(!error.contains("hunter2") && !error.contains("1234567"), "{error}");
        }
        let error = with_environment(&[("MILLRACE__QUEUE", "hunter2")]).expect_err("wrong");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn one_environment_serves_every_process() {
        let others = [
            ("MILLRACE__DATABASE__URL", "postgres://localhost"),
            ("MILLRACE__CLIENT__SERVER", "http://localhost"),
            ("MILLRACE__SEAL__KEYS", "a:b"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("HOME", "/"),
        ];
        assert_eq!(with_environment(&others).expect("valid"), defaults());
        for wrong in ["MILLRACE__QUEUE__PARTITION", "MILLRACE__QUEU__URL"] {
            let error = with_environment(&[(wrong, "8")]).expect_err("of no process").to_string();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(with_flags(&["database.url=postgres://localhost"]).is_err(), "flags are strict");
    }
}
