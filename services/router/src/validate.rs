//! Whether an event's data fits its schema version. Whose type has no document pays nothing.
//!
//! A document is compiled when the first event of its version comes, and kept by its digest: however often the configuration is told
//! anew, the same text is compiled once. The publish that has that event waits, and whoever else has one of that version; they take no
//! thread of those that serve, and nobody else waits. One is compiled at a time. What is kept is bounded: what was not used for
//! longest goes first, and is compiled again when it is needed. A document that cannot be compiled is told of once, and its events are
//! accepted as they are.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use millrace_domain::{Refusal, schema::Validation};
use millrace_schema::Validator;
use millrace_watch::{Document, SchemaVersion};
use serde_json::Value;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
};

use crate::metrics;

/// Most bytes of compiled documents, as they are estimated.
const COMPILED_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Most bytes of data times schemas that a value of it may meet: what may cost more is checked where nobody else waits.
const ON_THE_PATH_MAX: usize = 4 * 1024 * 1024;

/// Checks at once for which another thread serves meanwhile: each may take some 50 MB, and there are hundreds of threads.
const OFF_THE_PATH: usize = 4;

/// The compiled documents.
pub(crate) struct Validators {
    compiled: RwLock<HashMap<[u8; 32], Arc<Compiled>>>,
    /// Of one permit, which whoever compiles has: those who need the same find it compiled afterwards.
    turn: Arc<Semaphore>,
    /// Places for checks that may cost much; who finds none keeps its thread.
    off_the_path: Semaphore,
    /// Counts what was compiled; what is used is marked with it.
    age: AtomicU64,
}

/// What a document was compiled to.
pub(crate) struct Compiled {
    /// `None`: cannot be.
    validator: Option<Validator>,
    bytes: usize,
    used: AtomicU64,
}

/// Why an event is not checked, or does not fit.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// Its data does not fit.
    Refused(Refusal),
    /// Its document is to be compiled first.
    Uncompiled(Wanted),
}

/// A document that is to be compiled.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    document: Document,
    schema_id: String,
    number: u32,
}

impl Default for Validators {
    fn default() -> Self {
        let turn = Arc::new(Semaphore::new(1));
        let off_the_path = Semaphore::new(OFF_THE_PATH);
        Self { compiled: RwLock::default(), turn, off_the_path, age: AtomicU64::new(0) }
    }
}

impl Validators {
    /// Checks the data of an event of schema `schema_id` by its version, with what was compiled for it, if that is at hand.
    ///
    /// # Errors
    /// Where the type enforces it, the field that does not fit, and why. A type that only warns has it counted.
    pub(crate) fn check(
        &self,
        validation: Validation,
        (schema_id, number, version): (&str, u32, &SchemaVersion),
        data: &str,
        compiled: Option<&Arc<Compiled>>,
    ) -> Result<(), Unfit> {
        let Some(document) = &version.document else { return Ok(()) };
        if validation == Validation::Off {
            return Ok(());
        }
        let Some(compiled) = compiled.cloned().or_else(|| self.known(document)) else {
            let (document, schema_id) = (document.clone(), schema_id.to_owned());
            return Err(Unfit::Uncompiled(Wanted { document, schema_id, number }));
        };
        let Some(validator) = &compiled.validator else { return Ok(()) };
        let costly = validator.breadth().saturating_mul(data.len()) > ON_THE_PATH_MAX;
        let place = costly.then(|| self.off_the_path.try_acquire().ok()).flatten();
        let fitted = match place {
            Some(_place) => off_the_path(|| fits(validator, data)),
            None => fits(validator, data),
        };
        let Err(refusal) = fitted else { return Ok(()) };
        metrics::unfit(validation.as_str(), schema_id);
        match validation {
            Validation::Enforce => {
                let message =
                    format!("{} (schema `{schema_id}`, version {number})", refusal.message);
                Err(Unfit::Refused(Refusal { message, ..refusal }))
            }
            Validation::Warn | Validation::Off => Ok(()),
        }
    }

