//! What the logs and the queue have of an event.

use bytes::Bytes;
use millrace_domain::{AccountSid, Partition, Timestamp};
use millrace_store::{
    Page,
    logs::{AttemptEntry, DropEntry, LogQuery},
};

use super::{
    Asked, Explain, of_store,
    places::{self, Found},
    scope::named_account,
};
use crate::status::{Failure, unavailable};

/// Most attempts, and most drops, of an explanation.
const ENTRIES_MAX: u32 = 100;
/// Most bytes of dropped events that are read: of one that alone is larger, that one.
const EVENT_BYTES: u64 = 1;

/// What there is of an event at some accounts.
#[derive(Default)]
pub(super) struct Known {
    /// Newest first.
    pub(super) attempts: Vec<AttemptEntry>,
    /// Newest first.
    pub(super) drops: Vec<DropEntry>,
    pub(super) found: Vec<Found>,
    /// The event of a drop, where it is kept.
    dropped: Option<Bytes>,
}

impl Known {
    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty() && self.drops.is_empty() && self.found.is_empty()
    }

    /// The event, where it is still somewhere.
    pub(super) fn event(&self) -> Option<Bytes> {
        let waiting = self.found.iter().find_map(|found| found.event.clone());
        waiting.or_else(|| self.dropped.clone())
    }

    /// Which subaccount the event says it is of.
    pub(super) fn named_account(&self) -> Option<AccountSid> {
        named_account(&self.event()?)
    }

    pub(super) fn event_type(&self) -> Option<String> {
        let found = self.found.iter().map(|found| &found.event_type);
        found.chain(self.drops.iter().map(|drop| &drop.event_type)).next().cloned()
    }

    /// About when it was published.
    pub(super) fn time(&self) -> Option<Timestamp> {
        let accepted = self.found.iter().filter_map(|found| found.accepted);
        let dropped = self.drops.iter().map(|drop| drop.accepted);
        accepted.chain(dropped).chain(self.attempts.iter().map(|attempt| attempt.id.at())).min()
    }

    fn add(&mut self, other: Self) {
        self.attempts.extend(other.attempts);
        self.attempts.sort_by_key(|attempt| std::cmp::Reverse(attempt.id));
        self.attempts.truncate(ENTRIES_MAX as usize);
        self.drops.extend(other.drops);
        self.drops.sort_by_key(|drop| std::cmp::Reverse(drop.id));
        self.found.extend(other.found);
        self.dropped = self.dropped.take().or(other.dropped);
    }
}

impl Explain {
    /// Looks in the logs and in the queue at what each of `seen` has of the event.
    pub(super) async fn known(
        &self,
        asked: &Asked,
        (seen, times): (&[AccountSid], (Timestamp, Option<Timestamp>)),
        notes: &mut Vec<String>,
    ) -> Result<Known, Failure> {
        let mut known = Known::default();
        for account in seen {
            let mut there = self.reported(asked, *account, times).await?;
            match self.look(asked, (*account, times.0), notes).await {
                Ok(found) => there.found = found,
                Err(_) => notes.push(
                    "the queue does not answer: whether the event waits in it is not known"
                        .to_owned(),
                ),
            }
            known.add(there);
        }
        Ok(known)
    }

    async fn reported(
        &self,
        asked: &Asked,
        account: AccountSid,
        (since, until): (Timestamp, Option<Timestamp>),
    ) -> Result<Known, Failure> {
        let event_id = Some(asked.event_id.clone());
        let query = LogQuery { event_id, since: Some(since), until, ..LogQuery::of(account) };
        let page = Page { after: None, limit: ENTRIES_MAX };
        let attempts = self.logs.attempts(&query, &page).await.map_err(of_store)?;
        let drops = self.logs.drops(&query, &page).await.map_err(of_store)?;
        let dropped = match drops.iter().any(|drop| drop.kept) {
            true => {
                let first = Page { after: None, limit: 1 };
                let kept = self.logs.kept_drops(&query, &first, EVENT_BYTES).await;
                kept.map_err(of_store)?.into_iter().find_map(|drop| drop.event)
            }
            false => None,
        };
        Ok(Known { attempts, drops, dropped, ..Known::default() })
    }

    async fn look(
        &self,
        asked: &Asked,
        (account, since): (AccountSid, Timestamp),
        notes: &mut Vec<String>,
    ) -> Result<Vec<Found>, Failure> {
        let home = Partition::home_of(account, self.partitions);
        let sought = places::Sought { event_id: &asked.event_id, account, home, since };
        let looked = places::look(&*self.queue.get()?, &sought).await.map_err(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "cannot look an event up in the queue");
            unavailable()
        })?;
        if !looked.everywhere {
            notes.push("backlogs are long and were looked through only in part".to_owned());
        }
        Ok(looked.found)
    }
}
