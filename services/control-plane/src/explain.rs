//! What became of an event, and why: its subscriptions as they were, its attempts, where it is now and when it is tried next.
//! Also what would become of an event that is not published.
//!
//! Nothing is written for this when an event is published or delivered: it is put together from the change log, the logs, the
//! queue, and what the deliverer says that owns the partition. So it says plainly what it does not know.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use millrace_domain::{AccountSid, Partition, SinkSid, Timestamp, schema::check_name};
use millrace_proto::{v1, wire_time};
use millrace_store::{
    LogStore, Page, ResourceStore, SinkFilter,
    logs::{AttemptEntry, DropEntry, LogQuery},
};

use self::{places::Found, sinks::Facts};
use crate::{
    delivery::Deliverers,
    logs::around,
    queue::QueueHandle,
    random,
    status::{About, Failure, Kind, code},
};

mod matching;
mod places;
mod schema;
mod sinks;

pub(crate) use matching::Subject;

/// How long the change log tells how everything was.
pub(crate) const HISTORY_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long attempts and drops are kept.
const LOGS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most attempts, and most drops, of an explanation.
const ENTRIES_MAX: u32 = 100;
/// Most sinks that are told of.
const SINKS_MAX: usize = 100;

/// The operations that explain.
#[derive(Clone)]
pub(crate) struct Explain {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) queue: QueueHandle,
    pub(crate) partitions: u16,
    pub(crate) deliverers: Deliverers,
}

/// Which event to explain.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) account: AccountSid,
    pub(crate) event_id: String,
    /// About when it was published.
    pub(crate) at: Option<Timestamp>,
    /// Its type, where the caller knows it.
    pub(crate) event_type: Option<String>,
}

impl Asked {
    /// Reads a request; an empty type is not told.
    pub(crate) fn read(
        account: AccountSid,
        event_id: &str,
        at: Option<Timestamp>,
        event_type: &str,
    ) -> Result<Self, Failure> {
        let event_id = crate::logs::event_id("EventId", event_id)?;
        if event_id.is_empty() {
            return Err(Failure::invalid(code::BAD_REQUEST, "EventId", "is required"));
        }
        let event_type = Some(event_type).filter(|name| !name.is_empty());
        if let Some(name) = event_type {
            check_name("Type", name)
                .map_err(|refusal| Failure::refused(code::BAD_REQUEST, refusal))?;
        }
        Ok(Self { account, event_id, at, event_type: event_type.map(str::to_owned) })
    }
}

/// What the logs and the queue have of an event.
struct Known {
    attempts: Vec<AttemptEntry>,
    drops: Vec<DropEntry>,
    found: Vec<Found>,
}