    /// Compiles a document on a thread that serves nobody, or waits for whoever does. What is begun is ended, although nobody waits
    /// for it any more.
    pub(crate) async fn compile(self: &Arc<Self>, wanted: Wanted) -> Arc<Compiled> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.expect("is never closed");
        if let Some(known) = self.known(&wanted.document) {
            return known;
        }
        let (kept, bytes) = (Arc::clone(self), wanted.document.text.len());
        let work = move || {
            let compiled = Arc::new(Compiled::of(&wanted));
            kept.keep(wanted.document.digest, Arc::clone(&compiled));
            drop(turn);
            compiled
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "compiling a schema failed: an event is accepted unchecked");
            Arc::new(Compiled { validator: None, bytes, used: AtomicU64::new(0) })
        })
    }

    fn known(&self, document: &Document) -> Option<Arc<Compiled>> {
        let kept = self.compiled.read().unwrap_or_else(PoisonError::into_inner);
        let known = kept.get(&document.digest)?;
        let now = self.age.load(Ordering::Relaxed);
        if known.used.load(Ordering::Relaxed) != now {
            known.used.store(now, Ordering::Relaxed);
        }
        Some(Arc::clone(known))
    }

    /// Keeps what was compiled, and gives up what was not used for longest where there is no room.
    fn keep(&self, digest: [u8; 32], compiled: Arc<Compiled>) {
        let now = self.age.fetch_add(1, Ordering::Relaxed) + 1;
        compiled.used.store(now, Ordering::Relaxed);
        let mut kept = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        let mut bytes: usize = kept.values().map(|known| known.bytes).sum();
        while bytes + compiled.bytes > COMPILED_MAX_BYTES {
            let oldest = kept.iter().min_by_key(|(_, known)| known.used.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else { break };
            bytes -= kept.remove(&oldest).map_or(0, |gone| gone.bytes);
        }
        metrics::compiled(kept.len() + 1, bytes + compiled.bytes);
        kept.insert(digest, compiled);
    }
}

impl fmt::Debug for Validators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validators").finish_non_exhaustive()
    }
}

impl Compiled {
    fn of(Wanted { document, schema_id, number }: &Wanted) -> Self {
        let read = millrace_schema::Document::read(&document.text);
        let validator = read.and_then(|document| document.compile());
        let validator = match validator {
            Ok(validator) => Some(validator),
            Err(problem) => {
                metrics::not_compiled();
                tracing::warn!(
                    schema.id = schema_id,
                    schema.version = number,
                    %problem,
                    "cannot compile a schema: its events are accepted unchecked"
                );
                None
            }
        };
        let bytes = document.text.len() + validator.as_ref().map_or(0, Validator::bytes);
        Self { validator, bytes, used: AtomicU64::new(0) }
    }
}

