//! What the operations on event types and schemas do. The catalogue is the same for every account.

use std::sync::Arc;

use millrace_domain::{
    Refusal, SubscribedEvent,
    schema::{
        EventType, EventTypeStatus, EventTypeUpdate, SchemaVersion, Validation, check_name,
        is_reserved,
    },
};
use millrace_store::{Error, Page, ResourceStore};
use tokio::sync::Semaphore;
use url::Url;

use crate::{
    auth::Caller,
    commit::{Commits, Committed},
    random,
    status::{About, Failure, Kind, code},
    subscriptions::Wanted,
};

mod schemas;
pub(crate) mod seed;

pub(crate) use schemas::{NewSchemaVersion, Registration};

/// Longest description of an event type and longest URL of its page, in bytes.
const TEXT_MAX_BYTES: usize = 2_048;

/// The operations on event types and schemas.
#[derive(Clone)]
pub(crate) struct Catalog {
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) commits: Commits,
    /// The place of the document that is read and compiled.
    pub(crate) registering: Arc<Semaphore>,
}

/// An event type as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewEventType {
    pub(crate) name: String,
    pub(crate) schema_id: String,
    pub(crate) description: String,
    pub(crate) status: EventTypeStatus,
    pub(crate) documentation_url: Option<String>,
    /// `None`: what holds for its name, or as it is.
    pub(crate) validation: Option<Validation>,
}

impl Catalog {
    /// Gives an event type.
    pub(crate) async fn event_type(&self, name: &str) -> Result<EventType, Failure> {
        if check_name("type", name).is_err() {
            return Err(not_found(format!("event type `{name}` does not exist")));
        }
        self.store.event_type(name).await.map_err(of_store)
    }

