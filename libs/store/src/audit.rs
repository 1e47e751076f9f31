//! Who does what, and what is kept of it.
//!
//! Who acts travels with the task and not through every signature: [`acting_as`] and [`of_request`] name them for all
//! that is awaited inside, and the transaction that writes a change writes the entry. A change that nobody is named for is
//! refused ([`crate::Error::Unattributed`]), so what forgets to name its actor fails in its first test.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use millrace_domain::{AccountSid, ApiKeySid, Timestamp, secret::SecretHash};
use serde_json::Value;

tokio::task_local! {
    static ACTING: Arc<Acting>;
}

/// Digits of a platform key's hash that name the key.
const FINGERPRINT_DIGITS: usize = 12;

/// Whose credentials a change was made with, or which part of Millrace made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// An account, by its auth token.
    Account(AccountSid),
    /// An API key.
    ApiKey(ApiKeySid),
    /// A platform key, by the first digits of its hash.
    PlatformKey(String),
    /// Millrace itself: which part.
    Process(&'static str),
}

impl Actor {
    /// The platform key of this hash.
    pub fn platform_key(hash: &SecretHash) -> Self {
        Self::PlatformKey(hash.to_hex().chars().take(FINGERPRINT_DIGITS).collect())
    }
}

/// `AC…`, `SK…`, `platform-key:…` or `millrace:…`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(sid) => sid.fmt(f),
            Self::ApiKey(sid) => sid.fmt(f),
            Self::PlatformKey(fingerprint) => write!(f, "platform-key:{fingerprint}"),
            Self::Process(part) => write!(f, "millrace:{part}"),
        }
    }
}

/// Who acts in a task, once it is known.
#[derive(Debug)]
struct Acting {
    request: String,
    actor: OnceLock<Actor>,
}

/// What an entry says of who made it.
#[derive(Clone, Debug)]
pub(crate) struct Attribution {
    pub(crate) actor: String,
    pub(crate) request: String,
}

/// Runs `work` as `actor`, outside of any request. What `work` spawns is not in it.
pub async fn acting_as<F: Future>(actor: Actor, work: F) -> F::Output {
    let acting = Acting { request: String::new(), actor: OnceLock::from(actor) };
    ACTING.scope(Arc::new(acting), work).await
}

/// Runs `work` for a request; who makes it is told later, by [`identified`].
pub async fn of_request<F: Future>(id: String, work: F) -> F::Output {
    ACTING.scope(Arc::new(Acting { request: id, actor: OnceLock::new() }), work).await
}

/// Tells who makes the request that is served; the first to be told stays. Outside of a request it does nothing.
pub fn identified(actor: Actor) {
    let first = ACTING.try_with(|acting| acting.actor.set(actor));
    // Not in a request, or known already.
    drop(first);
}

/// Who acts now, if anybody is named.
pub(crate) fn attribution() -> Option<Attribution> {
    let named = |acting: &Arc<Acting>| {
        let actor = acting.actor.get()?.to_string();
        Some(Attribution { actor, request: acting.request.clone() })
    };
    ACTING.try_with(named).ok().flatten()
}

/// Something that was done and is no change of the configuration, such as sending dropped events again.
#[derive(Clone, Debug)]
pub struct Deed {
    /// What was done, a verb.
    pub action: &'static str,
    /// Kind of what it was done to.
    pub kind: &'static str,
    /// SID or name of that.
    pub key: String,
    /// Whose that is; `None`: the installation's.
    pub account: Option<AccountSid>,
    /// More of it, without secrets.
    pub detail: Value,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Its number; ascends in the order of commits, not always by one.
    pub id: u64,
    /// When, by the database's clock.
    pub at: Timestamp,
    /// Whose resource; `None`: the installation's.
    pub account: Option<AccountSid>,
    /// [`Actor`], as text.
    pub actor: String,
    /// The request's id; empty: there was none.
    pub request: String,
    /// `create`, `update`, `delete`, or a [`Deed::action`].
    pub action: String,
    /// Kind of the resource, such as `sink`.
    pub kind: String,
    /// SID or name of the resource.
    pub key: String,
    /// Number of the change of the configuration, if it was one.
    pub seq: Option<u64>,
    /// JSON pointers to what differs; secrets that changed are named here.
    pub changed: Vec<String>,
    /// The resource before, as JSON with its secrets masked; `None`: it was not there.
    pub before: Option<String>,
    /// The resource afterwards; `None`: it is gone.
    pub after: Option<String>,
}

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only about this account and what it owns.
    pub account: Option<AccountSid>,
    /// Only about this resource: its SID or name.
    pub key: Option<String>,
    /// Only by this actor, as [`Actor`] is written.
    pub actor: Option<String>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before.
    pub until: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_of_the_first_who_is_identified() {
        assert!(attribution().is_none());
        let named = of_request("RQ1".to_owned(), async {
            assert!(attribution().is_none(), "nobody is known yet");
            identified(Actor::platform_key(&SecretHash::of("a")));
            identified(Actor::Process("late"));
            attribution().expect("is known")
        });
        let named = named.await;
        assert_eq!(
            (named.actor.as_str(), named.request.as_str()),
            ("platform-key:ca978112ca1b", "RQ1")
        );
        assert!(attribution().is_none());
    }
}