/// Does what takes long on a thread that serves nobody else meanwhile, where the runtime has such threads.
fn off_the_path<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn fits(validator: &Validator, data: &str) -> Result<(), Refusal> {
    let data: Value = serde_json::from_str(data)
        .map_err(|error| Refusal::invalid("data", format!("cannot be read: {error}")))?;
    validator.check(&data).map_err(|violation| Refusal::invalid(violation.field, violation.message))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use millrace_domain::{projection::Projection, secret::SecretHash};
    use tokio::{runtime, task::JoinSet};

    use super::*;

    fn version(document: &str) -> SchemaVersion {
        SchemaVersion {
            dataschema: "https://s/A/1".to_owned(),
            projection: Projection::keep_all(),
            document: (!document.is_empty()).then(|| Document {
                text: Arc::from(document),
                digest: *SecretHash::of(document).as_bytes(),
            }),
        }
    }

    async fn check(
        validators: &Arc<Validators>,
        validation: Validation,
        document: &str,
        data: &str,
    ) -> Result<(), String> {
        let version = version(document);
        let mut checked = validators.check(validation, ("A", 1, &version), data, None);
        if let Err(Unfit::Uncompiled(wanted)) = checked {
            let compiled = validators.compile(wanted).await;
            checked = validators.check(validation, ("A", 1, &version), data, Some(&compiled));
        }
        checked.map_err(|unfit| match unfit {
            Unfit::Refused(refusal) => format!("{}: {}", refusal.field, refusal.message),
            Unfit::Uncompiled(wanted) => panic!("it was compiled: {wanted:?}"),
        })
    }

    const TEXT: &str = r#"{"properties":{"a":{"type":"string"}}}"#;

    #[tokio::test]
    async fn what_does_not_fit_is_refused_where_the_type_enforces_it() {
        let validators = Arc::new(Validators::default());
        let with = async |validation, data| check(&validators, validation, TEXT, data).await;
        assert_eq!(with(Validation::Enforce, r#"{"a":"x","unknown":1}"#).await, Ok(()));
        let refused = with(Validation::Enforce, r#"{"a":1}"#).await.expect_err("refused");
        assert_eq!(refused, r#"data.a: the value is not of type "string" (schema `A`, version 1)"#);
        assert!(
            with(Validation::Enforce, r#"{"b":1e999}"#).await.is_err(),
            "no number that is known"
        );
        assert_eq!(with(Validation::Warn, r#"{"a":1}"#).await, Ok(()));
        assert_eq!(with(Validation::Off, r#"{"a":1}"#).await, Ok(()));
    }

    #[tokio::test]
    async fn a_version_without_a_document_and_a_type_that_is_off_compile_nothing() {
        let validators = Arc::new(Validators::default());
        assert_eq!(check(&validators, Validation::Enforce, "", r#"{"a":1}"#).await, Ok(()));
        assert_eq!(check(&validators, Validation::Off, TEXT, r#"{"a":1}"#).await, Ok(()));
        assert_eq!(validators.age.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_document_is_compiled_once_and_one_that_cannot_be_does_not_stop_anybody() {
        let validators = Arc::new(Validators::default());
        for _ in 0..3 {
            assert_eq!(check(&validators, Validation::Enforce, TEXT, "{}").await, Ok(()));
            assert_eq!(
                check(&validators, Validation::Enforce, r#"{"type":7}"#, "{}").await,
                Ok(())
            );
        }
        assert_eq!(validators.age.load(Relaxed), 2);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let validators = Arc::new(Validators::default());
        let patterns: Vec<String> =
            (0..60).map(|n| format!(r#""p{n}":{{"pattern":"^[a-z]{{1,9}}$"}}"#)).collect();
        let document =
            |n: u32| format!(r#"{{"title":"{n}","properties":{{{}}}}}"#, patterns.join(","));
        for n in 0..60 {
            assert_eq!(check(&validators, Validation::Enforce, &document(n), "{}").await, Ok(()));
            assert_eq!(check(&validators, Validation::Enforce, &document(0), "{}").await, Ok(()));
        }
        assert_eq!(validators.age.load(Relaxed), 60, "the first was never given up");
        let kept = validators.compiled.read().expect("not poisoned");
        let bytes: usize = kept.values().map(|known| known.bytes).sum();
        assert!(kept.len() < 60 && bytes <= COMPILED_MAX_BYTES, "{} of {bytes} bytes", kept.len());
    }

    /// However many wait, there is one thread that serves, and one that compiles.
    #[test]
    fn others_are_served_while_a_burst_waits_for_one_document_that_is_compiled_once() {
        let mut threads = runtime::Builder::new_multi_thread();
        let runtime = threads.worker_threads(1).max_blocking_threads(1).enable_all().build();
        runtime.expect("threads").block_on(async {
            let validators = Arc::new(Validators::default());
            assert_eq!(check(&validators, Validation::Enforce, TEXT, "{}").await, Ok(()));
            let another = Arc::clone(&validators.turn).acquire_owned().await.expect("free");
            let mut waiting = JoinSet::new();
            for _ in 0..1_000 {
                let validators = Arc::clone(&validators);
                let new = r#"{"properties":{"b":{"type":"string"}}}"#;
                waiting.spawn(async move {
                    check(&validators, Validation::Enforce, new, r#"{"b":1}"#).await
                });
            }
            let mut serving = JoinSet::new();
            let served = Arc::clone(&validators);
            serving.spawn(async move {
                check(&served, Validation::Enforce, TEXT, r#"{"a":1}"#).await.expect_err("unfit")
            });
            let patience = std::time::Duration::from_secs(60);
            let served = tokio::time::timeout(patience, serving.join_next()).await;
            let served = served.expect("is not held up").expect("is there");
            assert!(served.expect("no panic").starts_with("data.a"));
            assert!(waiting.try_join_next().is_none());
            drop(another);
            while let Some(waited) = waiting.join_next().await {
                let unfit = waited.expect("no panic").expect_err("does not fit");
                assert!(unfit.starts_with("data.b"));
            }
            assert_eq!(validators.age.load(Relaxed), 2, "one of them compiled it");
        });
    }
}
