//! `millrace sinks status`: how delivery to a sink goes at the moment.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal},
    time::Duration,
};

use millrace_proto::v1::{self, sink_service_client::SinkServiceClient as Client};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tonic::Code;

use crate::client::{
    connection::Connection,
    failure::explain,
    output::{self, OutputArgs},
    shape,
};

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(1);
/// Longest part of a failure's detail that is shown.
const DETAIL_MAX_CHARS: usize = 200;

#[derive(clap::Args)]
pub(super) struct StatusArgs {
    /// The sink's SID.
    #[arg(value_name = "DG…")]
    sid: String,
    /// Look again every second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

impl StatusArgs {
    /// Shows the status, once or until it is interrupted.
    pub(super) async fn run(
        &self,
        client: &mut Client<Connection>,
        output: &OutputArgs,
    ) -> anyhow::Result<()> {
        if !self.watch {
            let status = self.ask(client).await.map_err(|s| self.explained(&s))?;
            return match output.json {
                true => output::json(&to_json(&self.sid, &status)),
                false => output::line(&block(&self.sid, &status)),
            };
        }
        // Cut off anywhere, nothing is lost: it only looks.
        tokio::select! {
            ended = self.keep_looking(client, output) => ended,
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        }
    }

    async fn keep_looking(
        &self,
        client: &mut Client<Connection>,
        output: &OutputArgs,
    ) -> anyhow::Result<()> {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let in_place = !output.json && io::stdout().is_terminal();
        let mut shown_lines = 0;
        loop {
            ticks.tick().await;
            let text = match self.ask(client).await {
                Ok(status) if output.json => to_json(&self.sid, &status).to_string(),
                Ok(status) => block(&self.sid, &status),
                // It may be back in a second: a deliverer restarts.
                Err(status) if status.code() == Code::Unavailable => {
                    unavailable(&self.sid, &status, output)
                }
                Err(status) => return Err(self.explained(&status)),
            };
            output::line(&framed(&text, in_place, output.json, shown_lines))?;
            shown_lines = text.lines().count();
        }
    }

    async fn ask(
        &self,
        client: &mut Client<Connection>,
    ) -> Result<v1::DeliveryStatus, tonic::Status> {
        let request = v1::GetSinkStatusRequest { sid: self.sid.clone() };
        Ok(client.get_sink_status(request).await?.into_inner().status.unwrap_or_default())
    }

