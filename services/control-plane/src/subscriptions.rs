//! What the operations on subscriptions and the event types inside them do.

use std::{collections::HashSet, sync::Arc};

use millrace_domain::{
    AccountSid, SinkSid, SubscribedEvent, Subscription, SubscriptionSid, SubscriptionUpdate,
    sink::check_description, subscription::TYPES_PER_SUBSCRIPTION,
};
use millrace_store::{Error, Page, ResourceStore};

use crate::{
    auth::Caller,
    catalog::Catalog,
    commit::{Commits, Committed},
    random,
    status::{About, Failure, Kind, code},
};

/// A type that somebody wants in a subscription.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) event_type: String,
    /// `None`: the latest.
    pub(crate) schema_version: Option<u32>,
    /// How the caller spelt the place of the type, such as `Types[2].type`.
    pub(crate) type_field: String,
    /// And that of the version.
    pub(crate) version_field: String,
}

/// A new subscription as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewSubscription {
    pub(crate) description: String,
    pub(crate) sink: SinkSid,
    pub(crate) types: Vec<Wanted>,
    /// Takes the events of the account's subaccounts too.
    pub(crate) include_subaccounts: bool,
}

/// The operations on subscriptions.
#[derive(Clone)]
pub(crate) struct Subscriptions {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) commits: Commits,
    pub(crate) catalog: Catalog,
    /// Most subscriptions of an account.
    pub(crate) limit: u32,
}

impl Subscriptions {
    /// Makes a subscription to a sink that the caller may see; it belongs to the sink's account.
    pub(crate) async fn create(
        &self,
        caller: Caller,
        new: NewSubscription,
    ) -> Result<Committed<Subscription>, Failure> {
        check_description(&new.description)
            .map_err(|refusal| Failure::refused(code::SUBSCRIPTION_INVALID, refusal))?;
        check_types(&new.types)?;
        let account = self.owner_of_sink(caller, new.sink).await?;
        if new.include_subaccounts {
            self.check_includes(account).await?;
        }
        let mut types = Vec::with_capacity(new.types.len());
        for wanted in &new.types {
            types.push(self.catalog.pin(wanted).await?);
        }
        types.sort_by(|a, b| a.event_type.cmp(&b.event_type));
        let now = random::now();
        let subscription = Subscription {
            sid: random::sid(),
            account,
            description: new.description,
            sink: new.sink,
            types,
            include_subaccounts: new.include_subaccounts,
            created: now,
            updated: now,
        };
        let created = self.store.create_subscription(&subscription, self.limit).await;
        let version = created.map_err(|error| match error {
            Error::NotFound { .. } => Failure::of_store(error, About::Sink).at("SinkSid"),
            Error::SinkFailed => Failure::of_store(error, About::Subscription).at("SinkSid"),
            error => Failure::of_store(error, About::Subscription),
        })?;
        Ok(self.commits.answer(subscription, version).await)
    }

    /// Gives a subscription that the caller may see.
    pub(crate) async fn fetch(
        &self,
        caller: Caller,
        sid: SubscriptionSid,
    ) -> Result<Subscription, Failure> {
        match caller {
            Caller::Account(account, _) => self.store.subscription(account, sid).await,
            Caller::Platform => self.store.subscription_of_any(sid).await,
        }
        .map_err(of_store)
    }

    /// Lists up to `limit` subscriptions after `after`, of one sink or of all.
    pub(crate) async fn list(
        &self,
        account: AccountSid,
        sink: Option<SinkSid>,
        after: Option<SubscriptionSid>,
        limit: u32,
    ) -> Result<Vec<Subscription>, Failure> {
        self.store.subscriptions(account, sink, &Page { after, limit }).await.map_err(of_store)
    }

    /// Changes a subscription's description, and whether it takes subaccounts' events.
    pub(crate) async fn update(
        &self,
        caller: Caller,
        sid: SubscriptionSid,
        update: &SubscriptionUpdate,
    ) -> Result<Committed<Subscription>, Failure> {
        if let Some(description) = &update.description {
            check_description(description)
                .map_err(|refusal| Failure::refused(code::SUBSCRIPTION_INVALID, refusal))?;
        }
        let account = self.owner(caller, sid).await?;
        if update.include_subaccounts == Some(true) {
            self.fetch(caller, sid).await?;
            self.check_includes(account).await?;
        }
        let updated = self.store.update_subscription(account, sid, update, random::now()).await;
        let (subscription, version) = updated.map_err(of_store)?;
        Ok(self.commits.answer(subscription, version).await)
    }

    /// A subaccount has no subaccounts whose events a subscription could take.
    async fn check_includes(&self, account: AccountSid) -> Result<(), Failure> {
        let account = self.store.account(account).await;
        match account.map_err(|error| Failure::of_store(error, About::Account))?.parent {
            None => Ok(()),
            Some(_) => Err(Failure::invalid(
                code::SUBSCRIPTION_INVALID,
                "IncludeSubaccounts",
                "is for accounts that may have subaccounts, and this is one itself",
            )),
        }
    }

