//! `/v1/Sinks/{Sid}/Attempts`, `/v1/Sinks/{Sid}/DroppedEvents`, `/v1/Events/{Id}/Attempts`, `/v1/ErrorLogs`: what became of events.
//! An extension of `events/v1`; lists are newest first, and their pages lead forward only.

use std::{cmp::Reverse, fmt, str::FromStr, sync::Arc};

use axum::{extract::State, http::StatusCode};
use millrace_domain::{AccountSid, SinkSid, Timestamp};
use millrace_store::{
    Page,
    logs::{AttemptEntry, AttemptResult, DropCause, DropEntry, ErrorEntry, LogId, LogQuery},
};
use serde_json::{Value, json};

use super::{
    answer::{Answer, json as answer},
    form::Fields,
    listing::{Paged, Place, wrong_token},
    request::{ACCOUNT_HEADER, At, Base, Form, Query},
    sinks::parse_sid,
};
use crate::{
    App,
    auth::Caller,
    logs::{RESEND_MAX, Resend, around, codes, event_id},
    paging::Scope,
    random,
    reports::tally::word,
    status::{Failure, code},
};

/// A key in a list that is newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newest<K>(pub(super) Reverse<K>);

impl<K: fmt::Display> fmt::Display for Newest<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.fmt(f)
    }
}

impl<K: FromStr> FromStr for Newest<K> {
    type Err = K::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|key| Self(Reverse(key)))
    }
}

fn page(after: Option<Newest<LogId>>, limit: u32) -> Page<LogId> {
    Page { after: after.map(|Newest(Reverse(id))| id), limit }
}

pub(super) async fn attempts_of_sink(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(sid): At<String>,
    Query(query): Query,
) -> Answer {
    let sink = parse_sid(&sid)?;
    let account = app.logs.account(caller, None, Some(sink)).await?;
    let mut asked = LogQuery { sink: Some(sink), ..LogQuery::of(account) };
    read(&query, &mut asked)?;
    asked.event_id = event_in(&query)?;
    bound(&mut asked, time(&query, "EventTime")?);
    let path = format!("/v1/Sinks/{sink}/Attempts");
    list_attempts(&app, &base, &query, (&asked, &path)).await
}

pub(super) async fn attempts_of_event(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(id): At<String>,
    Query(query): Query,
) -> Answer {
    let mut asked = LogQuery::of(caller.account(ACCOUNT_HEADER, None)?);
    read(&query, &mut asked)?;
    let id = event_id("EventId", &id)?;
    let (since, until) = around(&id, time(&query, "EventTime")?, random::now());
    (asked.since, asked.until) = (asked.since.or(Some(since)), asked.until.or(until));
    let segment: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let path = format!("/v1/Events/{segment}/Attempts");
    asked.event_id = Some(id);
    list_attempts(&app, &base, &query, (&asked, &path)).await
}

async fn list_attempts(
    app: &App,
    base: &Base,
    query: &Fields,
    (asked, path): (&LogQuery, &str),
) -> Answer {
    let filters = ["StartTime", "EndTime", "Outcome", "ErrorCode", "EventId", "EventTime"];
    let paged = Paged::<Newest<LogId>>::read_forward(query, &filters)?;
    let place = Place { key: "attempts", path, account: Some(asked.account), base };
    let list = |after, limit| async move { app.logs.attempts(asked, &page(after, limit)).await };
    paged.answer(place, list, |entry: &AttemptEntry| Newest(Reverse(entry.id)), attempt).await
}

pub(super) async fn errors(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    Query(query): Query,
) -> Answer {
    let mut asked = LogQuery::of(caller.account(ACCOUNT_HEADER, None)?);
    read(&query, &mut asked)?;
    asked.sink = query.one("SinkSid")?.map(parse_sid).transpose()?;
    asked.event_id = event_in(&query)?;
    bound(&mut asked, time(&query, "EventTime")?);
    let filters = ["StartTime", "EndTime", "ErrorCode", "SinkSid", "EventId", "EventTime"];
    let paged = Paged::<Newest<LogId>>::read_forward(&query, &filters)?;
    let place = Place {
        key: "error_logs",
        path: "/v1/ErrorLogs",
        account: Some(asked.account),
        base: &base,
    };
    let list = |after, limit| {
        let (app, asked) = (&app, &asked);
        async move { app.logs.errors(asked, &page(after, limit)).await }
    };
    paged.answer(place, list, |entry: &ErrorEntry| Newest(Reverse(entry.id)), error_log).await
}

