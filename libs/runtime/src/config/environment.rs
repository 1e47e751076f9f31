//! What a process takes from the environment: one set of variables may serve every process of an installation.

use figment::value::{Dict, Value};

use super::source::Given;

/// Prefix of the environment variables. Never one underscore: Kubernetes injects `MILLRACE_*` for a Service named so.
pub const ENV_PREFIX: &str = "MILLRACE__";

/// Sections of all processes and of the client commands: a process leaves those alone that it does not have.
const SECTIONS: [&str; 18] = [
    "admin",
    "client",
    "control_plane",
    "database",
    "deliverer",
    "delivery",
    "dev",
    "internal",
    "limits",
    "log",
    "logs",
    "queue",
    "rest",
    "router",
    "seal",
    "shutdown",
    "sinks",
    "telemetry",
];

/// Keys of sections that processes have in part: `control_plane` is one thing to itself and another to those who watch it,
/// `delivery` is all the deliverer's and in part control-plane's, `logs` is told by the one and kept by the other, `migrate` needs no more of `database` than its URL.
const PARTIAL: [(&str, &[&str]); 4] = [
    ("control_plane", &["address", "listen", "platform_keys", "public_url", "schemas_url"]),
    ("database", &["max_connections", "url"]),
    ("logs", &["attempts", "dropped_bytes", "dropped_events"]),
    (
        "delivery",
        &[
            "allow_cidrs",
            "allow_http",
            "backoff_base",
            "backoff_cap",
            "gather",
            "in_flight",
            "in_flight_per_sink",
            "lane_bytes",
            "lane_events",
            "linger",
            "timeout",
            "unsettled_bytes",
            "window",
        ],
    ),
];

/// Returns the settings that `variables` hold for a process whose settings are `defaults`; what is of another process is left
/// out, what is of none is kept, to be refused.
pub(super) fn given(defaults: &Dict, variables: &[(String, String)]) -> anyhow::Result<Vec<Given>> {
    let mut all = Vec::new();
    for (name, text) in variables {
        let lower = name.to_ascii_lowercase();
        let Some(path) = lower.strip_prefix(&ENV_PREFIX.to_ascii_lowercase()) else { continue };
        let (section, key) = path.split_once("__").unwrap_or((path, ""));
        if is_of_another(defaults, section, key) {
            continue;
        }
        anyhow::ensure!(
            !section.is_empty() && !key.is_empty(),
            "wrong settings: the environment variable `{name}` must be named {ENV_PREFIX}SECTION__KEY"
        );
        let default = defaults.get(section).and_then(|values| values.find_ref(key));
        let path = format!("{section}.{}", key.replace("__", "."));
        all.push(Given::new(format!("environment variable `{name}`"), &path, text, default));
    }
    Ok(all)
}

fn is_of_another(defaults: &Dict, section: &str, key: &str) -> bool {
    match defaults.get(section).and_then(Value::as_dict) {
        None => SECTIONS.contains(&section),
        Some(keys) => {
            let mut partial = PARTIAL.iter().filter(|(name, _)| *name == section);
            !keys.contains_key(key) && partial.any(|(_, known)| known.contains(&key))
        }
    }
}
