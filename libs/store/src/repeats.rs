//! Requests that are done once, however often they are asked.
//!
//! Who asks names a request by an id of their own. Its answer is kept in the transaction of the change that it makes, so there is
//! never one without the other: whoever asks again, since the answer was lost, gets the same answer, and of two who ask at
//! the same time one waits for its turn and finds it done ([`crate::Error::Repeated`]). Like the one who acts ([`crate::audit`]), the request travels
//! with the task.

use std::{fmt, sync::Arc, time::Duration};

use millrace_domain::{ConfigVersion, Timestamp};

use crate::Resource;

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);

tokio::task_local! {
    static ASKED: Arc<Asked>;
}

/// What a resource that was made is answered with; `None` for one that the request is not about.
pub type Render = Box<dyn Fn(&Resource) -> Option<Vec<u8>> + Send + Sync>;

/// A request by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Whose credentials it was made with.
    pub caller: String,
    /// What the caller named it.
    pub id: String,
}

/// A request that is to be done once.
pub struct Asked {
    /// Its name.
    pub name: Name,
    /// SHA-256 of what is asked: under one name nothing else may be.
    pub digest: [u8; 32],
    /// When it is asked.
    pub now: Timestamp,
    /// Its answer.
    pub render: Render,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A request that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// SHA-256 of what was asked.
    pub digest: [u8; 32],
    /// What it was answered.
    pub answer: Vec<u8>,
    /// The version it made.
    pub version: ConfigVersion,
}

/// Runs `work`, whose first change that [`Asked::render`] has an answer for is made once.
pub async fn once<F: Future>(asked: Asked, work: F) -> F::Output {
    ASKED.scope(Arc::new(asked), work).await
}

/// The request that is done now, if it has a name.
pub(crate) fn asked() -> Option<Arc<Asked>> {
    ASKED.try_with(Arc::clone).ok()
}

/// What was kept before is too old.
pub(crate) fn oldest(now: Timestamp) -> i64 {
    now.as_millis() - i64::try_from(KEPT.as_millis()).expect("a day")
}