impl Explain {
    /// Explains an event.
    ///
    /// # Errors
    /// NOT_FOUND where nothing is known of it and its type is not told: no more can be said than why nothing may be known.
    pub(crate) async fn event(&self, asked: &Asked) -> Result<v1::Explanation, Failure> {
        let now = random::now();
        self.store.account(asked.account).await.map_err(of_store)?;
        let mut notes = Vec::new();
        let (since, until) = around(&asked.event_id, asked.at, now);
        let known = self.known(asked, (since, until), &mut notes).await?;
        let is_known =
            !(known.attempts.is_empty() && known.drops.is_empty() && known.found.is_empty());
        if !is_known {
            notes.extend(self.why_unknown(asked, now).await);
        }
        let event_type = known.event_type().or_else(|| asked.event_type.clone());
        if !is_known && event_type.is_none() {
            let message =
                format!("nothing is known of event `{}`: {}", asked.event_id, notes.join("; "));
            return Err(Failure::new(Kind::NotFound, code::NOT_FOUND, message));
        }
        let at =
            asked.at.or_else(|| crate::logs::time_of(&asked.event_id)).or_else(|| known.time());
        let mut subject = Subject::of(event_type.unwrap_or_default());
        subject.event = known.found.iter().find_map(|found| found.event.clone());
        let matching = self.matching(asked.account, subject, at.unwrap_or(now)).await?;
        if matching.r#type.is_empty() {
            notes.push(
                "its type is not known any more: give it, to see which subscriptions match"
                    .to_owned(),
            );
        }
        let sinks = self.sinks(asked, (&known, &matching, at), now).await?;
        Ok(v1::Explanation {
            event_id: asked.event_id.clone(),
            account_sid: asked.account.to_string(),
            event_time: at.map(wire_time),
            matching: Some(matching),
            sinks,
            attempts: known.attempts.iter().map(crate::grpc::wire_attempt).collect(),
            known: is_known,
            notes,
        })
    }

    async fn known(
        &self,
        asked: &Asked,
        (since, until): (Timestamp, Option<Timestamp>),
        notes: &mut Vec<String>,
    ) -> Result<Known, Failure> {
        let query = LogQuery {
            event_id: Some(asked.event_id.clone()),
            since: Some(since),
            until,
            ..LogQuery::of(asked.account)
        };
        let page = Page { after: None, limit: ENTRIES_MAX };
        let attempts = self.logs.attempts(&query, &page).await.map_err(of_store)?;
        let drops = self.logs.drops(&query, &page).await.map_err(of_store)?;
        let found = match self.look(asked, since, notes).await {
            Ok(found) => found,
            Err(_) => {
                notes.push(
                    "the queue does not answer: whether the event waits in it is not known"
                        .to_owned(),
                );
                Vec::new()
            }
        };
        Ok(Known { attempts, drops, found })
    }

    async fn look(
        &self,
        asked: &Asked,
        since: Timestamp,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Found>, Failure> {
        let home = Partition::home_of(asked.account, self.partitions);
        let sought =
            places::Sought { event_id: &asked.event_id, account: asked.account, home, since };
        let looked = places::look(&*self.queue.get()?, &sought).await.map_err(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "cannot look an event up in the queue");
            crate::status::unavailable()
        })?;
        if !looked.everywhere {
            notes.push("backlogs are long and were looked through only in part".to_owned());
        }
        Ok(looked.found)
    }

    /// Why nothing may be known of an event that there was.
    async fn why_unknown(&self, asked: &Asked, now: Timestamp) -> Vec<String> {
        let mut why = Vec::new();
        let days = LOGS_KEPT.as_secs() / 86_400;
        match asked.at.or_else(|| crate::logs::time_of(&asked.event_id)) {
            Some(at) if now.since(at) > LOGS_KEPT => {
                why.push(format!("reports of that time are no longer kept: they are for {days} days"));
            }
            Some(_) => {}
            None => why.push(
                "it was looked for in the last 24 hours: its id does not tell when it was published, \
                 which may be given"
                    .to_owned(),
            ),
        }
        let page = Page { after: None, limit: 1 };
        let any = self.store.sinks(asked.account, &SinkFilter::default(), &page).await;
        let any = any.ok().and_then(|sinks| sinks.first().map(|sink| sink.sid));
        let reported = self.deliverers.attempts_reported(asked.account, any).await;
        why.push(match reported.as_deref() {
            Ok("none") => {
                "attempts are not kept (`logs.attempts` is `none`): a delivery leaves no trace"
                    .to_owned()
            }
            Ok("failures") => {
                "of deliveries that succeed most are not kept (`logs.attempts` is `failures`)"
                    .to_owned()
            }
            Ok(_) => "attempts are kept, and may have been trimmed if nobody stored them in time"
                .to_owned(),
            Err(_) => "which attempts are kept is not known: no deliverer answers".to_owned(),
        });
        why.push("an event that no subscription takes leaves no trace either".to_owned());
        why
    }

    async fn sinks(
        &self,
        asked: &Asked,
        (known, matching, at): (&Known, &v1::Matching, Option<Timestamp>),
        now: Timestamp,
    ) -> Result<Vec<v1::SinkExplanation>, Failure> {
        let matched = matching.subscriptions.iter().filter(|verdict| verdict.matches);
        let mut sids: BTreeSet<SinkSid> =
            matched.filter_map(|verdict| verdict.sink_sid.parse().ok()).collect();
        sids.extend(known.attempts.iter().map(|attempt| attempt.sink));
        sids.extend(known.drops.iter().map(|drop| drop.sink));
        sids.extend(known.found.iter().map(|found| found.sink));
        let past = self.store.account_at(asked.account, now).await.map_err(of_store)?;
        let holds = matching::Holds::of(&past.resources);
        let mut told = Vec::new();
        for sid in sids.into_iter().take(SINKS_MAX) {
            let facts = Facts {
                sid,
                sink: holds.sink(sid),
                hold: holds.hold(sid),
                published: at,
                attempts: &known.attempts,
                drops: &known.drops,
                found: known.found.iter().find(|found| found.sink == sid),
            };
            let status = match facts.is_waiting() {
                true => self.deliverers.status_of(asked.account, sid).await.ok(),
                false => None,
            };
            told.push(sinks::explain(&facts, status));
        }
        Ok(told)
    }

    /// Tells which subscriptions of an account take an event, at a time.
    pub(crate) async fn matching(
        &self,
        account: AccountSid,
        subject: Subject,
        at: Timestamp,
    ) -> Result<v1::Matching, Failure> {
        let exact = random::now().since(at) <= HISTORY_KEPT
            || !self.store.is_compacted().await.map_err(of_store)?;
        let past = self.store.account_at(account, at).await.map_err(of_store)?;
        let event_type =
            self.store.event_type_at(&subject.event_type, at).await.map_err(of_store)?;
        let versions = match &event_type {
            Some(event_type) => {
                let page = Page { after: None, limit: 1_000 };
                let found = self.store.schema_versions(&event_type.schema_id, &page).await;
                found
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|version| version.created <= at)
                    .collect()
            }
            None => Vec::new(),
        };
        let facts =
            matching::Facts { account, past: &past, event_type: event_type.as_ref(), versions };
        let mut matching = matching::of(&subject, &facts);
        matching.config_time = Some(wire_time(at));
        matching.config_is_exact = exact;
        Ok(matching)
    }
}

impl Known {
    fn event_type(&self) -> Option<String> {
        let found = self.found.iter().map(|found| &found.event_type);
        found.chain(self.drops.iter().map(|drop| &drop.event_type)).next().cloned()
    }

    /// About when it was published.
    fn time(&self) -> Option<Timestamp> {
        let accepted = self.found.iter().filter_map(|found| found.accepted);
        let dropped = self.drops.iter().map(|drop| drop.accepted);
        accepted.chain(dropped).chain(self.attempts.iter().map(|attempt| attempt.id.at())).min()
    }
}

fn of_store(error: millrace_store::Error) -> Failure {
    Failure::of_store(error, About::Account)
}
