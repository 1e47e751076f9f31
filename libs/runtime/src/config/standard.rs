//! The standard variables of OpenTelemetry, as far as traces go. Our own settings win over them; where nothing is exported,
//! none of them matters (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).

use figment::{
    Figment,
    value::{Dict, Value},
};

use super::source::Given;

/// What OpenTelemetry calls what we call otherwise; of two, the later wins.
const SAME: [(&str, &str); 9] = [
    ("OTEL_SERVICE_NAME", "service_name"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "otlp.tls_ca"),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "otlp.tls_ca"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "otlp.headers"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "otlp.headers"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "otlp.timeout"),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "otlp.timeout"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp.endpoint"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otlp.endpoint"),
];
/// What names a way to export.
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// What shows a collector who we are, which we cannot.
const CLIENT: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE"];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// What the standard variables say.
#[derive(Default)]
pub(super) struct Standard {
    /// Settings.
    pub(super) given: Vec<Given>,
    /// What is wrong, if traces are exported.
    sampling: Option<String>,
    /// What is wrong, if they go where these variables say.
    way: Option<String>,
}

impl Standard {
    /// Reads them, where the process exports anything at all and the SDK is not told to be off.
    pub(super) fn read(defaults: &Dict, variables: &[(String, String)]) -> Self {
        let Some(section) = defaults.get("telemetry") else { return Self::default() };
        let read = Variables { variables, section };
        let is_off =
            read.get("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        if is_off || read.get(EXPORTER) == Some("none") {
            return Self::default();
        }
        let given = SAME.into_iter().filter_map(|(name, key)| {
            let text = read.get(name)?;
            // By the standard, a number of milliseconds.
            let is_number = key.ends_with("timeout") && text.bytes().all(|it| it.is_ascii_digit());
            let text = if is_number { format!("{text}ms") } else { text.to_owned() };
            Some(read.given(name, key, &text))
        });
        let mut standard = Self { given: given.collect(), way: read.way(), sampling: None };
        match read.sampler() {
            Ok(given) => standard.given.extend(given),
            Err(why) => standard.sampling = Some(why),
        }
        standard
    }

    /// Tells what is wrong of what matters for the settings that came of it all.
    ///
    /// # Errors
    /// A variable that says what cannot be done.
    pub(super) fn check(&self, settings: &Figment) -> anyhow::Result<()> {
        const ENDPOINT: &str = "telemetry.otlp.endpoint";
        let endpoint = settings.extract_inner::<String>(ENDPOINT).unwrap_or_default();
        if endpoint.is_empty() {
            return Ok(());
        }
        let source = settings.find_metadata(ENDPOINT).map(|source| source.name.to_string());
        let is_theirs = source.is_some_and(|name| name.contains("`OTEL_"));
        let way = self.way.as_ref().filter(|_| is_theirs);
        let wrong = self.sampling.as_ref().or(way);
        wrong.map_or(Ok(()), |wrong| Err(anyhow::anyhow!("wrong settings: {wrong}")))
    }
}

/// The variables of a process, and the defaults of its settings.
struct Variables<'a> {
    variables: &'a [(String, String)],
    section: &'a Value,
}

