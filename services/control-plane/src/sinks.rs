//! What the operations on sinks do.

use std::sync::Arc;

use millrace_domain::{
    AccountSid, Refusal, Sink, SinkConfiguration, SinkDelivery, SinkSid, SinkStatus,
    destination::DestinationPolicy,
    sink::{SINKS_PER_ACCOUNT, check_description},
};
use millrace_store::{Page, ResourceStore, SinkFilter};
use url::Url;

use crate::{
    auth::Caller,
    commit::{Commits, Committed},
    random,
    status::{About, Failure, code},
};

/// The operations on sinks.
#[derive(Clone)]
pub(crate) struct Sinks {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) commits: Commits,
    pub(crate) policy: DestinationPolicy,
}

impl Sinks {
    /// Makes a sink, active at once.
    pub(crate) async fn create(
        &self,
        account: AccountSid,
        description: String,
        configuration: SinkConfiguration,
    ) -> Result<Committed<Sink>, Failure> {
        check_description(&description).map_err(invalid)?;
        self.check_destination(&configuration).map_err(invalid)?;
        let now = random::now();
        let sink = Sink {
            sid: random::sid(),
            account,
            description,
            configuration,
            delivery: SinkDelivery::default(),
            status: SinkStatus::Active,
            signing_secret: random::signing_secret(),
            created: now,
            updated: now,
        };
        let version = self.store.create_sink(&sink, SINKS_PER_ACCOUNT).await.map_err(of_store)?;
        Ok(self.commits.answer(sink, version).await)
    }

    /// Gives a sink that the caller may see.
    pub(crate) async fn fetch(&self, caller: Caller, sid: SinkSid) -> Result<Sink, Failure> {
        match caller {
            Caller::Account(account) => self.store.sink(account, sid).await,
            Caller::Platform => self.store.sink_of_any(sid).await,
        }
        .map_err(of_store)
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

    /// Changes a description.
    pub(crate) async fn describe(
        &self,
        caller: Caller,
        sid: SinkSid,
        description: &str,
    ) -> Result<Committed<Sink>, Failure> {
        check_description(description).map_err(invalid)?;
        let account = self.owner(caller, sid).await?;
        let described = self.store.describe_sink(account, sid, description, random::now()).await;
        let (sink, version) = described.map_err(of_store)?;
        Ok(self.commits.answer(sink, version).await)
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
            Caller::Account(account) => Ok(account),
            Caller::Platform => Ok(self.fetch(caller, sid).await?.account),
        }
    }

    fn check_destination(&self, configuration: &SinkConfiguration) -> Result<(), Refusal> {
        let SinkConfiguration::Webhook { destination, .. } = configuration else { return Ok(()) };
        let field = "SinkConfiguration.destination";
        let url = Url::parse(destination.reveal())
            .map_err(|_| Refusal::invalid(field, "is not a URL"))?;
        self.policy.check_url(field, &url)
    }
}

fn invalid(refusal: Refusal) -> Failure {
    Failure::refused(code::SINK_INVALID, refusal)
}

fn of_store(error: millrace_store::Error) -> Failure {
    Failure::of_store(error, About::Sink)
}
