//! How sinks are: tells accounts of turns, and keeps the status `failed`.
//!
//! A sink is failed once it has failed for its whole window without a success, or answered 410; a success or an update clears that.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_domain::{AccountSid, SinkSid, SinkStatus, Timestamp, sink::DELIVERY_WINDOW};
use millrace_proto::internal::{SinkReport, SinkTurn};
use millrace_store::{
    Error, LogStore, ResourceStore,
    audit::{Actor, acting_as},
    logs::{AttemptEntry, AttemptResult, FailingSink, LogQuery},
};
use serde_json::{Value, json};

use super::entries;
use crate::announce::{Announcement, Announcer};

/// How often failing sinks are looked at.
const PERIOD: Duration = Duration::from_secs(30);
/// A sink without a failed request for so long is not known to fail still: probes are at most 5 min apart.
const STILL: Duration = Duration::from_secs(15 * 60);

/// Keeps how sinks are.
pub(crate) struct Health {
    store: Arc<dyn ResourceStore>,
    logs: Arc<dyn LogStore>,
    /// As of the last look.
    failed: HashSet<SinkSid>,
    /// When those of them that answered 410 did: what they got before says nothing.
    gone: HashMap<SinkSid, Timestamp>,
    looked: Option<Instant>,
}

impl Health {
    pub(crate) fn new(store: Arc<dyn ResourceStore>, logs: Arc<dyn LogStore>) -> Self {
        Self { store, logs, failed: HashSet::new(), gone: HashMap::new(), looked: None }
    }

    /// Takes in what deliverers report of turns.
    pub(super) async fn turned(&mut self, turns: &[SinkReport], announcer: &mut Announcer) {
        for turn in turns {
            let sids = (entries::account(&turn.account), entries::sink(&turn.sink));
            let (Some(account), Some(sink)) = sids else { continue };
            let noted = self.turn((account, sink), turn, announcer).await;
            told(noted);
        }
    }

    async fn turn(
        &mut self,
        (account, sink): (AccountSid, SinkSid),
        turn: &SinkReport,
        announcer: &mut Announcer,
    ) -> Result<(), Error> {
        let at = Timestamp::from_millis(turn.at_ms);
        match turn.turn() {
            SinkTurn::Failing => {
                announcer.add(news("io.millrace.sink.failing", (account, sink), turn));
                self.logs.sink_fails(FailingSink { sink, account, since: at }).await
            }
            SinkTurn::Recovered => {
                announcer.add(news("io.millrace.sink.recovered", (account, sink), turn));
                self.logs.sink_answers(&[sink]).await?;
                self.set(account, sink, SinkStatus::Active).await
            }
            SinkTurn::Gone if self.is_failed(account, sink).await? => {
                self.gone.insert(sink, at);
                Ok(())
            }
            SinkTurn::Gone => {
                announcer.add(news("io.millrace.sink.failing", (account, sink), turn));
                self.set(account, sink, SinkStatus::Failed).await?;
                self.gone.insert(sink, at);
                Ok(())
            }
            SinkTurn::Unspecified => Ok(()),
        }
    }

    /// A failed sink that got something since is active again.
    pub(super) async fn attempted(&mut self, attempts: &[AttemptEntry]) {
        if self.failed.is_empty() {
            return;
        }
        let delivered = attempts.iter().filter(|entry| entry.result == AttemptResult::Delivered);
        let again: HashSet<_> = delivered
            .filter(|entry| self.failed.contains(&entry.sink))
            .filter(|entry| self.gone.get(&entry.sink).is_none_or(|gone| entry.id.at() > *gone))
            .map(|entry| (entry.account, entry.sink))
            .collect();
        for (account, sink) in again {
            told(self.set(account, sink, SinkStatus::Active).await);
        }
    }

    /// Now and then: finds sinks that have failed for their whole window.
    pub(super) async fn look(&mut self, now: Timestamp) {
        if self.looked.is_some_and(|looked| looked.elapsed() < PERIOD) {
            return;
        }
        self.looked = Some(Instant::now());
        told(self.look_now(now).await);
    }

