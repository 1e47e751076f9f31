//! What became of an event, and why: its subscriptions as they were, its attempts, where it is now and when it is tried next.
//! Also what would become of an event that is not published.
//!
//! Nothing is written for this when an event is published or delivered: it is put together from the change log, the logs, the
//! queue, and what the deliverer says that owns the partition. So it says plainly what it does not know.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use millrace_domain::{
    AccountSid, SinkSid, Timestamp,
    schema::{EventType, check_name},
};
use millrace_proto::{v1, wire_time};
use millrace_store::{LogStore, ResourceStore};

pub(crate) use self::{checks::Checks, scope::Scope, subject::Subject};
use self::{family::Family, holds::Holds, known::Known, schema::Checked, sinks::Facts};
use crate::{
    delivery::Deliverers,
    logs::around,
    queue::QueueHandle,
    random,
    reports::storing::Storing,
    status::{About, Failure, Kind, code, unavailable},
};

mod checks;
mod family;
mod holds;
mod kept;
mod known;
mod matching;
mod places;
mod schema;
mod scope;
mod sinks;
mod subject;
mod versions;

/// How long the change log tells how everything was.
pub(crate) const HISTORY_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
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
    /// For how long reports have been stored as they came.
    pub(crate) storing: Storing,
    /// Places for checks by schemas.
    pub(crate) checks: Checks,
}

/// Which event to explain.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    scope: Scope,
    event_id: String,
    /// About when it was published.
    at: Option<Timestamp>,
    /// Its type, where the caller knows it.
    event_type: Option<String>,
}

impl Asked {
    /// Reads a request; an empty type is not told.
    pub(crate) fn read(
        scope: Scope,
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
        Ok(Self { scope, event_id, at, event_type: event_type.map(str::to_owned) })
    }
}

impl Explain {
    /// Explains an event.
    ///
    /// # Errors
    /// NOT_FOUND where nothing is known of it and its type is not told: no more can be said than why nothing may be known.
    pub(crate) async fn event(&self, asked: &Asked) -> Result<v1::Explanation, Failure> {
        let now = random::now();
        let account = self.store.account(asked.scope.account).await.map_err(of_store)?;
        let seen = asked.scope.seen(account.parent);
        let mut notes = Vec::new();
        let times = around(&asked.event_id, asked.at, now);
        let known = self.known(asked, (&seen, times), &mut notes).await?;
        // Subaccounts have none: this comes once.
        if account.parent.is_none() {
            let named = known.named_account();
            if let Some(scope) = self.rolled_up(asked.scope, named).await? {
                return Box::pin(self.event(&Asked { scope, ..asked.clone() })).await;
            }
            if known.event().is_none() && self.has_subaccounts(account.sid).await? {
                let note =
                    "it is taken for the account's own: where it is a subaccount's, name that one";
                notes.push(note.to_owned());
            }
        }
        self.explain(asked, (&seen, known, notes), now).await
    }