impl<'a> Variables<'a> {
    /// A variable that is set; an empty one is not.
    fn get(&self, wanted: &str) -> Option<&'a str> {
        let found = self.variables.iter().find(|(name, text)| name == wanted && !text.is_empty());
        found.map(|(_, text)| text.trim())
    }

    fn given(&self, name: &str, key: &str, text: &str) -> Given {
        let source = format!("environment variable `{name}`");
        Given::new(source, &format!("telemetry.{key}"), text, self.section.find_ref(key))
    }

    /// Why traces cannot go as they are told to.
    fn way(&self) -> Option<String> {
        if let Some(other) = self.get(EXPORTER).filter(|exporter| *exporter != "otlp") {
            return Some(format!(
                "`{EXPORTER}` is `{other}`: traces are exported by `otlp` only, or not at all (`none`)"
            ));
        }
        let set =
            |names: [&'static str; 2]| names.into_iter().find(|name| self.get(name).is_some());
        if let Some(name) = set(PROTOCOL)
            && let Some(other) = self.get(name).filter(|protocol| *protocol != "grpc")
        {
            return Some(format!(
                "`{name}` is `{other}`: traces are exported by `grpc` only, which collectors mostly take at port 4317; or not at all (`{EXPORTER}=none`)"
            ));
        }
        set(CLIENT).map(|name| {
            format!("`{name}` is set: no certificate is shown to a collector; use `otlp.headers`")
        })
    }

    /// Which traces are recorded. Without a sampler that is named, ours is `parentbased_traceidratio`.
    fn sampler(&self) -> Result<Vec<Given>, String> {
        let argument = self.get(SAMPLER_ARG);
        let ratio = || {
            let ratio = argument.unwrap_or("1").parse::<f64>().ok();
            let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or_else(|| format!("`{SAMPLER_ARG}` must be a number between 0 and 1"))
        };
        let Some(name) = self.get(SAMPLER) else {
            let share = |ratio: f64| self.given(SAMPLER_ARG, "sample_ratio", &format!("{ratio:?}"));
            return argument.map(|_| ratio().map(share)).into_iter().collect();
        };
        let (follow, kind) =
            name.strip_prefix("parentbased_").map_or((false, name), |kind| (true, kind));
        let ratio = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio()?,
            _ => {
                return Err(format!(
                    "`{SAMPLER}` is `{name}`: must be `always_on`, `always_off` or `traceidratio`, or one of them after `parentbased_`"
                ));
            }
        };
        Ok(vec![
            self.given(SAMPLER, "sample_ratio", &format!("{ratio:?}")),
            self.given(SAMPLER, "follow_callers", &follow.to_string()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::super::{SettingsArgs, extract};
    use crate::telemetry::TelemetrySettings;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Traced {
        telemetry: TelemetrySettings,
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317");
    const OURS: (&str, &str) = ("MILLRACE__TELEMETRY__OTLP__ENDPOINT", "http://ours:4317");

    fn read(variables: &[(&str, &str)]) -> anyhow::Result<TelemetrySettings> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables = variables.iter().map(own);
        let read = extract(&Traced::default(), &SettingsArgs::default(), variables)?.telemetry;
        read.check()?;
        Ok(read)
    }

    #[test]
    fn the_standard_variables_of_opentelemetry_are_read_and_ours_win() {
        let standard = [
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_SERVICE_NAME", "mine"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ""),
            ("OTEL_PROPAGATORS", "b3"),
        ];
        let settings = read(&standard).expect("valid");
        assert_eq!(settings.otlp.endpoint, "http://traces:4317");
        assert_eq!((settings.otlp.headers.reveal(), &*settings.service_name), ("a=b", "mine"));
        assert_eq!(settings.otlp.timeout.as_millis(), 2_500);
        let endpoint = |more| {
            let read = read(&[&standard[..], &[more]].concat()).expect("valid");
            read.otlp.endpoint
        };
        assert_eq!(endpoint(OURS), OURS.1);
        assert_eq!(endpoint(("OTEL_SDK_DISABLED", "true")), "");
    }

    #[test]
    fn a_sampler_says_what_is_recorded_and_its_argument_is_for_those_that_take_one() {
        let sampled = |variables: &[(&str, &str)]| {
            let read = read(&[&[OURS], variables].concat()).expect("valid");
            (read.sample_ratio, read.follow_callers)
        };
        let argument = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        for (sampler, expected) in [
            ("always_on", (1.0, false)),
            ("always_off", (0.0, false)),
            ("traceidratio", (0.25, false)),
            ("parentbased_always_on", (1.0, true)),
            ("parentbased_always_off", (0.0, true)),
            ("parentbased_traceidratio", (0.25, true)),
        ] {
            assert_eq!(
                sampled(&[("OTEL_TRACES_SAMPLER", sampler), argument]),
                expected,
                "{sampler}"
            );
        }
        let without = [("OTEL_TRACES_SAMPLER", "traceidratio")];
        assert_eq!(sampled(&without), (1.0, false), "the standard's default");
        assert_eq!(sampled(&[argument]), (0.25, true), "ours is by ratio");
        assert_eq!(sampled(&[]), (0.01, true));
        let ours = ("MILLRACE__TELEMETRY__SAMPLE_RATIO", "0.5");
        assert_eq!(sampled(&[("OTEL_TRACES_SAMPLER", "always_on"), ours]), (0.5, false));
    }

    #[test]
    fn what_cannot_be_done_is_refused_where_traces_go_that_way() {
        for wrong in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert.pem"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ] {
            let told = read(&[ENDPOINT, wrong]).expect_err(wrong.0).to_string();
            assert!(told.starts_with("wrong setting") && !told.contains("hunter2"), "{told}");
            let ours = ["_CERTIFICATE", "HEADERS", "TIMEOUT", "SAMPLER"];
            let named = told.contains(wrong.0) || ours.iter().any(|it| wrong.0.contains(it));
            assert!(named, "{wrong:?}: {told}");
        }
        for harmless in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert.pem"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            let read = read(&[OURS, ENDPOINT, harmless]).expect("ours says where");
            assert_eq!(read.otlp.endpoint, OURS.1);
        }
        let set = [ENDPOINT, ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_SAMPLER", "xray")];
        assert_eq!(read(&set).expect("off").otlp.endpoint, "");
        let set = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_TRACES_SAMPLER_ARG", "many"),
        ];
        read(&set).expect("nothing is exported");
    }
}
