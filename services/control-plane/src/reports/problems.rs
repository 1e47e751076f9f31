//! Tells accounts of problems, grouped: of the first at once, then of many together. What is told of is an event of its own type,
//! and a problem with delivering such an event is told of nobody.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_domain::{AccountSid, SinkSid, Timestamp};
use millrace_store::{
    Error, LogStore, Page,
    logs::{ErrorCount, ErrorNotice, LogId, LogQuery},
};
use serde_json::json;

use super::entries::Gathered;
use crate::{
    announce::{Announcement, Announcer},
    logs::codes,
    random,
};

/// Type of the events.
const ERROR_LOGGED: &str = "com.twilio.error-logs.error.logged";
/// How often groups are looked at that were last told of long ago.
const PERIOD: Duration = Duration::from_secs(60);

/// Tells of problems.
pub(crate) struct Problems {
    logs: Arc<dyn LogStore>,
    looked: Option<Instant>,
}

impl Problems {
    pub(crate) fn new(logs: Arc<dyn LogStore>) -> Self {
        Self { logs, looked: None }
    }

    /// Counts problems that are new, and tells of those whose turn it is.
    pub(super) async fn count(
        &self,
        gathered: &Gathered,
        new: &HashSet<LogId>,
        announcer: &mut Announcer,
    ) {
        let silent: HashSet<_> = gathered.about_itself.iter().collect();
        let mut found: HashMap<(AccountSid, SinkSid, u32), u64> = HashMap::new();
        for entry in &gathered.entries.errors {
            if new.contains(&entry.id) && !silent.contains(&entry.id) {
                *found.entry((entry.account, entry.sink, entry.error_code)).or_default() += 1;
            }
        }
        if found.is_empty() {
            return;
        }
        let count = |((account, sink, code), more)| ErrorCount { account, sink, code, more };
        let found: Vec<_> = found.into_iter().map(count).collect();
        let now = random::now();
        let notices = self.logs.count_errors(&found, now).await;
        self.tell(notices, now, announcer).await;
    }

    /// Now and then: tells of what was not told of for long.
    pub(super) async fn look(&mut self, now: Timestamp, announcer: &mut Announcer) {
        if self.looked.is_some_and(|looked| looked.elapsed() < PERIOD) {
            return;
        }
        self.looked = Some(Instant::now());
        let notices = self.logs.due_errors(now).await;
        self.tell(notices, now, announcer).await;
    }

    async fn tell(
        &self,
        notices: Result<Vec<ErrorNotice>, Error>,
        now: Timestamp,
        announcer: &mut Announcer,
    ) {
        match notices {
            Ok(notices) => {
                for notice in notices {
                    announcer.add(self.news(&notice, now).await);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot count problems: some are not told of"),
        }
    }

    /// The event, with the latest problem of its group
    /// (<https://www.twilio.com/docs/events/event-types/errors/error-logs>).
    async fn news(&self, notice: &ErrorNotice, now: Timestamp) -> Announcement {
        let query = LogQuery {
            sink: Some(notice.sink),
            error_code: Some(notice.code),
            ..LogQuery::of(notice.account)
        };
        let latest = self.logs.errors(&query, &Page { after: None, limit: 1 }).await;
        let latest = latest.ok().and_then(|entries| entries.into_iter().next());
        let id = latest.as_ref().map_or_else(
            || uuid::Uuid::now_v7().as_simple().to_string(),
            |entry| entry.id.to_string(),
        );
        let meaning = codes::of(notice.code);
        let sid = format!("NO{id}");
        let payload = json!({
            "error_code": notice.code,
            "legacy_error_code": meaning.legacy,
            "message": meaning.message,
            "sink_sid": notice.sink,
            "resource_sid": notice.sink,
            "http_status": latest.as_ref().map(|entry| entry.http_status).filter(|status| *status != 0),
            "detail": latest.as_ref().map(|entry| entry.detail.as_str()),
            "event_ids": latest.as_ref().map(|entry| entry.event_ids.as_slice()),
            "errors": notice.group.count,
        });
        let data = json!({
            "sid": sid,
            "account_sid": notice.account,
            "date_created": now.to_rfc3339_seconds(),
            "level": meaning.level,
            "product_name": "Event Streams",
            "error_code": notice.code.to_string(),
            "payload": payload.to_string(),
        });
        Announcement {
            id: sid,
            event_type: ERROR_LOGGED,
            account: notice.account,
            sink: notice.sink,
            at: now,
            data,
        }
    }
}