    async fn look_now(&mut self, now: Timestamp) -> Result<(), Error> {
        self.failed = self.store.failed_sinks().await?.into_iter().collect();
        self.gone.retain(|sink, _| self.failed.contains(sink));
        for failing in self.logs.failing_sinks().await? {
            let sink = match self.store.sink(failing.account, failing.sink).await {
                Err(Error::NotFound { .. }) => {
                    self.logs.sink_answers(&[failing.sink]).await?;
                    continue;
                }
                found => found?,
            };
            let window = sink.delivery.window.unwrap_or(DELIVERY_WINDOW);
            if now.since(failing.since) >= window && self.still_fails(&failing, now).await? {
                self.set(failing.account, failing.sink, SinkStatus::Failed).await?;
                // An update begins anew.
                self.logs.sink_answers(&[failing.sink]).await?;
            }
        }
        Ok(())
    }

    /// Its owner may have gone, and with it the word that it recovered.
    async fn still_fails(&self, failing: &FailingSink, now: Timestamp) -> Result<bool, Error> {
        let ago = i64::try_from(STILL.as_millis()).unwrap_or(0);
        let query = LogQuery {
            sink: Some(failing.sink),
            since: Some(Timestamp::from_millis(now.as_millis() - ago)),
            ..LogQuery::of(failing.account)
        };
        let last = self.logs.last_attempt(&query).await?;
        Ok(last.is_some_and(|entry| entry.result != AttemptResult::Delivered))
    }

    /// An update since the last look may have cleared it.
    async fn is_failed(&self, account: AccountSid, sink: SinkSid) -> Result<bool, Error> {
        if !self.failed.contains(&sink) {
            return Ok(false);
        }
        match self.store.sink(account, sink).await {
            Err(Error::NotFound { .. }) => Ok(false),
            found => Ok(found?.status == SinkStatus::Failed),
        }
    }

    async fn set(
        &mut self,
        account: AccountSid,
        sink: SinkSid,
        status: SinkStatus,
    ) -> Result<(), Error> {
        let now = crate::random::now();
        let set = self.store.set_sink_status(account, sink, status, now);
        match acting_as(Actor::Process("sink-health"), set).await {
            Ok(None) | Err(Error::NotFound { .. }) => {}
            Ok(Some(_)) => {
                tracing::info!(sink.sid = %sink, status = status.as_str(), "the status of a sink changed");
            }
            Err(error) => return Err(error),
        }
        match status {
            SinkStatus::Failed => self.failed.insert(sink),
            _ => {
                self.gone.remove(&sink);
                self.failed.remove(&sink)
            }
        };
        Ok(())
    }
}

fn told(noted: Result<(), Error>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "cannot note how a sink is");
    }
}

/// News of a sink; its id is the same for the same report.
fn news(
    event_type: &'static str,
    (account, sink): (AccountSid, SinkSid),
    turn: &SinkReport,
) -> Announcement {
    let at = Timestamp::from_millis(turn.at_ms);
    let code = Some(turn.error_code).filter(|code| *code != 0);
    let mut data = json!({
        "account_sid": account,
        "sink_sid": sink,
        "date": at.to_rfc3339_millis(),
    });
    if let (Some(code), Value::Object(fields)) = (code, &mut data) {
        fields.insert("error_code".to_owned(), code.into());
        fields.insert("detail".to_owned(), turn.detail.as_str().into());
    }
    let id = format!("{event_type}/{sink}/{}", turn.at_ms);
    Announcement { id, event_type, account, sink, at, data }
}

