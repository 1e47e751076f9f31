//! Reports as entries of the logs: pure.

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::{AccountSid, SinkSid, Timestamp};
use millrace_proto::internal::{
    AttemptOutcome, AttemptReport, AttemptReports, DropReason, DropReport, DropReports, SinkReport,
};
use millrace_queue::Report;
use millrace_store::logs::{
    AttemptEntry, AttemptResult, DropCause, DropEntry, Entries, ErrorEntry, LogId, Place,
};
use prost::Message;

/// Which log an id is of, for ever: places of several logs are the same.
mod log {
    pub(super) const ATTEMPTS: u8 = 0;
    pub(super) const ERRORS: u8 = 1;
    pub(super) const DROPS: u8 = 2;
}

/// What reports say.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) entries: Entries,
    /// Turns in sinks' health, in order.
    pub(super) turns: Vec<SinkReport>,
    /// Problems of requests that carried what Millrace tells of sinks.
    pub(super) about_itself: Vec<LogId>,
    /// Reports that nobody can read.
    pub(super) unreadable: u64,
}

impl Gathered {
    pub(super) fn of(attempts: &[Report], drops: &[Report]) -> Self {
        let mut gathered = Self::default();
        for report in attempts {
            match AttemptReports::decode(report.body.clone()) {
                Ok(AttemptReports { attempts }) => {
                    for (index, attempt) in (0..).zip(attempts) {
                        gathered.add_attempt(report, index, attempt);
                    }
                }
                Err(_) => gathered.unreadable += 1,
            }
        }
        for report in drops {
            match DropReports::decode(report.body.clone()) {
                Ok(DropReports { drops, sinks }) => {
                    for (index, dropped) in (0..).zip(drops) {
                        gathered.add_drop(report, index, dropped);
                    }
                    gathered.turns.extend(sinks);
                }
                Err(_) => gathered.unreadable += 1,
            }
        }
        gathered
    }

    fn add_attempt(&mut self, report: &Report, index: u32, attempt: AttemptReport) {
        let (Some(account), Some(sink)) = (account(&attempt.account), sink(&attempt.sink)) else {
            return self.unreadable += 1;
        };
        let started = Timestamp::from_millis(attempt.started_ms);
        let result = match attempt.outcome() {
            AttemptOutcome::Delivered => AttemptResult::Delivered,
            AttemptOutcome::Discard => AttemptResult::Discard,
            AttemptOutcome::Retry | AttemptOutcome::Unspecified => AttemptResult::Retry,
        };
        let http_status = u16::try_from(attempt.http_status).unwrap_or(0);
        let detail = clean(attempt.detail);
        if result != AttemptResult::Delivered {
            let id = LogId::of(started, &place(log::ERRORS, report, index));
            if attempt.about_itself {
                self.about_itself.push(id);
            }
            self.entries.errors.push(ErrorEntry {
                id,
                reported: report.id.accepted(),
                account,
                sink,
                error_code: attempt.error_code,
                http_status,
                attempt: attempt.attempt,
                detail: detail.clone(),
                event_ids: attempt.event_ids.clone(),
            });
        }
        self.entries.attempts.push(AttemptEntry {
            id: LogId::of(started, &place(log::ATTEMPTS, report, index)),
            reported: report.id.accepted(),
            account,
            sink,
            duration: Duration::from_millis(u64::from(attempt.duration_ms)),
            result,
            http_status,
            error_code: attempt.error_code,
            attempt: attempt.attempt,
            detail,
            event_ids: attempt.event_ids,
        });
    }

    fn add_drop(&mut self, report: &Report, index: u32, dropped: DropReport) {
        let (Some(account), Some(sink)) = (account(&dropped.account), sink(&dropped.sink)) else {
            return self.unreadable += 1;
        };
        let at = Timestamp::from_millis(dropped.dropped_ms);
        let cause = match dropped.reason() {
            DropReason::Rejected => DropCause::Rejected,
            DropReason::Expired => DropCause::Expired,
            DropReason::SinkDeleted => DropCause::SinkDeleted,
            DropReason::AccountClosed => DropCause::AccountClosed,
            DropReason::Undeliverable | DropReason::Unspecified => DropCause::Undeliverable,
        };
        self.entries.drops.push(DropEntry {
            id: LogId::of(at, &place(log::DROPS, report, index)),
            reported: report.id.accepted(),
            account,
            sink,
            event_id: dropped.event_id,
            event_type: dropped.event_type,
            accepted: Timestamp::from_millis(dropped.accepted_ms),
            cause,
            error_code: dropped.error_code,
            schema_version: dropped.schema_version,
            size: u32::try_from(dropped.event.len()).unwrap_or(u32::MAX),
            kept: true,
            event: Some(dropped.event),
            resent: None,
        });
    }
}

fn place(log: u8, report: &Report, index: u32) -> Place {
    let (entry_ms, entry_seq) = (report.id.ms, report.id.seq);
    Place { log, partition: report.partition, entry_ms, entry_seq, index }
}

/// Text of receivers may hold NUL, which PostgreSQL's text cannot.
fn clean(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn sid(bytes: &Bytes) -> Option<u128> {
    Some(u128::from_be_bytes(bytes.as_ref().try_into().ok()?))
}

/// Reads an account's SID.
pub(super) fn account(bytes: &Bytes) -> Option<AccountSid> {
    sid(bytes).map(AccountSid::from_u128)
}

/// Reads a sink's SID.
pub(super) fn sink(bytes: &Bytes) -> Option<SinkSid> {
    sid(bytes).map(SinkSid::from_u128)
}

#[cfg(test)]
mod tests {
    use millrace_domain::Partition;
    use millrace_queue::EntryId;

    use super::*;

    fn report(body: impl Message) -> Report {
        let id = EntryId { ms: 1_000, seq: 2 };
        Report { partition: Partition(3), id, body: body.encode_to_vec().into() }
    }

    #[test]
    fn a_failed_request_is_an_attempt_and_a_problem() {
        let failed = AttemptReport {
            account: Bytes::from(vec![1; 16]),
            sink: Bytes::from(vec![2; 16]),
            started_ms: 900,
            outcome: AttemptOutcome::Retry.into(),
            error_code: 91306,
            detail: "a\0b".to_owned(),
            about_itself: true,
            ..AttemptReport::default()
        };
        let delivered = AttemptReport {
            outcome: AttemptOutcome::Delivered.into(),
            about_itself: false,
            ..failed.clone()
        };
        let body = AttemptReports { attempts: vec![failed, delivered] };
        let gathered = Gathered::of(&[report(body.clone())], &[]);
        let again = Gathered::of(&[report(body)], &[]);
        let Entries { attempts, errors, .. } = &gathered.entries;
        assert_eq!((attempts.len(), errors.len()), (2, 1));
        assert_eq!((errors[0].detail.as_str(), errors[0].id.at().as_millis()), ("a\u{fffd}b", 900));
        assert_eq!(gathered.about_itself, [errors[0].id]);
        assert_ne!(attempts[0].id, attempts[1].id);
        assert_eq!(again.entries.attempts[1].id, attempts[1].id, "the same in the same place");
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_holds_nothing_up() {
        let broken = Report { body: Bytes::from_static(b"\xff"), ..report(DropReports::default()) };
        let drops = vec![DropReport::default()];
        let body = report(DropReports { drops, sinks: vec![SinkReport::default()] });
        let gathered = Gathered::of(std::slice::from_ref(&broken), &[broken.clone(), body]);
        assert_eq!((gathered.unreadable, gathered.turns.len()), (3, 1));
    }
}
