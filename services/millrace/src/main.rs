//! `millrace`: the services, everything in one process, and the commands of a client, in one binary.

mod client;
mod demo;
mod dev;
mod services;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Event streaming that you can host: publish events, subscribe sinks to them, get them delivered.
#[derive(Parser)]
#[command(name = "millrace", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    defaults: client::DefaultArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    // What a person tries first.
    Dev(dev::DevArgs),
    Demo(demo::DemoArgs),

    // The services and what an installation needs.
    #[command(flatten)]
    Service(services::ServiceCommand),

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

The connection may be given before or after a client command, or by the environment.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error).context("cannot start")),
    };
    let outcome = runtime.block_on(run(cli));
    // A read of standard input that still waits for a line must not keep the process.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| failed(&error))
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        // What a person tries first.
        Command::Dev(args) => Box::pin(dev::command(args)).await,
        Command::Demo(args) => demo::command(args).await,

        // The services and what an installation needs.
        Command::Service(command) => Box::pin(services::run(command)).await,

        // The commands of a client.
        Command::Client(command) => client::run(*command, cli.defaults).await,
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if client::output::is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parses(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn takes_the_commands_of_the_documentation() {
        for line in [
            "millrace sinks create --webhook http://a/ --description d --account-sid AC1 --auth-token t",
            "millrace --server http://a --account-sid AC1 --auth-token t sinks list",
            "millrace sinks --server http://a create --webhook http://a/ --method get --batch --description d",
            "millrace sinks create --type webhook --configuration {} --description d --json",
            "millrace sinks list --in-use --status active --limit 5",
            "millrace sinks list --in-use=false",
            "millrace sinks delete DG1 DG2",
            "millrace subscriptions create --sink DG1 --type a.b --type a.c@4 --description d",
            "millrace subscriptions create --sink DG1 --type a.b --description d --include-subaccounts",
            "millrace subscriptions update DF1 --include-subaccounts=false --description d",
            "millrace subscriptions list --sink DG1 --json",
            "millrace accounts create --name n --parent AC1",
            "millrace accounts create --standalone --sid AC1 --use-auth-token t --platform-key k",
            "millrace accounts list --of AC1 --name n --status suspended --limit 5 --json",
            "millrace accounts get",
            "millrace accounts update AC1 --name n --suspend",
            "millrace accounts update AC1 --close --yes",
            "millrace accounts token create AC1",
            "millrace accounts token promote",
            "millrace accounts token delete AC1 --json",
            "millrace keys create --access publish-only --name n --of AC1",
            "millrace keys list --of AC1 --limit 5",
            "millrace keys update SK1 --name n",
            "millrace keys delete SK1 SK2",
            "millrace types create a.b --schema A.B --platform-key k",
            "millrace types push dir --dry-run",
            "millrace types create a.b --schema A.B --validation warn",
            "millrace schemas check dir --against",
            "millrace schemas check file.json --against http://a",
            "millrace schemas push dir --dry-run --platform-key k",
            "millrace schemas get A.B --version 2",
            "millrace publish --file - --router http://a --batch 1000",
            "millrace listen --listen 127.0.0.1:0 --auth-token t --signing-secret whsec_",
            "millrace verify --url http://a --body b --header X-A:b --signing-secret whsec_",
            "millrace sinks attempts DG1 --outcome retry --since 2h --event EZ1 --json",
            "millrace sinks dropped DG1 --id EZ1 --until 2026-01-02T03:04:05Z",
            "millrace sinks resend DG1 --since 2d --to-sink DG2 --again",
            "millrace events attempts EZ1 --at 2026-01-02T03:04:05Z",
            "millrace errors --sink DG1 --code 91306 --limit 5",
            "millrace demo --generate",
            "millrace migrate --restored --wait 1m --lock-wait 10s",
        ] {
            assert!(parses(line), "{line}");
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for line in [
            "millrace sinks create --description d",
            "millrace sinks create --webhook http://a/",
            "millrace sinks create --configuration {} --description d",
            "millrace sinks create --configuration {} --type webhook --webhook http://a/ --description d",
            "millrace sinks create --configuration {} --type webhook --batch --description d",
            "millrace subscriptions create --sink DG1 --description d",
            "millrace accounts create --standalone --parent AC1",
            "millrace accounts update AC1 --suspend --activate",
            "millrace accounts update AC1 --suspend --close",
            "millrace accounts update AC1 --yes",
            "millrace keys create --access root",
            "millrace keys update SK1",
            "millrace types delete a.b",
            "millrace publish --file - --batch 1001",
            "millrace verify --url http://a",
        ] {
            assert!(!parses(line), "{line}");
        }
    }
}
