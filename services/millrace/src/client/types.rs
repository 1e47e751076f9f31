//! `millrace types`: the kinds of event an installation knows.

mod push;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::ValueEnum;
use millrace_proto::v1::{
    self, event_type_service_client::EventTypeServiceClient as Client,
    schema_service_client::SchemaServiceClient,
};
use serde_json::Value;

use crate::client::{
    connection::{Connection, ConnectionArgs, connect},
    directory::Directory,
    failure::explain,
    list::{self, LimitArgs},
    output::{self, OutputArgs},
    schemas, shape,
};

/// Register, list and show event types. A type is never deleted, only discontinued (--status discontinued).
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TypesArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(subcommand)]
    command: TypeCommand,
}

const EXAMPLES: &str = "\
There is no `types delete`: events of a type may be on their way to sinks at any time, so types are kept.
`create` with --status discontinued ends one.

Examples:
  millrace types create com.example.order.placed --schema Example.Order --description 'An order was placed'
  millrace types push catalogue/ --dry-run
  millrace types list --schema Messaging.MessageStatus
  millrace types get com.twilio.messaging.message.sent --json";

#[derive(clap::Subcommand)]
enum TypeCommand {
    /// Register an event type, or change its description, status and page (takes a platform key).
    Create {
        /// Reverse-DNS name, such as `com.example.order.placed`.
        name: String,
        /// The schema that describes its data, such as `Example.Order`; registered with it where it is new.
        #[arg(long, value_name = "ID")]
        schema: String,
        /// What the event means, for people.
        #[arg(long, default_value = "")]
        description: String,
        /// Where in its life the type is.
        #[arg(long, default_value = "available")]
        status: StatusArg,
        /// A page about it.
        #[arg(long, value_name = "URL", default_value = "")]
        documentation_url: String,
        /// What becomes of events whose data does not fit the schema [default: enforce, or as it is].
        #[arg(long, value_name = "MODE")]
        validation: Option<ValidationArg>,
    },
    /// Make the server's types and schemas what a directory says: `types/*.json` and `schemas/<id>/<version>.json` (takes a platform
    /// key). A repeat changes nothing; what is in no file is left alone.
    Push {
        /// The directory.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Say what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// List the event types by name.
    List {
        /// Only those of this schema.
        #[arg(long, value_name = "ID")]
        schema: Option<String>,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Show an event type.
    Get {
        /// Its name.
        name: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum StatusArg {
    Available,
    Deprecated,
    Restricted,
    Discontinued,
}

#[derive(Clone, Copy, ValueEnum)]
enum ValidationArg {
    Enforce,
    Warn,
    Off,
}

impl From<ValidationArg> for v1::ValidationMode {
    fn from(validation: ValidationArg) -> Self {
        match validation {
            ValidationArg::Enforce => Self::Enforce,
            ValidationArg::Warn => Self::Warn,
            ValidationArg::Off => Self::Off,
        }
    }
}

impl From<StatusArg> for v1::EventTypeStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Available => Self::Available,
            StatusArg::Deprecated => Self::Deprecated,
            StatusArg::Restricted => Self::Restricted,
            StatusArg::Discontinued => Self::Discontinued,
        }
    }
}

/// Does what `millrace types` was asked for.
pub(crate) async fn run(args: TypesArgs) -> anyhow::Result<ExitCode> {
    let credentials = match args.command {
        TypeCommand::Create { .. } | TypeCommand::Push { .. } => args.connection.as_platform()?,
        TypeCommand::List { .. } | TypeCommand::Get { .. } => args.connection.as_account()?,
    };
    let connection = connect(args.connection.server(), &credentials).await?;
    let mut client = Client::new(connection.clone());
    match args.command {
        TypeCommand::Create {
            name,
            schema,
            description,
            status,
            documentation_url,
            validation,
        } => {
            let validation = validation.map(v1::ValidationMode::from).unwrap_or_default();
            let event_type = v1::EventType {
                r#type: name,
                schema_id: schema,
                description,
                status: v1::EventTypeStatus::from(status).into(),
                documentation_url,
                validation: validation.into(),
                ..v1::EventType::default()
            };
            let request = v1::CreateEventTypeRequest { event_type: Some(event_type) };
            let made = client.create_event_type(request).await;
            let made = made.map_err(|s| explain(&s, "register the event type"))?;
            show(&args.output, made.into_inner().event_type)?;
        }
        TypeCommand::Push { directory, dry_run } => {
            let directory = Directory::read(&directory)?;
            if !directory.schemas.is_empty() {
                schemas::push(&SchemaServiceClient::new(connection), &directory, dry_run).await?;
            }
            push::push(&client, &directory, dry_run).await?;
        }
        TypeCommand::List { schema, limit } => {
            let types = list_types(&client, &schema.unwrap_or_default(), &limit).await?;
            show_list(&args.output, &types)?;
        }
        TypeCommand::Get { name } => {
            let found =
                client.get_event_type(v1::GetEventTypeRequest { r#type: name.clone() }).await;
            let found = found.map_err(|s| explain(&s, &format!("get the event type `{name}`")))?;
            show(&args.output, found.into_inner().event_type)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list_types(
    client: &Client<Connection>,
    schema: &str,
    limit: &LimitArgs,
) -> anyhow::Result<Vec<v1::EventType>> {
    list::all(limit, "list the event types", async |page_size, page_token| {
        let schema_id = schema.to_owned();
        let request = v1::ListEventTypesRequest { page_size, page_token, schema_id };
        let page = client.clone().list_event_types(request).await?.into_inner();
        Ok((page.event_types, page.next_page_token))
    })
    .await
}

fn show(output: &OutputArgs, event_type: Option<v1::EventType>) -> anyhow::Result<()> {
    let event_type = event_type.context("the server answered without the event type")?;
    if output.json {
        return output::json(&shape::event_type(&event_type));
    }
    let status = status(&event_type);
    let validation = shape::word(event_type.validation().as_str_name(), "VALIDATION_MODE_");
    output::line(&output::fields(vec![
        ("type", event_type.r#type),
        ("schema", event_type.schema_id),
        ("description", event_type.description),
        ("status", status),
        ("validation", validation),
        ("documentation", event_type.documentation_url),
        ("created", shape::time(event_type.create_time.as_ref())),
        ("updated", shape::time(event_type.update_time.as_ref())),
    ]))
}

fn show_list(output: &OutputArgs, types: &[v1::EventType]) -> anyhow::Result<()> {
    if output.json {
        return output::json(&Value::Array(types.iter().map(shape::event_type).collect()));
    }
    if types.is_empty() {
        return output::line("no event types");
    }
    let rows = types.iter().map(|t| vec![t.r#type.clone(), status(t), t.schema_id.clone()]);
    output::line(&output::columns(&["TYPE", "STATUS", "SCHEMA"], rows.collect()))
}

fn status(event_type: &v1::EventType) -> String {
    shape::word(event_type.status().as_str_name(), "EVENT_TYPE_STATUS_")
}
