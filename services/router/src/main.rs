//! The router as a process of its own.

use clap::Parser;
use millrace_router::Settings;
use millrace_runtime::config::{self, SettingsArgs};

/// Accepts events, matches them with subscriptions and queues them.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let settings = config::load(&Settings::default(), &args.settings)?;
    settings.validate()?;
    if args.settings.check {
        return config::print(&settings);
    }
    millrace_router::run(settings).await
}
