//! What the operations on sinks do.

use std::sync::Arc;

use millrace_domain::{
    AccountSid, Refusal, Sink, SinkConfiguration, SinkDelivery, SinkSid, SinkStatus, SinkType,
    SinkUpdate,
    arn::{RoleAccounts, RoleArn},
    destination::DestinationPolicy,
    sink::{Headers, check_description},
};
use millrace_proto::v1;
use millrace_store::{Page, ResourceStore, SinkFilter};
use serde_json::json;
use tokio::sync::mpsc;
use url::Url;

use crate::{
    announce::Announcement,
    auth::Caller,
    commit::{Commits, Committed},
    delivery::Deliverers,
    random,
    status::{About, Failure, code},
};

mod trial;

pub(crate) use self::trial::Trials;

/// What a new sink is made of.
#[derive(Debug)]
pub(crate) struct NewSink {
    pub(crate) description: String,
    pub(crate) configuration: SinkConfiguration,
    pub(crate) headers: Headers,
    pub(crate) delivery: SinkDelivery,
}

/// The operations on sinks.
#[derive(Clone)]
pub(crate) struct Sinks {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) commits: Commits,
    pub(crate) policy: DestinationPolicy,
    /// Most sinks of an account.
    pub(crate) limit: u32,
    /// Whether the operator has a place for files.
    pub(crate) files: bool,
    /// Whose roles sinks may name.
    pub(crate) role_accounts: RoleAccounts,
    /// What the URI in `dataschema` starts with.
    pub(crate) schemas_url: Arc<str>,
    /// When accounts last had tests.
    pub(crate) trials: Trials,
    pub(crate) deliverers: Deliverers,
    /// Where news of sinks is told.
    pub(crate) news: mpsc::Sender<Announcement>,
}

impl Sinks {
    /// Makes a sink, active at once.
    pub(crate) async fn create(
        &self,
        account: AccountSid,
        new: NewSink,
    ) -> Result<Committed<Sink>, Failure> {
        let NewSink { description, configuration, headers, delivery } = new;
        check_description(&description).map_err(invalid)?;
        self.check_place(&configuration).map_err(invalid)?;
        check_headers(configuration.sink_type(), &headers).map_err(invalid)?;
        let now = random::now();
        let sink = Sink {
            sid: random::sid(),
            account,
            description,
            configuration,
            headers,
            delivery,
            status: SinkStatus::Active,
            signing_secret: random::signing_secret(),
            created: now,
            updated: now,
        };
        let version = self.store.create_sink(&sink, self.limit).await.map_err(of_store)?;
        Ok(self.commits.answer(sink, version).await)
    }

    /// Gives a sink that the caller may see.
    pub(crate) async fn fetch(&self, caller: Caller, sid: SinkSid) -> Result<Sink, Failure> {
        match caller {
            Caller::Account(account, _) => self.store.sink(account, sid).await,
            Caller::Platform => self.store.sink_of_any(sid).await,
        }
        .map_err(of_store)
    }

    /// Tells how delivery to a sink goes that the caller may see.
    pub(crate) async fn status(
        &self,
        caller: Caller,
        sid: SinkSid,
    ) -> Result<v1::DeliveryStatus, Failure> {
        let sink = self.fetch(caller, sid).await?;
        let status = self.deliverers.status_of(sink.account, sid).await?;
        Ok(v1::DeliveryStatus { paused: sink.delivery.paused, ..status })
    }

    /// Lists up to `limit` sinks after `after`.
    pub(crate) async fn list(
        &self,
        account: AccountSid,
        filter: &SinkFilter,
        after: Option<SinkSid>,
        limit: u32,
    ) -> Result<Vec<Sink>, Failure> {
        self.store.sinks(account, filter, &Page { after, limit }).await.map_err(of_store)
    }

