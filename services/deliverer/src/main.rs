//! Runs a deliverer.

use clap::Parser;
use millrace_runtime::config::{self, SettingsArgs};

/// Delivers events to sinks.
#[derive(Parser)]
#[command(name = "millrace-deliverer", version)]
struct Arguments {
    #[command(flatten)]
    settings: SettingsArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse().settings;
    let settings = config::load(&millrace_deliverer::Settings::default(), &arguments)?;
    settings.validate()?;
    if arguments.check {
        return config::print(&settings);
    }
    millrace_deliverer::run(settings).await
}