    /// Lists up to `limit` event types after `after`, of one schema or of all.
    pub(crate) async fn event_types(
        &self,
        schema_id: Option<&str>,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<EventType>, Failure> {
        self.store.event_types(schema_id, &Page { after, limit }).await.map_err(of_store)
    }

    /// Gives a version of a schema; `None`: the latest.
    pub(crate) async fn schema_version(
        &self,
        schema_id: &str,
        version: Option<u32>,
    ) -> Result<SchemaVersion, Failure> {
        if check_name("id", schema_id).is_err() {
            return Err(not_found(format!("schema `{schema_id}` does not exist")));
        }
        self.store.schema_version(schema_id, version).await.map_err(of_store)
    }

    /// Lists up to `limit` versions of a schema after `after`.
    pub(crate) async fn schema_versions(
        &self,
        schema_id: &str,
        after: Option<u32>,
        limit: u32,
    ) -> Result<Vec<SchemaVersion>, Failure> {
        if check_name("id", schema_id).is_err() {
            return Err(not_found(format!("schema `{schema_id}` does not exist")));
        }
        self.store.schema_versions(schema_id, &Page { after, limit }).await.map_err(of_store)
    }

    /// Registers an event type, or changes its description, status, page and validation; with it version 1 of its schema, where
    /// that is new. Tells whether the type is new.
    pub(crate) async fn register(
        &self,
        caller: Caller,
        new: NewEventType,
    ) -> Result<Committed<(EventType, bool)>, Failure> {
        caller.must_be_platform()?;
        new.check().map_err(|refusal| Failure::refused(code::SCHEMA_INVALID, refusal))?;
        if self.is_known(&new).await? {
            let update = EventTypeUpdate {
                description: Some(new.description),
                status: Some(new.status),
                documentation_url: Some(new.documentation_url),
                validation: new.validation,
            };
            let updated = self.store.update_event_type(&new.name, &update, random::now()).await;
            let (event_type, version) = updated.map_err(of_store)?;
            return Ok(self.commits.answer((event_type, false), version).await);
        }
        let now = random::now();
        let first = SchemaVersion {
            schema_id: new.schema_id.clone(),
            version: 1,
            document: None,
            created: now,
        };
        let versions = match self.store.schema_version(&new.schema_id, None).await {
            Ok(_) => Vec::new(),
            Err(Error::NotFound { .. }) => vec![first],
            Err(error) => return Err(of_store(error)),
        };
        let event_type = EventType {
            validation: new.validation.unwrap_or_else(|| Validation::default_of(&new.name)),
            name: new.name,
            schema_id: new.schema_id,
            description: new.description,
            status: new.status,
            documentation_url: new.documentation_url,
            created: now,
            updated: now,
        };
        let registered = self.store.register(std::slice::from_ref(&event_type), &versions).await;
        let version = registered.map_err(of_store)?;
        let stored = self.store.event_type(&event_type.name).await.map_err(of_store)?;
        Ok(self.commits.answer((stored, true), version).await)
    }

    /// Changes what `update` names of an event type. Of the catalogue's own only the validation can be changed: the rest comes with
    /// Millrace.
    pub(crate) async fn update(
        &self,
        caller: Caller,
        name: &str,
        update: &EventTypeUpdate,
    ) -> Result<Committed<EventType>, Failure> {
        caller.must_be_platform()?;
        check_update(name, update)
            .map_err(|refusal| Failure::refused(code::SCHEMA_INVALID, refusal))?;
        self.event_type(name).await?;
        let updated = self.store.update_event_type(name, update, random::now()).await;
        let (event_type, version) = updated.map_err(of_store)?;
        Ok(self.commits.answer(event_type, version).await)
    }

    /// Pins a type that a subscription is to take: it must be open to new subscriptions.
    pub(crate) async fn pin(&self, wanted: &Wanted) -> Result<SubscribedEvent, Failure> {
        let event_type = self.wanted_type(wanted).await?;
        if event_type.status.may_be_subscribed() {
            return self.pinned(&event_type, wanted).await;
        }
        let message = match event_type.status {
            EventTypeStatus::Discontinued => "is discontinued",
            _ => "is restricted: it cannot be added to a subscription",
        };
        let message = format!("`{}` {message}", wanted.event_type);
        Err(Failure::invalid(code::TYPE_NOT_FOUND, &wanted.type_field, message))
    }

    /// Pins a type that a subscription has already, whatever became of it since.
    pub(crate) async fn pin_again(&self, wanted: &Wanted) -> Result<SubscribedEvent, Failure> {
        let event_type = self.wanted_type(wanted).await?;
        self.pinned(&event_type, wanted).await
    }

    async fn wanted_type(&self, wanted: &Wanted) -> Result<EventType, Failure> {
        let name = &wanted.event_type;
        let found = match check_name("type", name) {
            Ok(()) => self.store.event_type(name).await,
            Err(_) => Err(Error::NotFound { what: String::new() }),
        };
        found.map_err(|error| match error {
            Error::NotFound { .. } => Failure::invalid(
                code::TYPE_NOT_FOUND,
                &wanted.type_field,
                format!("event type `{name}` is not in the catalogue"),
            ),
            error => of_store(error),
        })
    }

    async fn pinned(
        &self,
        event_type: &EventType,
        wanted: &Wanted,
    ) -> Result<SubscribedEvent, Failure> {
        let schema_id = &event_type.schema_id;
        let latest = self.store.schema_version(schema_id, None).await.map_err(of_store)?.version;
        let schema_version = wanted.schema_version.unwrap_or(latest);
        // Versions are numbered from 1 without gaps.
        if !(1..=latest).contains(&schema_version) {
            return Err(Failure::invalid(
                code::SCHEMA_NOT_FOUND,
                &wanted.version_field,
                format!(
                    "schema `{schema_id}` has the versions 1 to {latest}, not {schema_version}"
                ),
            ));
        }
        Ok(SubscribedEvent { event_type: event_type.name.clone(), schema_version })
    }

    /// Tells whether a type is registered. Its schema never changes: subscriptions are pinned to its versions.
    async fn is_known(&self, new: &NewEventType) -> Result<bool, Failure> {
        match self.store.event_type(&new.name).await {
            Ok(known) if known.schema_id != new.schema_id => Err(Failure::new(
                Kind::FailedPrecondition,
                code::SCHEMA_METHOD,
                format!("cannot change: it is `{}`", known.schema_id),
            )
            .at("schema_id")),
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(of_store(error)),
        }
    }
}

impl NewEventType {
    fn check(&self) -> Result<(), Refusal> {
        check_name("type", &self.name)?;
        if is_reserved(&self.name) {
            let message = "is a name of the catalogue that comes with Millrace: choose a prefix of your own, such as `com.example.`";
            return Err(Refusal::invalid("type", message));
        }
        check_name("schema_id", &self.schema_id)?;
        check_text("description", &self.description)?;
        check_page(self.documentation_url.as_deref())
    }
}

fn check_update(name: &str, update: &EventTypeUpdate) -> Result<(), Refusal> {
    let EventTypeUpdate { description, status, documentation_url, validation: _ } = update;
    if is_reserved(name) {
        let fields = [
            ("description", description.is_some()),
            ("status", status.is_some()),
            ("documentation_url", documentation_url.is_some()),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, changed)| *changed) {
            let message = "comes with Millrace: of a type of the catalogue only the validation can be changed";
            return Err(Refusal::invalid(field, message));
        }
    }
    check_text("description", description.as_deref().unwrap_or_default())?;
    check_page(documentation_url.as_ref().and_then(Option::as_deref))
}

fn check_page(page: Option<&str>) -> Result<(), Refusal> {
    let Some(page) = page else { return Ok(()) };
    check_text("documentation_url", page)?;
    match Url::parse(page) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
        _ => Err(Refusal::invalid("documentation_url", "must be an `https` URL")),
    }
}

fn check_text(field: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(Refusal::too_large(field, format!("is longer than {TEXT_MAX_BYTES} bytes")));
    }
    if text.contains('\0') {
        return Err(Refusal::invalid(field, "must not have the character NUL"));
    }
    Ok(())
}

fn not_found(message: String) -> Failure {
    Failure::new(Kind::NotFound, code::SCHEMA_NOT_FOUND, message)
}

fn of_store(error: Error) -> Failure {
    Failure::of_store(error, About::Catalog)
}
