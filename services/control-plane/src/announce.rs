//! Events that Millrace itself publishes: what went wrong with deliveries, and how sinks are. They are routed as any other event
//! is, by the account's subscriptions, and appended to the same queue.
//!
//! What cannot be published now waits here, in memory and bounded: it is news, the logs are what is kept.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use millrace_domain::{
    AccountSid, Partition, SinkSid, SubscriptionSid, Timestamp,
    event::{ACCOUNT_EXTENSION, CloudEvent},
    matching::{MatchTable, Origin, Route},
    projection::Projection,
    schema::SchemaVersion,
};
use millrace_proto::internal::{Chunk, ChunkEvent, Variant};
use millrace_queue::{Queue, chunk};
use millrace_store::{Error, Page, ResourceStore};
use serde_json::Value;

/// Most events that wait.
const WAITING_MAX: usize = 1_000;
/// Subscriptions that are read at once.
const PAGE: u32 = 1_000;

/// What is to be told.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    /// CloudEvents `id`: the same for the same news, so that who hears it twice knows.
    pub(crate) id: String,
    /// CloudEvents `type`.
    pub(crate) event_type: &'static str,
    /// Whom.
    pub(crate) account: AccountSid,
    /// About which sink.
    pub(crate) sink: SinkSid,
    /// When it happened.
    pub(crate) at: Timestamp,
    /// CloudEvents `data`.
    pub(crate) data: Value,
}

/// Publishes what is to be told.
pub(crate) struct Announcer {
    store: Arc<dyn ResourceStore>,
    partitions: u16,
    schemas_url: Arc<str>,
    waiting: VecDeque<Announcement>,
}

/// Why something was not published: worth another try.
#[derive(Debug, thiserror::Error)]
enum Unpublished {
    #[error(transparent)]
    Store(#[from] Error),
    #[error(transparent)]
    Queue(#[from] millrace_queue::Error),
}

impl Announcer {
    pub(crate) fn new(
        store: Arc<dyn ResourceStore>,
        partitions: u16,
        schemas_url: Arc<str>,
    ) -> Self {
        Self { store, partitions, schemas_url, waiting: VecDeque::new() }
    }

    /// Notes what is to be told.
    pub(crate) fn add(&mut self, announcement: Announcement) {
        if self.waiting.len() >= WAITING_MAX {
            metrics::counter!("millrace_announcements_lost_total").increment(1);
            self.waiting.pop_front();
        }
        self.waiting.push_back(announcement);
    }

    /// Publishes what waits, in order; what fails waits on.
    pub(crate) async fn publish(&mut self, queue: &dyn Queue) {
        while let Some(announcement) = self.waiting.front() {
            match self.send(queue, announcement).await {
                Ok(()) => {}
                Err(Unpublished::Store(Error::NotFound { what })) => {
                    tracing::debug!(what, "news is not told: something of it is gone");
                }
                Err(error) => {
                    return tracing::debug!(%error, "cannot tell news now, tries again");
                }
            }
            self.waiting.pop_front();
        }
    }

    async fn send(&self, queue: &dyn Queue, news: &Announcement) -> Result<(), Unpublished> {
        let parent = self.store.account(news.account).await?.parent;
        let own = Some((news.account, Origin::Own));
        let homes = own.into_iter().chain(parent.map(|parent| (parent, Origin::Subaccount)));
        let mut told = false;
        for (account, origin) in homes {
            let routes = self.routes(account, news.event_type, origin).await?;
            if !routes.is_empty() {
                self.append(queue, news, account, &routes).await?;
                told = true;
            }
        }
        if told {
            metrics::counter!("millrace_announced_events_total", "type" => news.event_type)
                .increment(1);
        }
        Ok(())
    }

    /// Appends the event at the home of `account`, whose sinks get it.
    async fn append(
        &self,
        queue: &dyn Queue,
        news: &Announcement,
        account: AccountSid,
        routes: &[Route],
    ) -> Result<(), Unpublished> {
        let event_type = self.store.event_type(news.event_type).await?;
        let latest = self.store.schema_version(&event_type.schema_id, None).await?;
        let event = ChunkEvent {
            id: news.id.clone(),
            account: chunk::account_bytes(account),
            r#type: news.event_type.to_owned(),
            variants: self.variants(news, account, routes, &latest).await?,
            ..ChunkEvent::default()
        };
        let chunk = chunk::encode(&Chunk { events: vec![event], ..Chunk::default() });
        queue.append(Partition::home_of(account, self.partitions), chunk).await?;
        Ok(())
    }

    async fn routes(
        &self,
        account: AccountSid,
        event_type: &str,
        origin: Origin,
    ) -> Result<Vec<Route>, Error> {
        let (mut all, mut after) = (Vec::new(), None::<SubscriptionSid>);
        loop {
            let page = Page { after, limit: PAGE };
            let found = self.store.subscriptions(account, None, &page).await?;
            after = found.last().map(|subscription| subscription.sid);
            let last = found.len() < PAGE as usize;
            all.extend(found);
            if last {
                return Ok(MatchTable::of(&all).routes(event_type, origin).to_vec());
            }
        }
    }

    /// The event once for each version that is asked for; who asks for a newer one than there is gets it as it is.
    async fn variants(
        &self,
        news: &Announcement,
        account: AccountSid,
        routes: &[Route],
        latest: &SchemaVersion,
    ) -> Result<Vec<Variant>, Error> {
        let mut wanted: Vec<(u32, Vec<SinkSid>)> = Vec::new();
        for route in routes {
            let version = route.schema_version.min(latest.version);
            match wanted.iter_mut().find(|(known, _)| *known == version) {
                Some((_, sinks)) => sinks.push(route.sink),
                None => wanted.push((version, vec![route.sink])),
            }
        }
        let (event, data) = (cloud_event(news, account), news.data.to_string());
        let mut variants = Vec::with_capacity(wanted.len());
        for (number, sinks) in wanted {
            let id = &latest.schema_id;
            let projected = if number < latest.version {
                let older = self.store.schema_version(id, Some(number)).await?;
                projection(&older).apply(&data)
            } else {
                None
            };
            let uri = format!("{}/{id}/{number}", self.schemas_url);
            let json = event.to_json(Some(&uri), projected.as_deref().unwrap_or(&data));
            variants.push(Variant {
                schema_version: number,
                event: Bytes::from(json),
                sinks: chunk::sinks_bytes(sinks),
            });
        }
        Ok(variants)
    }
}

fn projection(version: &SchemaVersion) -> Projection {
    let document = version.document.as_deref().and_then(|text| serde_json::from_str(text).ok());
    document.map_or_else(Projection::keep_all, |document| Projection::of_schema(&document))
}

/// The event as `account` gets it: one of its subaccounts' says whose it is.
fn cloud_event(news: &Announcement, account: AccountSid) -> CloudEvent<'_> {
    let of = (account != news.account).then(|| format!("\"{}\"", news.account));
    CloudEvent {
        extensions: of.map(|of| (ACCOUNT_EXTENSION.into(), of.into())).into_iter().collect(),
        id: news.id.as_str().into(),
        source: format!("/v1/Sinks/{}", news.sink).into(),
        event_type: news.event_type.into(),
        time: Some(news.at.to_rfc3339_millis().into()),
        ..CloudEvent::default()
    }
}
