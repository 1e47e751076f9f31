//! `millrace schemas`: documents that describe the data of events, checked before they are registered.

mod check;
mod push;
mod server;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use millrace_proto::v1::{GetSchemaVersionRequest, schema_service_client::SchemaServiceClient};

use crate::client::{
    connection::{ConnectionArgs, connect},
    failure::explain,
    output::{self, OutputArgs},
};

pub(super) use self::push::push;

/// Check, register and show schemas.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SchemasArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(subcommand)]
    command: SchemaCommand,
}

const EXAMPLES: &str = "\
A directory has `schemas/<schema id>/<version>.json`, and event types beside it (`millrace types push`).

Examples:
  millrace schemas check order.json
  millrace schemas check catalogue/
  millrace schemas check catalogue/ --against
  millrace schemas push catalogue/ --dry-run
  millrace schemas get Example.Order --version 2";

#[derive(clap::Subcommand)]
enum SchemaCommand {
    /// Check that documents compile and that each version only adds optional properties to the one before. Needs no server.
    Check {
        /// A document, or a directory of them.
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// Compare with what a server has, too [default: --server].
        #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
        against: Option<String>,
    },
    /// Register the versions of a directory that the server does not have (takes a platform key).
    Push {
        /// The directory.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Say what would be registered, and register nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the document of a version.
    Get {
        /// The schema, such as `Example.Order`.
        id: String,
        /// Which version [default: the latest].
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        version: u32,
    },
}

/// Does what `millrace schemas` was asked for.
pub(crate) async fn run(args: SchemasArgs) -> anyhow::Result<ExitCode> {
    let SchemasArgs { output, mut connection, command } = args;
    match command {
        SchemaCommand::Check { path, against } => {
            let server = match against {
                None => None,
                Some(url) => {
                    connection.server =
                        Some(url).filter(|url| !url.is_empty()).or(connection.server);
                    let credentials = connection.as_producer()?;
                    Some(SchemaServiceClient::new(
                        connect(connection.server(), &credentials).await?,
                    ))
                }
            };
            check::command(&output, &path, server.as_ref()).await
        }
        SchemaCommand::Push { directory, dry_run } => {
            let directory = super::directory::Directory::read(&directory)?;
            let credentials = connection.as_platform()?;
            let client =
                SchemaServiceClient::new(connect(connection.server(), &credentials).await?);
            push(&client, &directory, dry_run).await?;
            Ok(ExitCode::SUCCESS)
        }
        SchemaCommand::Get { id, version } => {
            let credentials = connection.as_producer()?;
            let mut client =
                SchemaServiceClient::new(connect(connection.server(), &credentials).await?);
            let request = GetSchemaVersionRequest { schema_id: id.clone(), version };
            let found = client.get_schema_version(request).await;
            let found = found.map_err(|s| explain(&s, &format!("get the schema `{id}`")))?;
            let found = found.into_inner().schema_version.context("the server gave no version")?;
            if found.document.is_empty() {
                anyhow::bail!("the fields of version {} of `{id}` are not known", found.version);
            }
            output::line(&found.document)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