    /// Changes a sink in place.
    pub(crate) async fn update(
        &self,
        caller: Caller,
        sid: SinkSid,
        update: &SinkUpdate,
    ) -> Result<Committed<Sink>, Failure> {
        if let Some(description) = &update.description {
            check_description(description).map_err(invalid)?;
        }
        let account = match (&update.configuration, &update.headers) {
            (None, None) => self.owner(caller, sid).await?,
            (configuration, headers) => {
                let sink = self.fetch(caller, sid).await?;
                if let Some(configuration) = configuration {
                    self.check_place(configuration).map_err(invalid)?;
                    check_type(&sink, configuration).map_err(invalid)?;
                }
                if let Some(headers) = headers {
                    check_headers(sink.configuration.sink_type(), headers).map_err(invalid)?;
                }
                sink.account
            }
        };
        let updated = self.store.update_sink(account, sid, update, random::now()).await;
        let (sink, version) = updated.map_err(of_store)?;
        if update.paused == Some(true) {
            self.tell_paused(&sink);
        }
        Ok(self.commits.answer(sink, version).await)
    }

    /// Tells the account; where too much is to be told already, it is not.
    fn tell_paused(&self, sink: &Sink) {
        let at = sink.updated;
        let event_type = "io.millrace.sink.paused";
        let data = json!({
            "account_sid": sink.account, "sink_sid": sink.sid, "date": at.to_rfc3339_millis(),
        });
        let id = format!("{event_type}/{}/{}", sink.sid, at.as_millis());
        let (account, sink) = (sink.account, sink.sid);
        let news = Announcement { id, event_type, account, sink, at, data };
        if self.news.try_send(news).is_err() {
            metrics::counter!("millrace_announcements_lost_total").increment(1);
        }
    }

    /// Deletes a sink that nothing uses.
    pub(crate) async fn delete(
        &self,
        caller: Caller,
        sid: SinkSid,
    ) -> Result<Committed<()>, Failure> {
        let account = self.owner(caller, sid).await?;
        let deleted = self.store.delete_sink(account, sid, random::now()).await;
        Ok(self.commits.answer((), deleted.map_err(of_store)?).await)
    }

    /// Whose a sink is, for a caller who may touch it.
    async fn owner(&self, caller: Caller, sid: SinkSid) -> Result<AccountSid, Failure> {
        match caller {
            Caller::Account(account, _) => Ok(account),
            Caller::Platform => Ok(self.fetch(caller, sid).await?.account),
        }
    }

    /// Checks where the events would go: a URL by the address guard, a stream by whose role it is written with, a file by whether
    /// there may be any.
    fn check_place(&self, configuration: &SinkConfiguration) -> Result<(), Refusal> {
        if configuration.sink_type() == SinkType::File && !self.files {
            let message = "cannot be `file` here: the operator has set no `sinks.file.root`";
            return Err(Refusal::invalid("SinkType", message));
        }
        if let SinkConfiguration::Kinesis { role_arn, .. } = configuration {
            let role = RoleArn::parse(role_arn).and_then(|role| self.role_accounts.check(&role));
            return role.map_err(|wrong| {
                Refusal::invalid("SinkConfiguration.role_arn", wrong.to_string())
            });
        }
        let Some(destination) = configuration.destination() else { return Ok(()) };
        let field = "SinkConfiguration.destination";
        let url = Url::parse(destination.reveal())
            .map_err(|_| Refusal::invalid(field, "is not a URL"))?;
        self.policy.check_url(field, &url)
    }
}

/// A sink keeps its type for life, so nothing can come between this check and the update.
fn check_type(sink: &Sink, configuration: &SinkConfiguration) -> Result<(), Refusal> {
    let (is, wanted) = (sink.configuration.sink_type(), configuration.sink_type());
    if is == wanted {
        return Ok(());
    }
    let message =
        format!("a {} sink cannot become a {} sink: make another", is.as_str(), wanted.as_str());
    Err(Refusal::invalid("SinkConfiguration", message))
}

/// Only a sink that is spoken to over HTTP, at a URL of the account's choice, has headers.
fn check_headers(sink_type: SinkType, headers: &Headers) -> Result<(), Refusal> {
    if headers.is_empty() || matches!(sink_type, SinkType::Webhook | SinkType::CloudEvents) {
        return Ok(());
    }
    let message = format!("cannot be set: a {} sink has none", sink_type.as_str());
    Err(Refusal::invalid("Headers", message))
}

fn invalid(refusal: Refusal) -> Failure {
    Failure::refused(code::SINK_INVALID, refusal)
}

fn of_store(error: millrace_store::Error) -> Failure {
    Failure::of_store(error, About::Sink)
}
