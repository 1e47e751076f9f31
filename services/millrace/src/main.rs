//! `millrace`: the services, everything in one process, and the commands of a client, in one binary.

mod client;
mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Event streaming that you can host: publish events, subscribe sinks to them, get them delivered.
#[derive(Parser)]
#[command(name = "millrace", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    // The services and what an installation needs.

    // What a person tries first.
    Demo(demo::DemoArgs),

    // The commands of a client.
    #[command(flatten)]
    Client(Box<client::ClientCommand>),
}

const EXAMPLES: &str = "\
Examples:
  millrace listen --listen 127.0.0.1:4000
  millrace sinks create --webhook http://127.0.0.1:4000/events --description 'my sink'
  millrace subscriptions create --sink DG… --type com.twilio.messaging.message.sent --description 'my types'
  millrace publish --file events.jsonl

Every client command takes --server, --account-sid and --auth-token, or their environment variables
MILLRACE__CLIENT__SERVER, MILLRACE__CLIENT__ACCOUNT_SID and MILLRACE__CLIENT__AUTH_TOKEN.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error).context("cannot start")),
    };
    let outcome = runtime.block_on(run(cli.command));
    // A read of standard input that still waits for a line must not keep the process.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| failed(&error))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // The services and what an installation needs.

        // What a person tries first.
        Command::Demo(args) => demo::command(args).await,

        // The commands of a client.
        Command::Client(command) => client::run(*command).await,
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if client::output::is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
