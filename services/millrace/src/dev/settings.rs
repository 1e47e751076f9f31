//! The settings that the three services of `dev` get: its own defaults, changed by `--set`.

use std::time::Duration;

use millrace_runtime::config::{self, MaskedSecret};

use super::{GRACE, PARTITIONS, identity::Identity};

/// Sections of the deliverer that may be set; traces are the whole process's.
const DELIVERY_SECTIONS: [&str; 4] = ["delivery", "sinks", "logs", "telemetry"];
/// Sections of control-plane that may be set.
const RESOURCE_SECTIONS: [&str; 2] = ["limits", "rest"];

/// Parts the settings of delivery, of types of sink and of traces from those of resources.
///
/// # Errors
/// A setting of another section.
pub(super) fn sections(set: &[String]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let of = |setting: &str, sections: &[&str]| {
        sections.iter().any(|section| setting.starts_with(&format!("{section}.")))
    };
    let (delivery, rest): (Vec<_>, Vec<_>) =
        set.iter().cloned().partition(|setting| of(setting, &DELIVERY_SECTIONS));
    if let Some(other) = rest.iter().find(|setting| !of(setting, &RESOURCE_SECTIONS)) {
        let key = other.split_once('=').map_or(other.as_str(), |(key, _)| key);
        anyhow::bail!(
            "`--set {key}`: `dev` takes settings of the sections `{}`, `{}` only",
            DELIVERY_SECTIONS.join("`, `"),
            RESOURCE_SECTIONS.join("`, `")
        );
    }
    Ok((delivery, rest))
}

/// The settings of the deliverer: those of `dev`, changed by `set`. Loopback may be delivered to in any case.
///
/// # Errors
/// A setting that is wrong.
pub(super) fn deliverer_settings(set: &[String]) -> anyhow::Result<millrace_deliverer::Settings> {
    let mut defaults = millrace_deliverer::Settings::default();
    defaults.delivery.allow_http = true;
    defaults.shutdown.grace = GRACE;
    // Whoever wants traces of so little wants all of them.
    defaults.telemetry.sample_ratio = 1.0;
    // Whoever ends `dev` at will, again and again, is not to wait for what was in hand each time.
    defaults.deliverer.quiet = Duration::from_secs(1);
    let mut settings = config::load_flags(&defaults, set)?;
    settings.delivery.allow_cidrs.extend(loopback());
    Ok(settings)
}

/// The settings of control-plane: the `identity`'s, changed by `set`; what sinks may be is what the deliverer delivers to.
///
/// # Errors
/// A setting that is wrong.
pub(super) fn control_plane_settings(
    identity: &Identity,
    token: &MaskedSecret,
    deliverer: &millrace_deliverer::Settings,
    set: &[String],
) -> anyhow::Result<millrace_control_plane::Settings> {
    let mut settings = config::load_flags(&millrace_control_plane::Settings::default(), set)?;
    settings.control_plane.platform_keys = vec![identity.platform_key.sha256().to_hex()];
    settings.internal.token = token.clone();
    settings.queue.partitions = PARTITIONS;
    settings.delivery.allow_http = deliverer.delivery.allow_http;
    settings.delivery.allow_cidrs.clone_from(&deliverer.delivery.allow_cidrs);
    settings.sinks = deliverer.sinks.clone();
    Ok(settings)
}

fn loopback() -> Vec<ipnet::IpNet> {
    ["127.0.0.0/8", "::1/128"].iter().filter_map(|cidr| cidr.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::{DevArgs, data::Place, identity};

    fn settings(set: &[&str]) -> anyhow::Result<millrace_deliverer::Settings> {
        let set: Vec<_> = set.iter().map(|setting| (*setting).to_owned()).collect();
        deliverer_settings(&set)
    }

    #[test]
    fn what_is_set_holds_in_every_service_and_loopback_stays_allowed() {
        let deliverer = settings(&["delivery.allow_http=false", "delivery.allow_cidrs=10.0.0.0/8"])
            .expect("valid");
        assert!(!deliverer.delivery.allow_http);
        assert_eq!(deliverer.delivery.allow_cidrs.len(), 3);
        assert!(settings(&[]).expect("valid").delivery.allow_http);

        let (delivery, rest) = sections(&["logs.attempts=failures".to_owned()]).expect("of dev");
        assert!(rest.is_empty());
        let failures = millrace_deliverer::config::AttemptLog::Failures;
        assert_eq!(deliverer_settings(&delivery).expect("valid").logs.attempts, failures);

        let identity = identity::of(&DevArgs::ephemeral(), &Place::Memory).expect("a new one");
        let set = ["limits.sinks_per_account=7".to_owned()];
        let token = MaskedSecret::default();
        let control_plane =
            control_plane_settings(&identity, &token, &deliverer, &set).expect("valid");
        assert_eq!(control_plane.limits.sinks_per_account, 7);
        assert!(!control_plane.delivery.allow_http);
        assert_eq!(control_plane.delivery.allow_cidrs, deliverer.delivery.allow_cidrs);
    }

    #[test]
    fn a_setting_that_would_not_hold_is_refused() {
        for wrong in ["shutdown.grace=1s", "queue.partitions=2", "log.filter=info"] {
            let error = sections(&[wrong.to_owned()]).expect_err("not of dev").to_string();
            assert!(
                error.contains("`delivery`, `sinks`, `logs`, `telemetry`, `limits`, `rest` only"),
                "{error}"
            );
        }
    }
}
