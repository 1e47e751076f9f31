//! How much each account has parked, and who has as much as it may: routers refuse those alone, until less waits.
//!
//! An account's sinks have one home, so the owner of that partition counts all of the account. Where nobody is full, nothing is
//! said to the queue; what was said runs out by itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use millrace_domain::{AccountSid, SinkSid};
use millrace_proto::internal::BacklogState;
use millrace_queue::Result;
use millrace_runtime::{CancellationToken, sections::QueueSettings};
use tokio::time::{Instant, sleep};

use crate::{context::Context, ownership::Tenures};

/// How often accounts are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a full account stays full unless it is said again: over the gap between two looks, and a slow queue.
const LASTING: Duration = Duration::from_secs(5);
/// How often the queue is asked for its memory while something is parked.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// The part of the room below the high-water mark that is one account's: a quarter.
const SHARE: u64 = 4;

/// What the accounts of a partition have parked.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    sinks: HashMap<SinkSid, (AccountSid, u64)>,
    accounts: HashMap<AccountSid, u64>,
}

impl Parked {
    /// Notes what a sink has parked now; `None`: nothing.
    pub(crate) fn note(&self, sink: SinkSid, state: Option<&BacklogState>) {
        let account = state.and_then(|state| account(&state.account).map(|sid| (sid, state.bytes)));
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match account {
            Some(now) => counted.sinks.insert(sink, now),
            None => counted.sinks.remove(&sink),
        };
        if let Some((account, bytes)) = account {
            *counted.accounts.entry(account).or_default() += bytes;
        }
        let Some((account, bytes)) = before else { return };
        if let Some(sum) = counted.accounts.get_mut(&account) {
            *sum = sum.saturating_sub(bytes);
            if *sum == 0 {
                counted.accounts.remove(&account);
            }
        }
    }

    /// The accounts that have at least `limit` bytes parked, and whether any has something.
    fn full(&self, limit: u64) -> (Vec<AccountSid>, bool) {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = counted.accounts.iter().filter(|(_, bytes)| **bytes >= limit);
        (full.map(|(account, _)| *account).collect(), !counted.accounts.is_empty())
    }
}

fn account(bytes: &[u8]) -> Option<AccountSid> {
    Some(AccountSid::from_u128(u128::from_be_bytes(bytes.try_into().ok()?)))
}

/// Says who is full, as long as somebody is.
pub(crate) struct Quota {
    pub(crate) cx: Arc<Context>,
    pub(crate) tenures: Arc<Tenures>,
    pub(crate) settings: QueueSettings,
}

impl Quota {
    /// Looks at accounts until `stopping`.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        if self.settings.account_backlog_bytes == Some(0) {
            return;
        }
        let (mut limit, mut said, mut told) = (Limit::default(), None, false);
        // Cut off between two looks or inside one: what was said runs out.
        while stopping.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
            match self.look(&mut limit, &mut said).await {
                Ok(()) => told = false,
                Err(error) if !std::mem::replace(&mut told, true) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot say which accounts have as much waiting as they may, will try again"
                ),
                Err(_) => {}
            }
        }
    }

    async fn look(&self, limit: &mut Limit, said: &mut Option<(Instant, usize)>) -> Result<()> {
        let tenures = self.tenures.serving();
        let look = |bytes| {
            let (mut full, mut some) = (Vec::new(), false);
            for tenure in tenures.values() {
                let (more, parks) = tenure.parked.full(bytes);
                full.extend(more);
                some |= parks;
            }
            (full, some)
        };
        let bytes = if look(u64::MAX).1 { self.limit(limit).await? } else { None };
        let full = bytes.map_or_else(Vec::new, |bytes| look(bytes).0);
        metrics::gauge!("millrace_accounts_full")
            .set(f64::from(u32::try_from(full.len()).unwrap_or(u32::MAX)));
        let due = said.is_none_or(|(at, accounts)| {
            accounts != full.len() || at.elapsed() + LOOK_EVERY * 2 >= LASTING
        });
        if !full.is_empty() && due {
            self.cx.queue.set_full(&full, LASTING).await?;
            if said.is_none() {
                tracing::warn!(
                    accounts = full.len(),
                    bytes,
                    "accounts have as much waiting as they may: their publishes are refused"
                );
            }
        }
        match full.len() {
            0 => *said = None,
            accounts if due => *said = Some((Instant::now(), accounts)),
            _ => {}
        }
        Ok(())
    }

    /// What an account may have parked; `None`: as much as it likes.
    async fn limit(&self, limit: &mut Limit) -> Result<Option<u64>> {
        if let Some(bytes) = self.settings.account_backlog_bytes {
            return Ok(Some(bytes));
        }
        if limit.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            let pressure = self.cx.queue.pressure().await?;
            let mark = pressure.mark_bytes(self.settings.high_water_percent);
            *limit = Limit { asked: Some(Instant::now()), bytes: mark.map(|bytes| bytes / SHARE) };
        }
        Ok(limit.bytes)
    }
}

/// What the queue's memory comes to for one account.
#[derive(Default)]
struct Limit {
    asked: Option<Instant>,
    bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use millrace_queue::chunk::account_bytes;

    use super::*;

    #[test]
    fn an_account_is_full_by_all_its_sinks_together() {
        let [a, b] = [1, 2].map(AccountSid::from_u128);
        let parked = Parked::default();
        let note = |sink, account, bytes| {
            let account = account_bytes(account);
            let state = BacklogState { account, bytes, events: 1, ..BacklogState::default() };
            parked.note(SinkSid::from_u128(sink), Some(&state));
        };
        assert_eq!(parked.full(10), (vec![], false));
        note(1, a, 6);
        note(2, b, 9);
        assert_eq!(parked.full(10), (vec![], true));
        note(3, a, 4);
        assert_eq!(parked.full(10), (vec![a], true));
        note(1, a, 5);
        assert_eq!(parked.full(10), (vec![], true), "drained in part");
        note(2, b, 10);
        assert_eq!(parked.full(10), (vec![b], true));
        (1..=3).for_each(|sink| parked.note(SinkSid::from_u128(sink), None));
        assert_eq!(parked.full(1), (vec![], false));
        parked.note(
            SinkSid::from_u128(1),
            Some(&BacklogState { bytes: 99, ..BacklogState::default() }),
        );
        assert_eq!(parked.full(1), (vec![], false), "nobody's: its state was damaged");
    }
}
