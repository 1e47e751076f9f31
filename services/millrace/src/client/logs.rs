//! What became of events: `millrace sinks attempts|dropped|resend`, `millrace events attempts`, `millrace errors`.

use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use millrace_proto::v1::{self, log_service_client::LogServiceClient as Client};
use serde_json::{Value, json};

use crate::client::{
    connection::{Connection, ConnectionArgs, Credentials, connect},
    failure::explain,
    list::{self, LimitArgs},
    output::{self, OutputArgs},
    shape,
};

mod show;
pub(super) mod time;

/// Rows of a log where the caller does not say how many.
const LIMIT_DEFAULT: u32 = 50;

/// The logs of one sink.
#[derive(clap::Subcommand)]
pub(super) enum SinkLogCommand {
    /// List the requests to a sink, newest first. Kept for 7 days.
    Attempts {
        /// The sink's SID.
        #[arg(value_name = "DG…")]
        sid: String,
        /// Only those that carried this event.
        #[arg(long, value_name = "ID")]
        event: Option<String>,
        /// Only those with this outcome.
        #[arg(long)]
        outcome: Option<OutcomeArg>,
        #[command(flatten)]
        range: RangeArgs,
    },
    /// List the events that a sink did not get, newest first. Kept for 7 days.
    Dropped {
        /// The sink's SID.
        #[arg(value_name = "DG…")]
        sid: String,
        /// Only this event.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        #[command(flatten)]
        range: RangeArgs,
    },
    /// Send dropped events again, oldest first, under their ids and with a fresh window; those that were sent again are left out.
    Resend {
        /// The sink that did not get them.
        #[arg(value_name = "DG…")]
        sid: String,
        /// Only this event.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// Only those dropped from then on: a time such as 2026-01-02T03:04:05Z, or 2h ago.
        #[arg(long, value_name = "TIME", value_parser = time::read)]
        since: Option<prost_types::Timestamp>,
        /// Only those dropped before.
        #[arg(long, value_name = "TIME", value_parser = time::read)]
        until: Option<prost_types::Timestamp>,
        /// To this sink instead.
        #[arg(long, value_name = "DG…")]
        to_sink: Option<String>,
        /// Also those that were sent again before.
        #[arg(long)]
        again: bool,
    },
}

/// Find out what became of an event.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  millrace events attempts EZ…\n  millrace events attempts order-17 --at 2026-01-02T03:04:05Z --json"
)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(subcommand)]
    command: EventCommand,
}

#[derive(clap::Subcommand)]
enum EventCommand {
    /// List the requests that carried an event, newest first.
    Attempts {
        /// The event's id.
        #[arg(value_name = "ID")]
        id: String,
        /// About when it was published, where its id does not tell (`EZ…` does): a time such as 2026-01-02T03:04:05Z, or 2h
        /// ago [default: within the last 24 hours].
        #[arg(long, value_name = "TIME", value_parser = time::read)]
        at: Option<prost_types::Timestamp>,
        #[command(flatten)]
        limit: LimitArgs,
    },
}

/// List the account's problems with deliveries, newest first. Kept for 23 days.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  millrace errors --since 1h\n  millrace errors --sink DG… --code 91306"
)]
pub(crate) struct ErrorsArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    /// Only this sink's.
    #[arg(long, value_name = "DG…")]
    sink: Option<String>,
    /// Only those about this event.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only those with this code, such as 91306.
    #[arg(long, value_name = "CODE")]
    code: Option<i32>,
    #[command(flatten)]
    range: RangeArgs,
}

