//! `millrace-control-plane`: the control-plane as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use millrace_control_plane::{Settings, run};
use millrace_runtime::config::{self, SettingsArgs};

/// Serves the resource API and feeds routers and deliverers with configuration.
#[derive(Parser)]
#[command(name = "millrace-control-plane", version)]
struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    match start(Args::parse().settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millrace-control-plane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: SettingsArgs) -> anyhow::Result<()> {
    let settings = config::load(&Settings::default(), &args)?;
    settings.validate()?;
    if args.check {
        return config::print(&settings);
    }
    run(settings).await
}
