//! `millrace.v1.LogService`.

use millrace_domain::{AccountSid, SinkSid, Timestamp};
use millrace_proto::{
    time_from_wire,
    v1::{self, log_service_server::LogService},
    wire_time,
};
use millrace_store::{
    Page,
    logs::{AttemptEntry, AttemptResult, DropCause, DropEntry, ErrorEntry, LogId, LogQuery},
};
use tonic::{Request, Response, Status};

use super::{Asked, Face, optional_sid, scope, sid};
use crate::{
    auth::Caller,
    logs::{RESEND_MAX, Resend, around, codes, event_id},
    random,
    status::{Failure, code},
};

/// What all lists are asked for.
struct Common<'a> {
    account_sid: &'a str,
    sink_sid: &'a str,
    event_id: &'a str,
    start_time: Option<prost_types::Timestamp>,
    end_time: Option<prost_types::Timestamp>,
}

impl Face {
    async fn query(&self, caller: Caller, asked: Common<'_>) -> Result<LogQuery, Failure> {
        let named: Option<AccountSid> = optional_sid("account_sid", asked.account_sid)?;
        let sink: Option<SinkSid> = optional_sid("sink_sid", asked.sink_sid)?;
        let account = self.app.logs.account(caller, named, sink).await?;
        Ok(LogQuery {
            sink,
            event_id: Some(event_id("event_id", asked.event_id)?).filter(|id| !id.is_empty()),
            since: time("start_time", asked.start_time)?,
            until: time("end_time", asked.end_time)?,
            ..LogQuery::of(account)
        })
    }
}

#[tonic::async_trait]
impl LogService for Face {
    async fn list_attempts(
        &self,
        request: Request<v1::ListAttemptsRequest>,
    ) -> Result<Response<v1::ListAttemptsResponse>, Status> {
        self.within(request, |caller, request| async move {
            let mut query = self
                .query(
                    caller,
                    Common {
                        account_sid: &request.account_sid,
                        sink_sid: &request.sink_sid,
                        event_id: &request.event_id,
                        start_time: request.start_time,
                        end_time: request.end_time,
                    },
                )
                .await?;
            let at = time("event_time", request.event_time)?;
            if let Some(id) = &query.event_id {
                let (since, until) = around(id, at, random::now());
                query.since = query.since.or(Some(since));
                query.until = query.until.or(until);
            }
            query.result = match request.outcome() {
                v1::AttemptOutcome::Unspecified => None,
                v1::AttemptOutcome::Delivered => Some(AttemptResult::Delivered),
                v1::AttemptOutcome::Retry => Some(AttemptResult::Retry),
                v1::AttemptOutcome::Discard => Some(AttemptResult::Discard),
            };
            query.error_code = error_code(request.error_code)?;
            let rest = v1::ListAttemptsRequest {
                page_size: 0,
                page_token: String::new(),
                ..request.clone()
            };
            let scope = scope("attempts", Some(query.account), &rest);
            let asked = Asked::<LogId>::read(scope, request.page_size, &request.page_token)?;
            let page = Page { after: asked.after, limit: asked.size + 1 };
            let mut found = self.app.logs.attempts(&query, &page).await?;
            let next_page_token = asked.next(&mut found, |entry| entry.id);
            let attempts = found.iter().map(attempt).collect();
            Ok(Response::new(v1::ListAttemptsResponse { attempts, next_page_token }))
        })
        .await
    }

    async fn list_error_logs(
        &self,
        request: Request<v1::ListErrorLogsRequest>,
    ) -> Result<Response<v1::ListErrorLogsResponse>, Status> {
        self.within(request, |caller, request| async move {
            let mut query = self
                .query(
                    caller,
                    Common {
                        account_sid: &request.account_sid,
                        sink_sid: &request.sink_sid,
                        event_id: &request.event_id,
                        start_time: request.start_time,
                        end_time: request.end_time,
                    },
                )
                .await?;
            if let (Some(id), None) = (&query.event_id, query.since) {
                let (since, until) = around(id, None, random::now());
                (query.since, query.until) = (Some(since), query.until.or(until));
            }
            query.error_code = error_code(request.error_code)?;
            let rest = v1::ListErrorLogsRequest {
                page_size: 0,
                page_token: String::new(),
                ..request.clone()
            };
            let scope = scope("error_logs", Some(query.account), &rest);
            let asked = Asked::<LogId>::read(scope, request.page_size, &request.page_token)?;
            let page = Page { after: asked.after, limit: asked.size + 1 };
            let mut found = self.app.logs.errors(&query, &page).await?;
            let next_page_token = asked.next(&mut found, |entry| entry.id);
            let error_logs = found.iter().map(error_log).collect();
            Ok(Response::new(v1::ListErrorLogsResponse { error_logs, next_page_token }))
        })
        .await
    }

    async fn list_dropped_events(
        &self,
        request: Request<v1::ListDroppedEventsRequest>,
    ) -> Result<Response<v1::ListDroppedEventsResponse>, Status> {
        self.within(request, |caller, request| async move {
            sid::<SinkSid>("sink_sid", &request.sink_sid)?;
            let mut query = self
                .query(
                    caller,
                    Common {
                        account_sid: &request.account_sid,
                        sink_sid: &request.sink_sid,
                        event_id: &request.event_id,
                        start_time: request.start_time,
                        end_time: request.end_time,
                    },
                )
                .await?;
            query.cause = cause(request.reason());
            query.resent = request.resent;
            let rest = v1::ListDroppedEventsRequest {
                page_size: 0,
                page_token: String::new(),
                ..request.clone()
            };
            let scope = scope("dropped_events", Some(query.account), &rest);
            let asked = Asked::<LogId>::read(scope, request.page_size, &request.page_token)?;
            let page = Page { after: asked.after, limit: asked.size + 1 };
            let mut found = self.app.logs.drops(&query, &page).await?;
            let next_page_token = asked.next(&mut found, |entry| entry.id);
            let dropped_events = found.iter().map(dropped_event).collect();
            Ok(Response::new(v1::ListDroppedEventsResponse { dropped_events, next_page_token }))
        })
        .await
    }

