//! How many events were dropped, by sink and minute: one event tells of them all. A minute that a crash cuts short is not told of;
//! the log of drops has it.

use std::collections::{BTreeMap, HashMap};

use millrace_domain::{AccountSid, SinkSid, Timestamp};
use millrace_store::logs::{DropCause, DropEntry};
use serde_json::json;

use crate::announce::{Announcement, Announcer};

const EVENTS_DROPPED: &str = "io.millrace.sink.events-dropped";
const MINUTE_MS: i64 = 60_000;

/// Drops of a minute that is not told of yet.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    minute: i64,
    sinks: HashMap<(AccountSid, SinkSid), BTreeMap<&'static str, u64>>,
}

impl Tally {
    /// Counts what was dropped, but for what Millrace tells itself.
    pub(super) fn count<'a>(&mut self, dropped: impl Iterator<Item = &'a DropEntry>) {
        for entry in dropped {
            let itself = entry.event_type.starts_with("io.millrace.sink.")
                || entry.event_type.starts_with("com.twilio.error-logs.");
            if !itself {
                let causes = self.sinks.entry((entry.account, entry.sink)).or_default();
                *causes.entry(word(entry.cause)).or_default() += 1;
            }
        }
    }

    /// Tells of the minute that is over; `all`: also of the one that is not.
    pub(super) fn tell(&mut self, now: Timestamp, announcer: &mut Announcer, all: bool) {
        let minute = now.as_millis().div_euclid(MINUTE_MS);
        if minute == self.minute && !all {
            return;
        }
        let from = Timestamp::from_millis(self.minute.max(minute - 1) * MINUTE_MS);
        self.minute = minute;
        for ((account, sink), causes) in self.sinks.drain() {
            let data = json!({
                "account_sid": account,
                "sink_sid": sink,
                "date": now.to_rfc3339_millis(),
                "count": causes.values().sum::<u64>(),
                "reasons": causes,
            });
            let id = format!(
                "{EVENTS_DROPPED}/{sink}/{}/{}",
                from.as_millis(),
                uuid::Uuid::now_v7().as_simple()
            );
            announcer.add(Announcement {
                id,
                event_type: EVENTS_DROPPED,
                account,
                sink,
                at: now,
                data,
            });
        }
    }
}

/// A cause as REST and events spell it.
pub(crate) fn word(cause: DropCause) -> &'static str {
    match cause {
        DropCause::Rejected => "rejected",
        DropCause::Expired => "expired",
        DropCause::SinkDeleted => "sink-deleted",
        DropCause::AccountClosed => "account-closed",
        DropCause::Undeliverable => "undeliverable",
    }
}