#[cfg(test)]
mod tests {
    use millrace_domain::{
        Account, AccountStatus, Secret, Sink, SinkConfiguration, SinkDelivery,
        sink::{Headers, WebhookMethod},
    };
    use millrace_store::{
        Keyring,
        logs::{Entries, LogId, Place, open_sqlite_ephemeral},
        sqlite,
    };

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_763_000_000_000);
    const ACCOUNT: AccountSid = AccountSid::from_u128(1);
    const SINK: SinkSid = SinkSid::from_u128(2);

    async fn health() -> Health {
        let keyring = Keyring::parse(Keyring::generate("test").reveal()).expect("a keyring");
        let store = sqlite::open_ephemeral(keyring).await.expect("a database in memory");
        let account = Account {
            sid: ACCOUNT,
            parent: None,
            friendly_name: "test".to_owned(),
            status: AccountStatus::Active,
            auth_token: Secret::new("0123456789abcdef"),
            secondary_auth_token: None,
            created: NOW,
            updated: NOW,
        };
        let test = || Actor::Process("test");
        acting_as(test(), store.create_account(&account)).await.expect("new");
        let sink = Sink {
            sid: SINK,
            account: ACCOUNT,
            description: "test".to_owned(),
            configuration: SinkConfiguration::Webhook {
                destination: Secret::new("https://e.example"),
                method: WebhookMethod::Post,
                batch_events: false,
            },
            headers: Headers::default(),
            status: SinkStatus::Active,
            delivery: SinkDelivery {
                window: Some(Duration::from_secs(60)),
                ..SinkDelivery::default()
            },
            signing_secret: Secret::new("whsec_"),
            created: NOW,
            updated: NOW,
        };
        acting_as(test(), store.create_sink(&sink, 10)).await.expect("new");
        let logs = open_sqlite_ephemeral().await.expect("logs in memory");
        Health::new(Arc::new(store), Arc::new(logs))
    }

    fn attempt(at: Timestamp, result: AttemptResult) -> AttemptEntry {
        let place = Place {
            log: 0,
            partition: millrace_domain::Partition(0),
            entry_ms: 0,
            entry_seq: 0,
            index: 0,
        };
        AttemptEntry {
            id: LogId::of(at, &place),
            reported: at,
            account: ACCOUNT,
            sink: SINK,
            duration: Duration::ZERO,
            result,
            http_status: 0,
            error_code: 0,
            attempt: 1,
            detail: String::new(),
            event_ids: Vec::new(),
        }
    }

    async fn attempted(health: &Health, at: Timestamp, result: AttemptResult) {
        let entries = Entries { attempts: vec![attempt(at, result)], ..Entries::default() };
        health.logs.write(&entries, NOW).await.expect("writes");
    }

    async fn status(health: &Health) -> SinkStatus {
        health.store.sink(ACCOUNT, SINK).await.expect("is there").status
    }

    #[tokio::test]
    async fn a_sink_is_failed_once_it_has_failed_for_its_whole_window() {
        let mut health = health().await;
        let at = |seconds| NOW.plus(Duration::from_secs(seconds));
        let failing = FailingSink { sink: SINK, account: ACCOUNT, since: at(0) };
        health.logs.sink_fails(failing).await.expect("notes");
        health.look_now(at(60)).await.expect("looks");
        assert_eq!(status(&health).await, SinkStatus::Active, "nobody tried it lately");
        attempted(&health, at(50), AttemptResult::Retry).await;
        health.look_now(at(59)).await.expect("looks");
        assert_eq!(status(&health).await, SinkStatus::Active, "its window is not over");
        health.look_now(at(60)).await.expect("looks");
        assert_eq!(status(&health).await, SinkStatus::Failed);
    }

    #[tokio::test]
    async fn a_sink_whose_recovery_was_not_told_is_not_failed() {
        let mut health = health().await;
        let failing = FailingSink { sink: SINK, account: ACCOUNT, since: NOW };
        health.logs.sink_fails(failing).await.expect("notes");
        let later = NOW.plus(Duration::from_secs(300));
        attempted(&health, later, AttemptResult::Delivered).await;
        health.look_now(later).await.expect("looks");
        assert_eq!(status(&health).await, SinkStatus::Active);
    }

    #[tokio::test]
    async fn what_a_sink_got_before_it_answered_410_does_not_make_it_active() {
        let mut health = health().await;
        let store = Arc::clone(&health.store);
        let mut announcer = Announcer::new(store, 1, Arc::from("https://e.example"));
        let turn = SinkReport {
            account: millrace_queue::chunk::account_bytes(ACCOUNT),
            sink: millrace_queue::chunk::sink_bytes(SINK),
            turn: SinkTurn::Gone.into(),
            at_ms: NOW.as_millis(),
            ..SinkReport::default()
        };
        health.turned(&[turn], &mut announcer).await;
        let at = |ms| Timestamp::from_millis(NOW.as_millis() + ms);
        health.attempted(&[attempt(at(-5), AttemptResult::Delivered)]).await;
        assert_eq!(status(&health).await, SinkStatus::Failed, "that was before");
        health.attempted(&[attempt(at(5), AttemptResult::Delivered)]).await;
        assert_eq!(status(&health).await, SinkStatus::Active);
    }
}