    async fn resend_dropped_events(
        &self,
        request: Request<v1::ResendDroppedEventsRequest>,
    ) -> Result<Response<v1::ResendDroppedEventsResponse>, Status> {
        self.within(request, |caller, request| async move {
            sid::<SinkSid>("sink_sid", &request.sink_sid)?;
            let mut query = self
                .query(
                    caller,
                    Common {
                        account_sid: &request.account_sid,
                        sink_sid: &request.sink_sid,
                        event_id: &request.event_id,
                        start_time: request.start_time,
                        end_time: request.end_time,
                    },
                )
                .await?;
            query.resent = (!request.again).then_some(false);
            let to = optional_sid("to_sink_sid", &request.to_sink_sid)?;
            let size = if request.page_size == 0 { 1_000 } else { request.page_size };
            let rest = v1::ResendDroppedEventsRequest {
                page_size: 0,
                page_token: String::new(),
                ..request.clone()
            };
            let scope = scope("resent", Some(query.account), &rest);
            let asked = Asked::<LogId>::read(scope, size, &request.page_token)?;
            let page = Page { after: asked.after, limit: asked.size.min(RESEND_MAX) };
            let resent = self.app.logs.resend(Resend { query, to, page }).await?;
            Ok(Response::new(v1::ResendDroppedEventsResponse {
                resent_count: wire(resent.count),
                next_page_token: resent.next.map(|id| scope.token(&id)).unwrap_or_default(),
            }))
        })
        .await
    }
}

/// Reads a time that may be missing.
pub(super) fn time(
    field: &str,
    time: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Failure> {
    let wrong = || Failure::invalid(code::BAD_REQUEST, field, "is no time");
    time.map(|time| time_from_wire(&time).ok_or_else(wrong)).transpose()
}

fn error_code(asked: i32) -> Result<Option<u32>, Failure> {
    let wrong = |_| Failure::invalid(code::BAD_REQUEST, "error_code", "is no error code");
    Ok(Some(u32::try_from(asked).map_err(wrong)?).filter(|code| *code != 0))
}

fn wire(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

fn cause(reason: v1::DropReason) -> Option<DropCause> {
    match reason {
        v1::DropReason::Unspecified => None,
        v1::DropReason::Rejected => Some(DropCause::Rejected),
        v1::DropReason::Expired => Some(DropCause::Expired),
        v1::DropReason::SinkDeleted => Some(DropCause::SinkDeleted),
        v1::DropReason::AccountClosed => Some(DropCause::AccountClosed),
        v1::DropReason::Undeliverable => Some(DropCause::Undeliverable),
    }
}

/// An attempt as the wire has it.
pub(crate) fn attempt(entry: &AttemptEntry) -> v1::Attempt {
    let outcome = match entry.result {
        AttemptResult::Delivered => v1::AttemptOutcome::Delivered,
        AttemptResult::Retry => v1::AttemptOutcome::Retry,
        AttemptResult::Discard => v1::AttemptOutcome::Discard,
    };
    v1::Attempt {
        id: entry.id.to_string(),
        account_sid: entry.account.to_string(),
        sink_sid: entry.sink.to_string(),
        start_time: Some(wire_time(entry.id.at())),
        duration: prost_types::Duration::try_from(entry.duration).ok(),
        outcome: outcome.into(),
        http_status: i32::from(entry.http_status),
        error_code: wire(entry.error_code),
        detail: entry.detail.clone(),
        event_ids: entry.event_ids.clone(),
        attempt: wire(entry.attempt),
    }
}

fn error_log(entry: &ErrorEntry) -> v1::ErrorLog {
    let meaning = codes::of(entry.error_code);
    v1::ErrorLog {
        sid: format!("NO{}", entry.id),
        account_sid: entry.account.to_string(),
        sink_sid: entry.sink.to_string(),
        time: Some(wire_time(entry.id.at())),
        level: meaning.level.to_owned(),
        error_code: wire(entry.error_code),
        legacy_error_code: wire(meaning.legacy),
        message: meaning.message.to_owned(),
        http_status: i32::from(entry.http_status),
        detail: entry.detail.clone(),
        event_ids: entry.event_ids.clone(),
        attempt: wire(entry.attempt),
    }
}

/// Why an event was given up, as the wire has it.
pub(crate) fn reason(cause: DropCause) -> v1::DropReason {
    match cause {
        DropCause::Rejected => v1::DropReason::Rejected,
        DropCause::Expired => v1::DropReason::Expired,
        DropCause::SinkDeleted => v1::DropReason::SinkDeleted,
        DropCause::AccountClosed => v1::DropReason::AccountClosed,
        DropCause::Undeliverable => v1::DropReason::Undeliverable,
    }
}

fn dropped_event(entry: &DropEntry) -> v1::DroppedEvent {
    v1::DroppedEvent {
        id: entry.id.to_string(),
        account_sid: entry.account.to_string(),
        sink_sid: entry.sink.to_string(),
        event_id: entry.event_id.clone(),
        event_type: entry.event_type.clone(),
        accept_time: Some(wire_time(entry.accepted)),
        drop_time: Some(wire_time(entry.id.at())),
        reason: reason(entry.cause).into(),
        error_code: wire(entry.error_code),
        schema_version: wire(entry.schema_version),
        size_bytes: i64::from(entry.size),
        kept: entry.kept,
        resend_time: entry.resent.map(wire_time),
    }
}