pub(super) async fn drops(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(sid): At<String>,
    Query(query): Query,
) -> Answer {
    let sink = parse_sid(&sid)?;
    let account = app.logs.account(caller, None, Some(sink)).await?;
    let mut asked = LogQuery { sink: Some(sink), ..LogQuery::of(account) };
    read(&query, &mut asked)?;
    asked.event_id = event_in(&query)?;
    asked.resent = flag(&query, "Resent")?;
    asked.cause = query.one("Reason")?.map(reason).transpose()?;
    let path = format!("/v1/Sinks/{sink}/DroppedEvents");
    let filters = ["StartTime", "EndTime", "ErrorCode", "EventId", "Resent", "Reason"];
    let paged = Paged::<Newest<LogId>>::read_forward(&query, &filters)?;
    let place = Place { key: "dropped_events", path: &path, account: Some(account), base: &base };
    let list = |after, limit| {
        let (app, asked) = (&app, &asked);
        async move { app.logs.drops(asked, &page(after, limit)).await }
    };
    paged.answer(place, list, |entry: &DropEntry| Newest(Reverse(entry.id)), dropped_event).await
}

/// Sends dropped events again, a thousand a call: `next_page_token` goes into the next call's `PageToken`.
pub(super) async fn resend(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(sid): At<String>,
    Form(form): Form,
) -> Answer {
    let sink = parse_sid(&sid)?;
    let account = app.logs.account(caller, None, Some(sink)).await?;
    let again = flag(&form, "Again")?.unwrap_or(false);
    let query = LogQuery {
        sink: Some(sink),
        event_id: event_in(&form)?,
        since: time(&form, "StartTime")?,
        until: time(&form, "EndTime")?,
        resent: (!again).then_some(false),
        ..LogQuery::of(account)
    };
    let to: Option<SinkSid> = form.one("ToSinkSid")?.map(parse_sid).transpose()?;
    let scope = resend_scope(account, sink, &form)?;
    let after = match form.one("PageToken")?.filter(|token| !token.is_empty()) {
        Some(token) => Some(scope.key(token).ok_or_else(wrong_token)?),
        None => None,
    };
    let page = Page { after, limit: RESEND_MAX };
    let resent = app.logs.resend(Resend { query, to, page }).await?;
    let shown = json!({
        "resent": resent.count,
        "next_page_token": resent.next.map(|id| scope.token(&id)),
    });
    Ok(answer(StatusCode::ACCEPTED, shown))
}

/// What a token of [`resend`] is good for: the same events for the same sink.
fn resend_scope(account: AccountSid, sink: SinkSid, form: &Fields) -> Result<Scope, Failure> {
    let mut filters = String::new();
    for name in ["EventId", "StartTime", "EndTime", "Again", "ToSinkSid"] {
        filters.push_str(form.one(name)?.unwrap_or_default());
        filters.push('\n');
    }
    let list = format!("/v1/Sinks/{sink}/DroppedEvents/Resend");
    Ok(Scope::of(&list, Some(account), filters.as_bytes()))
}

/// Reads what all lists take.
fn read(query: &Fields, asked: &mut LogQuery) -> Result<(), Failure> {
    (asked.since, asked.until) = (time(query, "StartTime")?, time(query, "EndTime")?);
    asked.error_code = match query.one("ErrorCode")? {
        Some(text) => Some(text.parse().map_err(|_| {
            Failure::invalid(code::BAD_REQUEST, "ErrorCode", "must be a number such as 91306")
        })?),
        None => None,
    };
    asked.result = match query.one("Outcome")? {
        None => None,
        Some("delivered") => Some(AttemptResult::Delivered),
        Some("retry") => Some(AttemptResult::Retry),
        Some("discard") => Some(AttemptResult::Discard),
        Some(_) => {
            let message = "must be `delivered`, `retry` or `discard`";
            return Err(Failure::invalid(code::BAD_REQUEST, "Outcome", message));
        }
    };
    Ok(())
}

