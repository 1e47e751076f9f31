//! The drivers of this process: those of `millrace-sinks`, and those of leaf crates. The one place where a type of sink gets its
//! driver.

use std::sync::Arc;

use millrace_domain::{SinkType, arn::RoleAccounts};
use millrace_kinesis::Kinesis;
use millrace_runtime::sections::SinksSettings;
use millrace_sinks::{Drivers, FileOptions, HttpOptions, Options, SegmentOptions};

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
    let SinksSettings { segment, file, cloudevents, .. } = &settings.sinks;
    let segment = SegmentOptions {
        endpoint: segment.endpoint.clone(),
        endpoint_eu: segment.endpoint_eu.clone(),
    };
    let file = file.root().map(|root| FileOptions {
        root: root.to_owned(),
        max_bytes: file.max_bytes,
        max_files: file.max_files,
    });
    let options = Options { http, segment, file, origin: cloudevents.origin.clone() };
    Ok(Drivers::new(&options)?.with(SinkType::Kinesis, Arc::new(kinesis(settings))))
}

fn kinesis(settings: &Settings) -> Kinesis {
    let given = &settings.sinks.kinesis;
    let endpoint = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Kinesis::new(millrace_kinesis::Options {
        endpoint: endpoint(&given.endpoint),
        sts_endpoint: endpoint(&given.sts_endpoint),
        deadline: settings.delivery.timeout,
        record_max_bytes: given.record_max_bytes,
        role_accounts: RoleAccounts {
            allow: given.allow_accounts.clone(),
            refuse: given.refuse_accounts.clone(),
        },
        key: None,
    })
}
