//! Registering versions of schemas: each only adds optional properties to the one before.

use std::sync::Arc;

use millrace_domain::schema::{SchemaVersion, check_name, is_reserved};
use millrace_schema::{Break, Document, Problem};
use millrace_store::{Error, Page};
use serde_json::Value;

use super::{Catalog, of_store};
use crate::{
    auth::Caller,
    commit::Committed,
    random,
    status::{Failure, Kind, code, unavailable},
};

/// Most places of a document that a refusal names.
const BREAKS_TOLD: usize = 5;
/// Most versions of a schema.
const VERSIONS_MAX: u32 = 1_000;

/// A version as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewSchemaVersion {
    pub(crate) schema_id: String,
    /// `None`: the next, unless the document is the latest's.
    pub(crate) version: Option<u32>,
    /// JSON Schema.
    pub(crate) document: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) version: SchemaVersion,
    /// Whether it was registered now.
    pub(crate) created: bool,
}

impl Catalog {
    /// Registers a version of a schema of the platform's own. A repeat gives what is there. Of two callers who register the same
    /// version at once one succeeds.
    pub(crate) async fn register_version(
        &self,
        caller: Caller,
        new: NewSchemaVersion,
    ) -> Result<Committed<Registration>, Failure> {
        caller.must_be_platform()?;
        check_name("schema_id", &new.schema_id)
            .map_err(|refusal| Failure::refused(code::SCHEMA_INVALID, refusal))?;
        self.must_be_own(&new.schema_id).await?;
        let text = new.document.clone();
        let document = self.off_the_path(move || parse(&text)).await??;
        // Before the versions are read: what is committed until then is seen.
        let before = self.store.version().await.map_err(of_store)?;
        let latest = self.latest(&new.schema_id).await?;
        let number = self.number(&new, latest.as_ref()).await?;
        let number = match number {
            Place::There(version) => {
                let registration = Registration { version, created: false };
                return Ok(self.commits.answer(registration, before).await);
            }
            Place::New(number) => number,
        };
        self.must_be_additive(latest.as_ref(), number, document).await?;
        let version = SchemaVersion {
            schema_id: new.schema_id,
            version: number,
            document: Some(new.document),
            created: random::now(),
        };
        let added = self.store.add_schema_version(&version).await;
        let config = added.map_err(|error| lost(error, &version))?;
        let version = self.store.schema_version(&version.schema_id, Some(number)).await;
        let registration = Registration { version: version.map_err(of_store)?, created: true };
        Ok(self.commits.answer(registration, config).await)
    }