    fn explained(&self, status: &tonic::Status) -> anyhow::Error {
        explain(status, &format!("get the status of the sink `{}`", self.sid))
    }
}

/// A block as it is printed: over the one before on a terminal, or with an empty line after it.
fn framed(text: &str, in_place: bool, json: bool, lines_before: usize) -> String {
    if json {
        return text.to_owned();
    }
    if !in_place {
        return format!("{text}\n");
    }
    // Up to where the block before began, then clear to the end of the screen. Long lines are cut and not wrapped meanwhile, so
    // that as many lines are shown as were counted.
    let up =
        if lines_before == 0 { String::new() } else { format!("\x1b[{lines_before}A\r\x1b[J") };
    format!("{up}\x1b[?7l{text}\x1b[?7h")
}

fn unavailable(sid: &str, status: &tonic::Status, output: &OutputArgs) -> String {
    match output.json {
        true => json!({ "sink_sid": sid, "unavailable": status.message() }).to_string(),
        false => output::fields(vec![
            ("sink", sid.to_owned()),
            ("unavailable", status.message().to_owned()),
        ]),
    }
}

fn block(sid: &str, status: &v1::DeliveryStatus) -> String {
    let now = millis(status.status_time.as_ref());
    let ago = |time: &prost_types::Timestamp| span((now - millis(Some(time))) / 1_000);
    let oldest = status.oldest_event_time.as_ref().map(ago);
    let mut fields = vec![("sink", sid.to_owned())];
    if status.paused {
        fields.push(("paused", "yes: its events wait".to_owned()));
    }
    fields.extend([
        ("breaker", breaker(status, now)),
        (
            "in memory",
            format!(
                "{} events, {} requests open",
                status.waiting_events, status.requests_in_flight
            ),
        ),
        ("backlog", format!("{} events, {}", status.backlog_events, size(status.backlog_bytes))),
        ("oldest event", oldest.unwrap_or_else(|| "none waits".to_owned())),
        (
            "last minute",
            format!(
                "{:.1} events/s delivered, {:.1} failed",
                status.delivered_per_second, status.failed_per_second
            ),
        ),
    ]);
    if let Some(failure) = &status.last_failure {
        let when = failure.time.as_ref().map(|time| format!("{} ago: ", ago(time)));
        fields.push(("last failure", when.unwrap_or_default() + &why(failure)));
    }
    output::fields(fields)
}

fn breaker(status: &v1::DeliveryStatus, now: i64) -> String {
    let mut text = match status.breaker_state() {
        v1::BreakerState::Open => "open".to_owned(),
        v1::BreakerState::HalfOpen => "half-open, one event tries".to_owned(),
        v1::BreakerState::Closed | v1::BreakerState::Unspecified => return "closed".to_owned(),
    };
    if let Some(since) = &status.breaker_open_time {
        push(&mut text, format_args!(" for {}", span((now - millis(Some(since))) / 1_000)));
    }
    match status.breaker_cause() {
        v1::BreakerCause::Unspecified => {}
        v1::BreakerCause::InARow => text.push_str(" (5 failures in a row)"),
        v1::BreakerCause::HalfOfRecent => text.push_str(" (half of the last 50 requests failed)"),
    }
    if let Some(next) = &status.next_probe_time {
        // Rounded up: at 0 it would be due.
        let wait = (millis(Some(next)) - now).saturating_add(999) / 1_000;
        push(&mut text, format_args!(", next probe in {}", span(wait)));
    }
    text
}

fn why(failure: &v1::DeliveryFailure) -> String {
    let mut text = match failure.http_status {
        0 => "no answer".to_owned(),
        status => format!("HTTP {status}"),
    };
    push(&mut text, format_args!(" (error {})", failure.error_code));
    // One line, whatever the receiver wrote.
    let detail = failure.detail.split_whitespace().collect::<Vec<_>>().join(" ");
    let detail: String =
        detail.chars().filter(|c| !c.is_control()).take(DETAIL_MAX_CHARS).collect();
    if !detail.is_empty() {
        push(&mut text, format_args!(" {detail}"));
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    text.write_fmt(more).expect("a String takes any text");
}

fn to_json(sid: &str, status: &v1::DeliveryStatus) -> Value {
    let now = millis(status.status_time.as_ref());
    let oldest = status.oldest_event_time.as_ref().map(|time| now - millis(Some(time)));
    let cause = shape::word(status.breaker_cause().as_str_name(), "BREAKER_CAUSE_");
    json!({
        "sink_sid": sid,
        "date": shape::time(status.status_time.as_ref()),
        "paused": status.paused,
        "waiting_events": status.waiting_events,
        "requests_in_flight": status.requests_in_flight,
        "backlog_events": status.backlog_events,
        "backlog_bytes": status.backlog_bytes,
        "oldest_event_seconds": oldest.map(|millis| millis.max(0) / 1_000),
        "breaker": shape::word(status.breaker_state().as_str_name(), "BREAKER_STATE_"),
        "breaker_cause": Some(cause).filter(|cause| cause != "unspecified"),
        "date_breaker_opened": date(status.breaker_open_time.as_ref()),
        "date_next_probe": date(status.next_probe_time.as_ref()),
        "last_failure": status.last_failure.as_ref().map(|failure| json!({
            "date": date(failure.time.as_ref()),
            "http_status": Some(failure.http_status).filter(|status| *status > 0),
            "error_code": failure.error_code,
            "detail": failure.detail,
        })),
        "delivered_per_second": status.delivered_per_second,
        "failed_per_second": status.failed_per_second,
    })
}

fn date(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.map(|time| shape::time(Some(time)))
}

fn millis(time: Option<&prost_types::Timestamp>) -> i64 {
    time.map_or(0, |time| {
        time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000)
    })
}

/// A span of time in seconds; none that is negative.
fn span(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// Bytes in a unit that reads well; 1 kB is 1,024 bytes.
fn size(bytes: u64) -> String {
    match bytes {
        0..=1_023 => format!("{bytes} B"),
        1_024..=1_048_575 => format!("{} kB", bytes / 1_024),
        _ => format!("{} MB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn down() -> v1::DeliveryStatus {
        v1::DeliveryStatus {
            status_time: at(1_000),
            backlog_events: 12,
            backlog_bytes: 3_000,
            oldest_event_time: at(910),
            breaker_state: v1::BreakerState::Open.into(),
            breaker_cause: v1::BreakerCause::InARow.into(),
            breaker_open_time: at(940),
            next_probe_time: at(1_004),
            last_failure: Some(v1::DeliveryFailure {
                time: at(999),
                http_status: 503,
                error_code: 91306,
                detail: "over\n\x1b[31mloaded".to_owned(),
            }),
            failed_per_second: 0.25,
            ..v1::DeliveryStatus::default()
        }
    }

    #[test]
    fn a_sink_that_is_down_reads_as_such() {
        let shown = block("DG1", &down());
        for line in [
            "breaker:       open for 1m (5 failures in a row), next probe in 4s",
            "backlog:       12 events, 2 kB",
            "oldest event:  1m 30s",
            "last failure:  1s ago: HTTP 503 (error 91306) over [31mloaded",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
        }
        let json = to_json("DG1", &down());
        assert_eq!((&json["breaker"], &json["oldest_event_seconds"]), (&"open".into(), &90.into()));
        assert_eq!(json["last_failure"]["http_status"], 503);
    }

    #[test]
    fn a_watched_block_replaces_the_one_before_on_a_terminal_only() {
        assert_eq!(framed("a\nb", true, false, 0), "\x1b[?7la\nb\x1b[?7h");
        assert_eq!(framed("a\nb", true, false, 2), "\x1b[2A\r\x1b[J\x1b[?7la\nb\x1b[?7h");
        assert_eq!(framed("a\nb", false, false, 2), "a\nb\n");
        assert_eq!(framed("{}", false, true, 1), "{}");
    }
}
