//! `millrace sinks`: where an account's events go.

use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use millrace_domain::SinkConfiguration;
use millrace_proto::v1::{
    self, sink::Configuration, sink_service_client::SinkServiceClient as Client,
};
use serde_json::Value;

use crate::client::{
    connection::{Connection, ConnectionArgs, Credentials, connect},
    failure::explain,
    list::{self, LimitArgs},
    logs,
    output::{self, OutputArgs},
    shape,
};

mod delivery;
mod headers;
mod status;
mod trial;
mod update;

use self::{delivery::LimitsArgs, headers::HeaderArgs, status::StatusArgs, update::UpdateArgs};

/// Create, list, show, change and delete sinks: where events are delivered; see what they got and did not get.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SinksArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(subcommand)]
    command: SinkCommand,
}

const EXAMPLES: &str = "\
Examples:
  millrace sinks create --webhook https://example.com/events --batch --description 'billing'
  millrace sinks create --type webhook --configuration '{\"destination\":\"https://example.com\",\"method\":\"GET\"}' --description 'by query'
  millrace sinks create --type kinesis --configuration '{\"arn\":\"arn:aws:kinesis:…\",\"role_arn\":\"arn:aws:iam::…\",\"external_id\":\"…\"}' --description 'lake'
  millrace sinks create --webhook https://example.com/events --header 'X-Api-Key: …' --description 'billing'
  millrace sinks list --in-use --json
  millrace sinks update DG… --rate-limit 50 --delivery-window 24h
  millrace sinks update DG… --paused
  millrace sinks test DG…
  millrace sinks status DG… --watch
  millrace sinks attempts DG… --outcome retry --since 1h
  millrace sinks resend DG… --since 2026-01-02T03:04:05Z";