    async fn latest(&self, schema_id: &str) -> Result<Option<SchemaVersion>, Failure> {
        match self.store.schema_version(schema_id, None).await {
            Ok(latest) => Ok(Some(latest)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(of_store(error)),
        }
    }

    /// Finds which version it is to be, or that it is there.
    async fn number(
        &self,
        new: &NewSchemaVersion,
        latest: Option<&SchemaVersion>,
    ) -> Result<Place, Failure> {
        let next = latest.map_or(1, |latest| latest.version + 1);
        let refuse = |message: String| {
            Failure::new(Kind::AlreadyExists, code::CONFLICT, message).at("version")
        };
        match (new.version, latest) {
            (None, Some(latest)) if same(latest, &new.document) => Ok(Place::There(latest.clone())),
            // What was made with its type has no document yet.
            (None, Some(latest)) if latest.version == 1 && latest.document.is_none() => {
                Ok(Place::New(1))
            }
            (Some(asked), Some(latest)) if asked == latest.version && latest.document.is_none() => {
                Ok(Place::New(asked))
            }
            (Some(asked), Some(_)) if (1..next).contains(&asked) => {
                let there = self.store.schema_version(&new.schema_id, Some(asked)).await;
                let there = there.map_err(of_store)?;
                match same(&there, &new.document) {
                    true => Ok(Place::There(there)),
                    false => Err(refuse(format!(
                        "{asked} is registered already, with another document: the next is {next}"
                    ))),
                }
            }
            (Some(asked), _) if asked != next => {
                let message = format!("must be {next}, the next of schema `{}`", new.schema_id);
                Err(Failure::invalid(code::SCHEMA_INVALID, "version", message))
            }
            _ if next > VERSIONS_MAX => Err(Failure::invalid(
                code::SCHEMA_INVALID,
                "version",
                format!("a schema has at most {VERSIONS_MAX} versions"),
            )),
            _ => Ok(Place::New(next)),
        }
    }

    /// Compares a document with the version before. One whose fields are not known promises nothing.
    async fn must_be_additive(
        &self,
        latest: Option<&SchemaVersion>,
        number: u32,
        document: Document,
    ) -> Result<(), Failure> {
        let Some(latest) = latest else { return Ok(()) };
        let older = match number.checked_sub(1).filter(|before| *before > 0) {
            Some(before) if before != latest.version => {
                let older = self.store.schema_version(&latest.schema_id, Some(before)).await;
                older.map_err(of_store)?
            }
            Some(_) => latest.clone(),
            None => return Ok(()),
        };
        self.off_the_path(move || must_be_additive(&older, &document)).await?
    }

    /// Does what takes long where nobody else waits; one such thing at a time, so that it takes one thread and the memory of one.
    async fn off_the_path<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        // Never closed, so this only waits.
        let place = Arc::clone(&self.registering).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "cannot read a schema");
            unavailable()
        })
    }

    /// The schemas of the catalogue are Millrace's.
    async fn must_be_own(&self, schema_id: &str) -> Result<(), Failure> {
        let page = Page { after: None, limit: 1 };
        let types = self.store.event_types(Some(schema_id), &page).await.map_err(of_store)?;
        if types.iter().any(|event_type| is_reserved(&event_type.name)) {
            let message = "is a schema of the catalogue that comes with Millrace: its versions come with it too";
            return Err(Failure::invalid(code::SCHEMA_INVALID, "schema_id", message));
        }
        Ok(())
    }
}

/// Where a document belongs.
enum Place {
    There(SchemaVersion),
    New(u32),
}

fn parse(document: &str) -> Result<Document, Failure> {
    Document::parse(document).map_err(|Problem { pointer, message }| {
        let message = match pointer.as_str() {
            "" => message,
            pointer => format!("{pointer}: {message}"),
        };
        Failure::invalid(code::SCHEMA_INVALID, "document", message)
    })
}

/// Whether a document only adds to that of the version before, if there is one.
fn must_be_additive(older: &SchemaVersion, document: &Document) -> Result<(), Failure> {
    let Some(text) = &older.document else { return Ok(()) };
    // A document of earlier days that is over today's bounds cannot be compared.
    let older_document = Document::read(text).map_err(|problem| {
        Failure::new(
            Kind::FailedPrecondition,
            code::SCHEMA_INVALID,
            format!("version {} cannot be compared: {problem}", older.version),
        )
    })?;
    match older_document.breaks(document).as_slice() {
        [] => Ok(()),
        breaks => Err(not_additive(older.version, breaks)),
    }
}

/// Whether a version has this document, however it is spaced.
fn same(version: &SchemaVersion, document: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    version
        .document
        .as_deref()
        .is_some_and(|known| known == document || read(known) == read(document))
}

fn not_additive(before: u32, breaks: &[Break]) -> Failure {
    let told: Vec<String> = breaks.iter().take(BREAKS_TOLD).map(ToString::to_string).collect();
    let more = match breaks.len().saturating_sub(BREAKS_TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let message = format!(
        "is not additive to version {before}: {}{more}. Only optional properties may be added; for anything else register another schema",
        told.join("; ")
    );
    Failure::invalid(code::SCHEMA_INVALID, "document", message)
}

/// Somebody else was faster, or the store failed.
fn lost(error: Error, version: &SchemaVersion) -> Failure {
    match error {
        Error::AlreadyExists { .. } => {
            let message = format!(
                "version {} of schema `{}` was registered by somebody else meanwhile: try again",
                version.version, version.schema_id
            );
            Failure::new(Kind::AlreadyExists, code::CONFLICT, message).at("version")
        }
        error => of_store(error),
    }
}
