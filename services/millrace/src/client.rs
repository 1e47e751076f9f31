//! The commands of a client: what a customer, a producer or a developer at a terminal does with a running Millrace.
//! They speak gRPC; each command's module is its arguments, what it does and what it prints.

mod accounts;
mod audit;
pub(crate) mod connection;
mod directory;
mod explain;
pub(crate) mod failure;
mod keys;
mod list;
mod listen;
mod logs;
pub(crate) mod output;
pub(crate) mod publish;
mod quarantine;
mod schemas;
mod shape;
pub(crate) mod signature;
mod sinks;
mod subscriptions;
mod types;
mod verify;

use std::process::ExitCode;

pub(crate) use self::connection::DefaultArgs;

/// The client commands.
#[derive(clap::Subcommand)]
pub(crate) enum ClientCommand {
    Accounts(accounts::AccountsArgs),
    Keys(keys::KeysArgs),
    Sinks(sinks::SinksArgs),
    Subscriptions(subscriptions::SubscriptionsArgs),
    Types(types::TypesArgs),
    Schemas(schemas::SchemasArgs),
    Events(logs::EventsArgs),
    Errors(logs::ErrorsArgs),
    Publish(publish::PublishArgs),
    Listen(listen::ListenArgs),
    Explain(explain::ExplainArgs),
    Match(explain::MatchArgs),
    Audit(audit::AuditArgs),
    Quarantine(quarantine::QuarantineArgs),
    Verify(verify::VerifyArgs),
}

/// Does what a client command says, and gives the exit code.
pub(crate) async fn run(command: ClientCommand, defaults: DefaultArgs) -> anyhow::Result<ExitCode> {
    match command {
        ClientCommand::Accounts(mut args) => {
            args.connection = args.connection.or(defaults);
            accounts::run(args).await
        }
        ClientCommand::Keys(mut args) => {
            args.connection = args.connection.or(defaults);
            keys::run(args).await
        }
        ClientCommand::Sinks(mut args) => {
            args.connection = args.connection.or(defaults);
            sinks::run(args).await
        }
        ClientCommand::Subscriptions(mut args) => {
            args.connection = args.connection.or(defaults);
            subscriptions::run(args).await
        }
        ClientCommand::Types(mut args) => {
            args.connection = args.connection.or(defaults);
            types::run(args).await
        }
        ClientCommand::Schemas(mut args) => {
            args.connection = args.connection.or(defaults);
            schemas::run(args).await
        }
        ClientCommand::Events(mut args) => {
            args.connection = args.connection.or(defaults);
            logs::run_events(args).await
        }
        ClientCommand::Errors(mut args) => {
            args.connection = args.connection.or(defaults);
            logs::run_errors(args).await
        }
        ClientCommand::Publish(mut args) => {
            args.connection = args.connection.or(defaults);
            publish::run(args).await
        }
        ClientCommand::Explain(mut args) => {
            args.connection = args.connection.or(defaults);
            explain::run(args).await
        }
        ClientCommand::Match(mut args) => {
            args.connection = args.connection.or(defaults);
            explain::run_match(args).await
        }
        ClientCommand::Audit(mut args) => {
            args.connection = args.connection.or(defaults);
            audit::run(args).await
        }
        ClientCommand::Quarantine(mut args) => {
            args.connection = args.connection.or(defaults);
            quarantine::run(args).await
        }
        ClientCommand::Listen(args) => listen::run(args).await,
        ClientCommand::Verify(args) => verify::run(&args),
    }
}
