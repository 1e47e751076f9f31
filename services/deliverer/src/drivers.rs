//! The drivers of this process: those of `millrace-sinks`, and those of leaf crates. The one place where a type of sink gets its
//! driver.

use millrace_sinks::{Drivers, HttpOptions, Options};

use crate::config::Settings;

/// Makes the drivers that the settings ask for.
///
/// # Errors
/// Options that cannot be used.
pub(crate) fn of(settings: &Settings) -> anyhow::Result<Drivers> {
    let http = HttpOptions {
        policy: settings.delivery.policy(),
        deadline: settings.delivery.timeout,
        ..HttpOptions::default()
    };
    Ok(Drivers::new(&Options { http })?)
}
