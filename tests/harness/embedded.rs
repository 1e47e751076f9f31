//! `millrace dev` with a data directory.

use std::path::Path;

use crate::{Identity, Options, Process, Spec, free_port, stack::Nodes};

/// Tries to find a port that nobody takes meanwhile.
const TRIES: usize = 5;

pub(crate) async fn start(identity: &Identity, options: &Options, directory: &Path) -> Nodes {
    for _ in 0..TRIES {
        let address = format!("127.0.0.1:{}", free_port());
        let mut process = Process::spawn(spec(identity, options, directory, &address), directory);
        if process.ready().await {
            return Nodes::Embedded {
                process: Box::new(process),
                url: format!("http://{address}"),
            };
        }
        let log = process.log();
        assert!(log.contains("in use"), "`millrace dev` does not start:\n{log}");
    }
    panic!("no port stays free");
}

fn spec(identity: &Identity, options: &Options, directory: &Path, address: &str) -> Spec {
    let data = directory.join("data").display().to_string();
    let mut arguments: Vec<String> = [
        ["dev", "--listen"],
        [address, "--data-dir"],
        [&data, "--account-sid"],
        [&identity.account_sid, "--auth-token"],
        [&identity.auth_token, "--platform-key"],
        [&identity.platform_key, "--log"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    arguments.push("info".to_owned());
    // The one process leases nothing to others.
    let taken = |name: &str| {
        ["delivery.", "limits.", "rest.", "sinks."].iter().any(|section| name.starts_with(section))
    };
    for (name, value) in options.settings.iter().filter(|(name, _)| taken(name)) {
        arguments.extend(["--set".to_owned(), format!("{name}={value}")]);
    }
    if let Some(collector) = &options.collector {
        arguments.extend(["--set".to_owned(), format!("telemetry.otlp.endpoint={collector}")]);
    }
    let environment =
        options.environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let environment = environment.collect();
    Spec { name: "dev".to_owned(), arguments, environment, ..Spec::default() }
}