    async fn explain(
        &self,
        asked: &Asked,
        (seen, known, mut notes): (&[AccountSid], Known, Vec<String>),
        now: Timestamp,
    ) -> Result<v1::Explanation, Failure> {
        if known.is_empty() {
            notes.extend(self.why_unknown(asked, seen, now).await);
        }
        let event_type = known.event_type().or_else(|| asked.event_type.clone());
        if known.is_empty() && event_type.is_none() {
            let message =
                format!("nothing is known of event `{}`: {}", asked.event_id, notes.join("; "));
            return Err(Failure::new(Kind::NotFound, code::NOT_FOUND, message));
        }
        let at =
            asked.at.or_else(|| crate::logs::time_of(&asked.event_id)).or_else(|| known.time());
        let mut subject = Subject::of(event_type.unwrap_or_default());
        subject.event = known.event();
        let matching = self.matching(asked.scope, subject, at.unwrap_or(now)).await?;
        if matching.r#type.is_empty() {
            let note = "its type is not known any more: give it, to see which subscriptions match";
            notes.push(note.to_owned());
        }
        let sinks = self.sinks((asked.scope, seen), (&known, &matching, at), now).await?;
        Ok(v1::Explanation {
            event_id: asked.event_id.clone(),
            account_sid: asked.scope.account.to_string(),
            event_time: at.map(wire_time),
            matching: Some(matching),
            sinks,
            attempts: known.attempts.iter().map(crate::grpc::wire_attempt).collect(),
            known: !known.is_empty(),
            notes,
        })
    }

    async fn sinks(
        &self,
        (scope, seen): (Scope, &[AccountSid]),
        (known, matching, at): (&Known, &v1::Matching, Option<Timestamp>),
        now: Timestamp,
    ) -> Result<Vec<v1::SinkExplanation>, Failure> {
        let matched = matching.subscriptions.iter().filter(|verdict| verdict.matches);
        let mut sids: BTreeSet<SinkSid> =
            matched.filter_map(|verdict| verdict.sink_sid.parse().ok()).collect();
        sids.extend(known.attempts.iter().map(|attempt| attempt.sink));
        sids.extend(known.drops.iter().map(|drop| drop.sink));
        sids.extend(known.found.iter().map(|found| found.sink));
        let family = Family::at(&*self.store, scope.account, now).await.map_err(of_store)?;
        let holds = Holds::of(&family, seen);
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
            let status = match holds.account(sid).filter(|_| facts.is_waiting()) {
                Some(account) => self.deliverers.status_of(account, sid).await.ok(),
                None => None,
            };
            told.push(sinks::explain(&facts, status));
        }
        Ok(told)
    }

    /// Tells which subscriptions take an event, at a time.
    pub(crate) async fn matching(
        &self,
        scope: Scope,
        subject: Subject,
        at: Timestamp,
    ) -> Result<v1::Matching, Failure> {
        let exact = random::now().since(at) <= HISTORY_KEPT
            || !self.store.is_compacted().await.map_err(of_store)?;
        let family = Family::at(&*self.store, scope.account, at).await.map_err(of_store)?;
        let seen = scope.seen(family.parent.as_ref().map(|(parent, _)| *parent));
        let event_type =
            self.store.event_type_at(&subject.event_type, at).await.map_err(of_store)?;
        let asks = family.parent.as_ref().map_or(scope.account, |(parent, _)| *parent);
        let checked = self.checked(&subject, event_type.as_ref(), (asks, at)).await?;
        let facts = matching::Facts {
            family: &family,
            seen: &seen,
            tells_status: scope.tells_status(),
            event_type: event_type.as_ref(),
            checked,
        };
        let mut matching = matching::of(&subject, &facts);
        matching.config_time = Some(wire_time(at));
        matching.config_is_exact = exact;
        Ok(matching)
    }

    /// What the type's schema says of the event, as it was at a time. `asks`: whose place it takes.
    async fn checked(
        &self,
        subject: &Subject,
        event_type: Option<&EventType>,
        (asks, at): (AccountSid, Timestamp),
    ) -> Result<Checked, Failure> {
        if subject.event.is_none() {
            return Ok(Checked::nothing());
        }
        let schema_id = event_type.map_or("", |it| it.schema_id.as_str());
        let place = self.checks.place(asks).await;
        let latest = match event_type {
            Some(_) => versions::latest_at(&*self.store, schema_id, at).await.map_err(of_store)?,
            None => None,
        };
        let number = latest.as_ref().map(|latest| latest.version);
        let number = match schema::followed(subject, schema_id, number) {
            Ok(number) => number,
            Err(not) => return Ok(not),
        };
        let version = versions::numbered(&*self.store, latest, number).await.map_err(of_store)?;
        let subject = subject.clone();
        let checking = tokio::task::spawn_blocking(move || {
            let checked = schema::check(&subject, version.as_ref());
            drop(place);
            checked
        });
        checking.await.map_err(|error| {
            tracing::error!(%error, "cannot check an event by its schema");
            unavailable()
        })
    }
}

fn of_store(error: millrace_store::Error) -> Failure {
    Failure::of_store(error, About::Account)
}
