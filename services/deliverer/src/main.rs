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

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse().settings;
    let settings = config::load(&millrace_deliverer::Settings::default(), &arguments)?;
    settings.validate()?;
    if arguments.check {
        return config::print(&settings);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(millrace_deliverer::run(settings));
    // A thread that a file system or a resolver holds must not hold up the exit.
    runtime.shutdown_background();
    outcome
}