pub(super) fn time(fields: &Fields, name: &str) -> Result<Option<Timestamp>, Failure> {
    let wrong =
        || Failure::invalid(code::BAD_REQUEST, name, "must be a time such as 2026-01-02T03:04:05Z");
    let text = fields.one(name)?.filter(|text| !text.is_empty());
    text.map(|text| Timestamp::parse_rfc3339(text).ok_or_else(wrong)).transpose()
}

/// What is asked of an event is looked for around its time, unless it is said since when.
fn bound(asked: &mut LogQuery, at: Option<Timestamp>) {
    if let (Some(id), None) = (&asked.event_id, asked.since) {
        let (since, until) = around(id, at, random::now());
        (asked.since, asked.until) = (Some(since), asked.until.or(until));
    }
}

fn event_in(fields: &Fields) -> Result<Option<String>, Failure> {
    fields.one("EventId")?.map(|text| event_id("EventId", text)).transpose()
}

fn flag(fields: &Fields, name: &str) -> Result<Option<bool>, Failure> {
    match fields.one(name)? {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Failure::invalid(code::BAD_REQUEST, name, "must be `true` or `false`")),
    }
}

fn reason(text: &str) -> Result<DropCause, Failure> {
    Ok(match text {
        "rejected" => DropCause::Rejected,
        "expired" => DropCause::Expired,
        "sink-deleted" => DropCause::SinkDeleted,
        "account-closed" => DropCause::AccountClosed,
        "undeliverable" => DropCause::Undeliverable,
        _ => {
            let message = "must be `rejected`, `expired`, `sink-deleted`, `account-closed` or `undeliverable`";
            return Err(Failure::invalid(code::BAD_REQUEST, "Reason", message));
        }
    })
}

fn attempt(entry: &AttemptEntry) -> Value {
    json!({
        "id": entry.id.to_string(),
        "account_sid": entry.account,
        "sink_sid": entry.sink,
        "start_time": entry.id.at().to_rfc3339_millis(),
        "duration_ms": u64::try_from(entry.duration.as_millis()).unwrap_or(u64::MAX),
        "outcome": match entry.result {
            AttemptResult::Delivered => "delivered",
            AttemptResult::Retry => "retry",
            AttemptResult::Discard => "discard",
        },
        "http_status": some(u32::from(entry.http_status)),
        "error_code": some(entry.error_code),
        "attempt": entry.attempt,
        "detail": entry.detail,
        "event_ids": entry.event_ids,
    })
}

fn error_log(entry: &ErrorEntry) -> Value {
    let meaning = codes::of(entry.error_code);
    json!({
        "sid": format!("NO{}", entry.id),
        "account_sid": entry.account,
        "sink_sid": entry.sink,
        "date_created": entry.id.at().to_rfc3339_millis(),
        "level": meaning.level,
        "error_code": entry.error_code,
        "legacy_error_code": meaning.legacy,
        "message": meaning.message,
        "http_status": some(u32::from(entry.http_status)),
        "attempt": entry.attempt,
        "detail": entry.detail,
        "event_ids": entry.event_ids,
    })
}

fn dropped_event(entry: &DropEntry) -> Value {
    json!({
        "id": entry.id.to_string(),
        "account_sid": entry.account,
        "sink_sid": entry.sink,
        "event_id": entry.event_id,
        "event_type": entry.event_type,
        "date_accepted": entry.accepted.to_rfc3339_millis(),
        "date_dropped": entry.id.at().to_rfc3339_millis(),
        "reason": word(entry.cause),
        "error_code": some(entry.error_code),
        "schema_version": entry.schema_version,
        "size_bytes": entry.size,
        "kept": entry.kept,
        "date_resent": entry.resent.map(Timestamp::to_rfc3339_millis),
    })
}

/// A number whose zero means that there is none.
fn some(number: u32) -> Option<u32> {
    Some(number).filter(|number| *number != 0)
}