/// Which part of a log.
#[derive(clap::Args)]
pub(super) struct RangeArgs {
    /// Only from then on: a time such as 2026-01-02T03:04:05Z, or 2h ago.
    #[arg(long, value_name = "TIME", value_parser = time::read)]
    pub(super) since: Option<prost_types::Timestamp>,
    /// Only before.
    #[arg(long, value_name = "TIME", value_parser = time::read)]
    pub(super) until: Option<prost_types::Timestamp>,
    /// List at most this many.
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum OutcomeArg {
    Delivered,
    Retry,
    Discard,
}

impl RangeArgs {
    pub(super) fn limit(&self) -> LimitArgs {
        LimitArgs { limit: Some(self.limit) }
    }
}

/// Does what `millrace sinks` was asked for about a sink's logs.
pub(super) async fn run_of_sink(
    command: SinkLogCommand,
    output: &OutputArgs,
    connection: Connection,
    credentials: &Credentials,
) -> anyhow::Result<()> {
    let client = Client::new(connection);
    match command {
        SinkLogCommand::Attempts { sid, event, outcome, range } => {
            let outcome = match outcome {
                None => v1::AttemptOutcome::Unspecified,
                Some(OutcomeArg::Delivered) => v1::AttemptOutcome::Delivered,
                Some(OutcomeArg::Retry) => v1::AttemptOutcome::Retry,
                Some(OutcomeArg::Discard) => v1::AttemptOutcome::Discard,
            };
            let request = v1::ListAttemptsRequest {
                account_sid: credentials.account_named(),
                sink_sid: sid,
                event_id: event.unwrap_or_default(),
                start_time: range.since,
                end_time: range.until,
                outcome: outcome.into(),
                ..v1::ListAttemptsRequest::default()
            };
            show::attempts(output, &attempts(&client, request, &range.limit()).await?)
        }
        SinkLogCommand::Dropped { sid, id, range } => {
            let request = v1::ListDroppedEventsRequest {
                account_sid: credentials.account_named(),
                sink_sid: sid,
                event_id: id.unwrap_or_default(),
                start_time: range.since,
                end_time: range.until,
                ..v1::ListDroppedEventsRequest::default()
            };
            let limit = range.limit();
            let found = list::all(&limit, "list dropped events", async |page_size, page_token| {
                let request =
                    v1::ListDroppedEventsRequest { page_size, page_token, ..request.clone() };
                let page = client.clone().list_dropped_events(request).await?.into_inner();
                Ok((page.dropped_events, page.next_page_token))
            });
            show::dropped(output, &found.await?)
        }
        SinkLogCommand::Resend { sid, id, since, until, to_sink, again } => {
            let request = v1::ResendDroppedEventsRequest {
                account_sid: credentials.account_named(),
                sink_sid: sid,
                event_id: id.unwrap_or_default(),
                start_time: since,
                end_time: until,
                to_sink_sid: to_sink.unwrap_or_default(),
                again,
                ..v1::ResendDroppedEventsRequest::default()
            };
            resend(client, request, output).await
        }
    }
}

/// Does what `millrace events` was asked for.
pub(crate) async fn run_events(args: EventsArgs) -> anyhow::Result<ExitCode> {
    let credentials = args.connection.as_account()?;
    let client = Client::new(connect(args.connection.server(), &credentials).await?);
    let EventCommand::Attempts { id, at, limit } = args.command;
    let request = v1::ListAttemptsRequest {
        account_sid: credentials.account_named(),
        event_id: id,
        event_time: at,
        ..v1::ListAttemptsRequest::default()
    };
    show::attempts(&args.output, &attempts(&client, request, &limit).await?)?;
    Ok(ExitCode::SUCCESS)
}

/// Does what `millrace errors` was asked for.
pub(crate) async fn run_errors(args: ErrorsArgs) -> anyhow::Result<ExitCode> {
    let credentials = args.connection.as_account()?;
    let client = Client::new(connect(args.connection.server(), &credentials).await?);
    let request = v1::ListErrorLogsRequest {
        account_sid: credentials.account_named(),
        sink_sid: args.sink.unwrap_or_default(),
        event_id: args.event.unwrap_or_default(),
        start_time: args.range.since,
        end_time: args.range.until,
        error_code: args.code.unwrap_or_default(),
        ..v1::ListErrorLogsRequest::default()
    };
    let limit = args.range.limit();
    let found = list::all(&limit, "list the error logs", async |page_size, page_token| {
        let request = v1::ListErrorLogsRequest { page_size, page_token, ..request.clone() };
        let page = client.clone().list_error_logs(request).await?.into_inner();
        Ok((page.error_logs, page.next_page_token))
    });
    show::errors(&args.output, &found.await?)?;
    Ok(ExitCode::SUCCESS)
}

async fn attempts(
    client: &Client<Connection>,
    request: v1::ListAttemptsRequest,
    limit: &LimitArgs,
) -> anyhow::Result<Vec<v1::Attempt>> {
    list::all(limit, "list the attempts", async |page_size, page_token| {
        let request = v1::ListAttemptsRequest { page_size, page_token, ..request.clone() };
        let page = client.clone().list_attempts(request).await?.into_inner();
        Ok((page.attempts, page.next_page_token))
    })
    .await
}

/// Sends again, call by call; says on standard error how far it is.
async fn resend(
    mut client: Client<Connection>,
    mut request: v1::ResendDroppedEventsRequest,
    output: &OutputArgs,
) -> anyhow::Result<()> {
    let mut count = 0_i64;
    loop {
        let sent = client.resend_dropped_events(request.clone()).await;
        let sent = sent
            .map_err(|s| explain(&s, "send dropped events again"))
            .with_context(|| format!("sent again before this: {count}"))?
            .into_inner();
        count += i64::from(sent.resent_count);
        if sent.next_page_token.is_empty() {
            break;
        }
        eprintln!("{} sent again …", events_are(count));
        request.page_token = sent.next_page_token;
    }
    if output.json {
        return output::json(&json!({ "resent": count }));
    }
    output::line(&match count {
        0 => {
            "no event is sent again: none of them is kept, or all were sent again before (--again)"
                .to_owned()
        }
        _ => format!("{} sent again", events_are(count)),
    })
}

fn events_are(count: i64) -> String {
    if count == 1 { "1 event is".to_owned() } else { format!("{count} events are") }
}

/// Text for zero where that means none.
fn number(number: i32) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// JSON for zero where that means none.
fn some(number: i32) -> Value {
    if number == 0 { Value::Null } else { number.into() }
}
