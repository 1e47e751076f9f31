//! `millrace explain` and `millrace match`: what became of an event and why, and what would become of one.

use std::{io::Read as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use millrace_proto::{
    explanation_json, matching_json,
    v1::{self, event_service_client::EventServiceClient as Client},
};

use crate::client::{
    connection::{ConnectionArgs, connect},
    failure,
    logs::time,
    output::{self, OutputArgs},
    shape,
};

/// Explain what became of an event: who takes it and who does not, each attempt, where it is now.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  millrace explain EZ…\n  millrace explain order-17 --at 2h --type com.example.order.placed"
)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    /// The event's id.
    #[arg(value_name = "ID")]
    id: String,
    /// About when it was published, where its id does not tell (`EZ…` does): a time such as 2026-01-02T03:04:05Z, or 2h ago
    /// [default: within the last 24 hours].
    #[arg(long, value_name = "TIME", value_parser = time::read)]
    at: Option<prost_types::Timestamp>,
    /// Its type, where nobody knows it any more: delivered events are not kept.
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// Whose it is, where it is a subaccount's (`AC…`): tells what the account's own subscriptions, sinks and reports have of it.
    #[arg(long, value_name = "SID")]
    subaccount: Option<String>,
}

/// Tell which subscriptions would take an event, without publishing it.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  millrace match --file event.json\n  echo '{\"type\": \"com.example.order.placed\"}' | millrace match --file - --at 2h"
)]
pub(crate) struct MatchArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    /// The event, a CloudEvent in JSON, of which `type` is enough; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// With the configuration of then: a time such as 2026-01-02T03:04:05Z, or 2h ago [default: now].
    #[arg(long, value_name = "TIME", value_parser = time::read)]
    at: Option<prost_types::Timestamp>,
    /// Whose it is, where it is a subaccount's (`AC…`): tells what the account's own subscriptions, sinks and reports have of it.
    #[arg(long, value_name = "SID")]
    subaccount: Option<String>,
}