#[derive(clap::Subcommand)]
enum SinkCommand {
    /// Make a sink.
    Create(CreateArgs),
    /// List the account's sinks, oldest first.
    List {
        /// Only those that a subscription uses; `--in-use=false`: that none uses.
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
        in_use: Option<bool>,
        /// Only those of this status.
        #[arg(long)]
        status: Option<StatusArg>,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Show a sink, with the secret that its requests are signed with.
    Get {
        /// The sink's SID.
        #[arg(value_name = "DG…")]
        sid: String,
    },
    /// Show how delivery to a sink goes: breaker, backlog, rates, and what failed last.
    Status(StatusArgs),
    /// Send a test event to a sink, and tell how it went, step by step. Exits with 1 if the sink did not take it.
    Test {
        /// The sink's SID.
        #[arg(value_name = "DG…")]
        sid: String,
    },
    /// Change a sink in place: pause it, limit it, deliver elsewhere.
    Update(UpdateArgs),
    /// Delete sinks that no subscription uses.
    Delete {
        /// The sinks' SIDs.
        #[arg(value_name = "DG…", required = true)]
        sids: Vec<String>,
    },
    #[command(flatten)]
    Logs(logs::SinkLogCommand),
}

#[derive(clap::Args)]
struct CreateArgs {
    /// What the sink is for, for people.
    #[arg(long)]
    description: String,
    /// Deliver to this URL; `user:password@` in it becomes Basic auth.
    #[arg(long, value_name = "URL", required_unless_present = "configuration")]
    webhook: Option<String>,
    /// How the webhook is called.
    #[arg(long, conflicts_with = "configuration", default_value = "POST", ignore_case = true)]
    method: MethodArg,
    /// Put several events into a request, up to 64 kB.
    #[arg(long, conflicts_with = "configuration")]
    batch: bool,
    /// The configuration as in `SinkConfiguration` of `events/v1`, for any type of sink.
    #[arg(long, value_name = "JSON", requires = "type", conflicts_with = "webhook")]
    configuration: Option<String>,
    /// The type that the configuration is for.
    #[arg(long = "type", id = "type", requires = "configuration", value_name = "TYPE")]
    sink_type: Option<TypeArg>,
    /// Send nothing until `sinks update --resume`; events are kept for their window.
    #[arg(long)]
    paused: bool,
    #[command(flatten)]
    headers: HeaderArgs,
    #[command(flatten)]
    limits: LimitsArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum MethodArg {
    #[value(name = "POST")]
    Post,
    #[value(name = "GET")]
    Get,
}

impl MethodArg {
    fn wire(self) -> v1::WebhookMethod {
        match self {
            Self::Get => v1::WebhookMethod::Get,
            Self::Post => v1::WebhookMethod::Post,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum TypeArg {
    Webhook,
    Kinesis,
    Segment,
    #[value(name = "cloudevents")]
    CloudEvents,
    File,
}

impl TypeArg {
    fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Kinesis => "kinesis",
            Self::Segment => "segment",
            Self::CloudEvents => "cloudevents",
            Self::File => "file",
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum StatusArg {
    Initialized,
    Validating,
    Active,
    Failed,
}

impl From<StatusArg> for v1::SinkStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Initialized => Self::Initialized,
            StatusArg::Validating => Self::Validating,
            StatusArg::Active => Self::Active,
            StatusArg::Failed => Self::Failed,
        }
    }
}

/// Does what `millrace sinks` was asked for.
pub(crate) async fn run(args: SinksArgs) -> anyhow::Result<ExitCode> {
    // What is wrong with the command itself is told before a server is looked for.
    let new = match &args.command {
        SinkCommand::Create(create) => Some(new_sink(create)?),
        _ => None,
    };
    let credentials = args.connection.as_account()?;
    let connection = connect(args.connection.server(), &credentials).await?;
    let mut client = Client::new(connection.clone());
    match args.command {
        SinkCommand::Logs(command) => {
            logs::run_of_sink(command, &args.output, connection, &credentials).await?;
        }
        SinkCommand::Create(_) => {
            let sink =
                v1::Sink { account_sid: credentials.account_named(), ..new.unwrap_or_default() };
            let request = v1::CreateSinkRequest { sink: Some(sink), ..Default::default() };
            let made =
                client.create_sink(request).await.map_err(|s| explain(&s, "create the sink"))?;
            show(&args.output, made.into_inner().sink)?;
        }
        SinkCommand::List { in_use, status, limit } => {
            let status = status.map_or(v1::SinkStatus::Unspecified, Into::into);
            let sinks = list_sinks(&client, &credentials, in_use, status, &limit).await?;
            show_list(&args.output, &sinks)?;
        }
        SinkCommand::Get { sid } => {
            let request = v1::GetSinkRequest { sid: sid.clone() };
            let found = client.get_sink(request).await;
            let found = found.map_err(|s| explain(&s, &format!("get the sink `{sid}`")))?;
            show(&args.output, found.into_inner().sink)?;
        }
        SinkCommand::Status(status) => status.run(&mut client, &args.output).await?,
        SinkCommand::Test { sid } => return trial::run(&mut client, &args.output, &sid).await,
        SinkCommand::Update(update) => show(&args.output, Some(update.run(&mut client).await?))?,
        SinkCommand::Delete { sids } => {
            for sid in sids {
                let request = v1::DeleteSinkRequest { sid: sid.clone() };
                let deleted = client.delete_sink(request).await;
                deleted.map_err(|s| explain(&s, &format!("delete the sink `{sid}`")))?;
                output::deleted(&args.output, "sink", &sid)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list_sinks(
    client: &Client<Connection>,
    credentials: &Credentials,
    in_use: Option<bool>,
    status: v1::SinkStatus,
    limit: &LimitArgs,
) -> anyhow::Result<Vec<v1::Sink>> {
    list::all(limit, "list the sinks", async |page_size, page_token| {
        let request = v1::ListSinksRequest {
            account_sid: credentials.account_named(),
            page_size,
            page_token,
            in_use,
            status: status.into(),
        };
        let page = client.clone().list_sinks(request).await?.into_inner();
        Ok((page.sinks, page.next_page_token))
    })
    .await
}

fn new_sink(create: &CreateArgs) -> anyhow::Result<v1::Sink> {
    let configuration = match (&create.webhook, &create.configuration, create.sink_type) {
        (Some(destination), ..) => Configuration::Webhook(v1::WebhookConfiguration {
            destination: destination.clone(),
            method: create.method.wire().into(),
            batch_events: create.batch,
        }),
        (None, Some(json), Some(sink_type)) => configuration(sink_type, json)?,
        (None, ..) => anyhow::bail!("give --webhook URL, or --configuration JSON with --type"),
    };
    let mut sink = v1::Sink {
        description: create.description.clone(),
        configuration: Some(configuration),
        paused: create.paused,
        ..v1::Sink::default()
    };
    create.headers.apply(&mut sink);
    create.limits.apply(&mut sink);
    Ok(sink)
}

/// Reads `SinkConfiguration` by the rules that the server has too.
fn configuration(sink_type: TypeArg, json: &str) -> anyhow::Result<Configuration> {
    let read = SinkConfiguration::parse(sink_type.word(), json);
    let read = read.map_err(|refusal| {
        let field = refusal.field.replacen("SinkConfiguration", "--configuration", 1);
        anyhow::anyhow!("{field}: {}", refusal.message)
    })?;
    Ok((&read).into())
}

fn show(output: &OutputArgs, sink: Option<v1::Sink>) -> anyhow::Result<()> {
    let sink = sink.context("the server answered without the sink")?;
    let json = shape::sink(&sink);
    if output.json {
        return output::json(&json);
    }
    let mut fields = vec![
        ("sid", sink.sid.clone()),
        ("description", sink.description.clone()),
        ("type", sink.configuration.as_ref().map(shape::type_of).unwrap_or_default().to_owned()),
        ("configuration", json["sink_configuration"].to_string()),
        ("status", shape::word(sink.status().as_str_name(), "SINK_STATUS_")),
    ];
    fields.extend(headers::field(&sink));
    fields.extend(delivery::fields(&sink));
    fields.extend([
        ("signing secret", sink.signing_secret.clone()),
        ("account", sink.account_sid.clone()),
        ("created", shape::time(sink.create_time.as_ref())),
        ("updated", shape::time(sink.update_time.as_ref())),
    ]);
    output::line(&output::fields(fields))
}

fn show_list(output: &OutputArgs, sinks: &[v1::Sink]) -> anyhow::Result<()> {
    if output.json {
        return output::json(&Value::Array(sinks.iter().map(shape::sink).collect()));
    }
    if sinks.is_empty() {
        return output::line("no sinks; `millrace sinks create --help` shows how to make one");
    }
    let rows = sinks.iter().map(|sink| {
        vec![
            sink.sid.clone(),
            shape::word(sink.status().as_str_name(), "SINK_STATUS_"),
            sink.configuration.as_ref().map(shape::type_of).unwrap_or_default().to_owned(),
            shape::destination(sink),
            shape::time(sink.create_time.as_ref()),
            sink.description.clone(),
        ]
    });
    let headings = ["SID", "STATUS", "TYPE", "DESTINATION", "CREATED", "DESCRIPTION"];
    output::line(&output::columns(&headings, rows.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_configurations_of_every_type_and_names_what_is_wrong() {
        let read = configuration(
            TypeArg::Webhook,
            r#"{"destination":"https://a.example","method":"get","batch_events":true}"#,
        );
        let Configuration::Webhook(webhook) = read.expect("valid") else { panic!("a webhook") };
        assert_eq!((webhook.method(), webhook.batch_events), (v1::WebhookMethod::Get, true));
        assert!(configuration(TypeArg::Segment, r#"{"write_key":"abcdefghij"}"#).is_ok());
        assert!(configuration(TypeArg::File, r#"{"path":"a.jsonl"}"#).is_ok());
        for wrong in ["{", "[]", "{}", r#"{"destination":"x","retries":3}"#] {
            assert!(configuration(TypeArg::Webhook, wrong).is_err(), "{wrong}");
        }
        let error = configuration(TypeArg::Segment, r#"{"write_key":"abcdefghij","key":"w"}"#);
        let error = error.expect_err("unknown key");
        assert!(format!("{error:#}").starts_with("--configuration.key: "), "{error:#}");
    }
}