    /// Deletes a subscription.
    pub(crate) async fn delete(
        &self,
        caller: Caller,
        sid: SubscriptionSid,
    ) -> Result<Committed<()>, Failure> {
        let account = self.owner(caller, sid).await?;
        let version = self.store.delete_subscription(account, sid).await.map_err(of_store)?;
        Ok(self.commits.answer((), version).await)
    }

    /// Adds a type to a subscription; [`Kind::AlreadyExists`] if it is there, at whatever version.
    pub(crate) async fn add(
        &self,
        caller: Caller,
        sid: SubscriptionSid,
        wanted: &Wanted,
    ) -> Result<Committed<SubscribedEvent>, Failure> {
        let account = self.owner(caller, sid).await?;
        let event = self.catalog.pin(wanted).await?;
        let limit = u32::try_from(TYPES_PER_SUBSCRIPTION).expect("a thousand");
        let added = self.store.add_subscribed_event(account, sid, &event, limit).await;
        let version = added.map_err(|error| match error {
            Error::AlreadyExists { .. } => Failure::new(
                Kind::AlreadyExists,
                code::SUBSCRIPTION_INVALID,
                format!("the subscription has `{}` already", event.event_type),
            )
            .at(&wanted.type_field),
            Error::NotFound { .. } => of_store(error),
            error => Failure::of_store(error, About::SubscribedEvent),
        })?;
        Ok(self.commits.answer(event, version).await)
    }

    /// Gives a type of a subscription.
    pub(crate) async fn fetch_event(
        &self,
        caller: Caller,
        sid: SubscriptionSid,
        event_type: &str,
    ) -> Result<SubscribedEvent, Failure> {
        let subscription = self.fetch(caller, sid).await?;
        let found = subscription.types.into_iter().find(|event| event.event_type == event_type);
        found.ok_or_else(|| not_subscribed(event_type))
    }

    /// Pins a type of a subscription to another version; [`None`]: to the latest.
    pub(crate) async fn pin(
        &self,
        caller: Caller,
        sid: SubscriptionSid,
        wanted: &Wanted,
    ) -> Result<Committed<SubscribedEvent>, Failure> {
        self.fetch_event(caller, sid, &wanted.event_type).await?;
        let account = self.owner(caller, sid).await?;
        let event = self.catalog.pin_again(wanted).await?;
        let pinned = self.store.pin_subscribed_event(account, sid, &event).await;
        let version = pinned.map_err(|error| Failure::of_store(error, About::SubscribedEvent))?;
        Ok(self.commits.answer(event, version).await)
    }

    /// Takes a type out of a subscription; the last one stays.
    pub(crate) async fn remove(
        &self,
        caller: Caller,
        sid: SubscriptionSid,
        event_type: &str,
    ) -> Result<Committed<()>, Failure> {
        self.fetch_event(caller, sid, event_type).await?;
        let account = self.owner(caller, sid).await?;
        let removed = self.store.remove_subscribed_event(account, sid, event_type).await;
        let version = removed.map_err(|error| Failure::of_store(error, About::SubscribedEvent))?;
        Ok(self.commits.answer((), version).await)
    }

    async fn owner(&self, caller: Caller, sid: SubscriptionSid) -> Result<AccountSid, Failure> {
        match caller {
            Caller::Account(account, _) => Ok(account),
            Caller::Platform => Ok(self.fetch(caller, sid).await?.account),
        }
    }

    async fn owner_of_sink(&self, caller: Caller, sid: SinkSid) -> Result<AccountSid, Failure> {
        match caller {
            Caller::Account(account, _) => Ok(account),
            Caller::Platform => {
                let sink = self.store.sink_of_any(sid).await;
                let sink = sink.map_err(|error| Failure::of_store(error, About::Sink));
                Ok(sink.map_err(|failure| failure.at("SinkSid"))?.account)
            }
        }
    }
}

/// Checks what the list alone tells: its size, and that no type stands in it twice.
fn check_types(types: &[Wanted]) -> Result<(), Failure> {
    if types.is_empty() {
        return Err(Failure::invalid(
            code::TYPES_EMPTY,
            "Types",
            "is required: at least one event type, such as `{\"type\": \"com.example.order.paid\"}`",
        ));
    }
    if types.len() > TYPES_PER_SUBSCRIPTION {
        return Err(Failure::invalid(
            code::SUBSCRIPTION_INVALID,
            "Types",
            format!("has more than {TYPES_PER_SUBSCRIPTION} event types"),
        ));
    }
    let mut seen = HashSet::new();
    match types.iter().find(|wanted| !seen.insert(&wanted.event_type)) {
        Some(twice) => Err(Failure::invalid(
            code::SUBSCRIPTION_INVALID,
            &twice.type_field,
            format!("`{}` is given twice", twice.event_type),
        )),
        None => Ok(()),
    }
}

fn not_subscribed(event_type: &str) -> Failure {
    Failure::new(
        Kind::NotFound,
        code::TYPE_NOT_FOUND,
        format!("the subscription has no event type `{event_type}`"),
    )
}

fn of_store(error: Error) -> Failure {
    Failure::of_store(error, About::Subscription)
}