/// Does what `millrace explain` was asked for.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let credentials = args.connection.as_account()?;
    let mut client = Client::new(connect(args.connection.server(), &credentials).await?);
    let request = v1::ExplainEventRequest {
        account_sid: credentials.account_or(args.subaccount),
        event_id: args.id,
        event_time: args.at,
        r#type: args.r#type.unwrap_or_default(),
    };
    let answer = client.explain_event(request).await;
    let answer = answer.map_err(|status| failure::explain(&status, "explain the event"))?;
    let told = answer.into_inner().explanation.context("the server answered without it")?;
    if args.output.json {
        output::json(&explanation_json(&told))?;
    } else {
        show(&told)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Does what `millrace match` was asked for.
pub(crate) async fn run_match(args: MatchArgs) -> anyhow::Result<ExitCode> {
    let credentials = args.connection.as_account()?;
    let mut event = Vec::new();
    if args.file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut event).context("cannot read standard input")?;
    } else {
        let cannot = || format!("cannot read `{}`", args.file.display());
        event = std::fs::read(&args.file).with_context(cannot)?;
    }
    let mut client = Client::new(connect(args.connection.server(), &credentials).await?);
    let request = v1::MatchEventRequest {
        account_sid: credentials.account_or(args.subaccount),
        event: event.into(),
        at_time: args.at,
    };
    let answer = client.match_event(request).await;
    let answer = answer.map_err(|status| failure::explain(&status, "match the event"))?;
    let matching = answer.into_inner().matching.context("the server answered without it")?;
    if args.output.json {
        output::json(&matching_json(&matching))?;
    } else {
        show_matching(&matching)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(told: &v1::Explanation) -> anyhow::Result<()> {
    output::line(&output::fields(vec![
        ("event", told.event_id.clone()),
        ("account", told.account_sid.clone()),
        ("published", shape::time(told.event_time.as_ref())),
    ]))?;
    if let Some(matching) = &told.matching {
        show_matching(matching)?;
    }
    if !told.sinks.is_empty() {
        output::line("")?;
        let headings = ["SINK", "PLACE", "SINCE", "NEXT TRY", "WINDOW CLOSES", "NOTE"];
        output::line(&output::columns(&headings, told.sinks.iter().map(sink).collect()))?;
    }
    if !told.attempts.is_empty() {
        output::line("")?;
        let headings = ["ATTEMPT", "SINK", "OUTCOME", "STATUS", "CODE", "TRY", "DETAIL"];
        output::line(&output::columns(&headings, told.attempts.iter().map(attempt).collect()))?;
    }
    for note in &told.notes {
        output::line(&format!("\nnote: {note}"))?;
    }
    Ok(())
}

fn show_matching(matching: &v1::Matching) -> anyhow::Result<()> {
    let verdict = shape::word(matching.publish_verdict().as_str_name(), "PUBLISH_VERDICT_");
    let schema = shape::word(matching.schema_verdict().as_str_name(), "SCHEMA_VERDICT_");
    let with = |word: String, detail: &str| match detail {
        "" => word,
        detail => format!("{word}: {detail}"),
    };
    let exact = if matching.config_is_exact { "" } else { " (not exact: too long ago)" };
    let time = shape::time(matching.config_time.as_ref());
    output::line(&output::fields(vec![
        ("type", matching.r#type.clone()),
        ("publish", with(verdict, &matching.publish_detail)),
        ("schema", with(schema, &matching.schema_detail)),
        ("configuration", format!("change {} at {time}{exact}", matching.config_seq)),
    ]))?;
    if matching.subscriptions.is_empty() {
        return Ok(());
    }
    let rows = matching.subscriptions.iter().map(|verdict| {
        vec![
            verdict.subscription_sid.clone(),
            verdict.sink_sid.clone(),
            if verdict.matches { "yes" } else { "no" }.to_owned(),
            shape::word(verdict.reason().as_str_name(), "MATCH_REASON_"),
            Some(verdict.schema_version)
                .filter(|n| *n > 0)
                .map_or_else(String::new, |n| n.to_string()),
            hold(verdict.hold()),
        ]
    });
    output::line("")?;
    let headings = ["SUBSCRIPTION", "SINK", "MATCHES", "REASON", "VERSION", "HELD"];
    output::line(&output::columns(&headings, rows.collect()))?;
    match matching.omitted_subscriptions {
        0 => Ok(()),
        more => output::line(&format!("and {more} more that do not match")),
    }
}

fn sink(told: &v1::SinkExplanation) -> Vec<String> {
    let mut place = shape::word(told.place().as_str_name(), "EVENT_PLACE_");
    if told.drop_reason() != v1::DropReason::Unspecified {
        let reason = shape::word(told.drop_reason().as_str_name(), "DROP_REASON_");
        place = format!("{place} ({reason})");
    }
    let breaker = told.status.as_ref().map(v1::DeliveryStatus::breaker_state);
    let breaker = match breaker {
        Some(v1::BreakerState::Open) => "the breaker is open".to_owned(),
        _ => String::new(),
    };
    let notes = [hold(told.hold()), breaker, told.detail.clone()];
    let notes: Vec<_> = notes.into_iter().filter(|note| !note.is_empty()).collect();
    vec![
        told.sink_sid.clone(),
        place,
        shape::time(told.place_time.as_ref()),
        shape::time(told.next_attempt_time.as_ref()),
        shape::time(told.window_close_time.as_ref()),
        notes.join("; "),
    ]
}

fn attempt(attempt: &v1::Attempt) -> Vec<String> {
    let number = |number: i32| if number == 0 { String::new() } else { number.to_string() };
    vec![
        shape::time(attempt.start_time.as_ref()),
        attempt.sink_sid.clone(),
        shape::word(attempt.outcome().as_str_name(), "ATTEMPT_OUTCOME_"),
        number(attempt.http_status),
        number(attempt.error_code),
        attempt.attempt.to_string(),
        attempt.detail.replace(char::is_control, " "),
    ]
}

fn hold(hold: v1::SinkHold) -> String {
    match hold {
        v1::SinkHold::Unspecified => String::new(),
        hold => shape::word(hold.as_str_name(), "SINK_HOLD_"),
    }
}
