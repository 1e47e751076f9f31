//! Sessions of roles: assumed once for all sinks of a role and external id, renewed ahead of their end, one call at a time.
//! A refusal is kept for a while too, so that a role that cannot be assumed is not asked for again and again.

use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use millrace_domain::{Secret, arn::AwsPartition, outcome::Reason};
use tokio::time::Instant;

/// How long before its end a session is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);
/// A session that ends sooner than this is not used: a request is on its way for seconds.
const LEAST_LEFT: Duration = Duration::from_secs(10);
/// Most roles that are remembered, a few kB each: that of the least recent use goes.
const ROLES_MAX: usize = 10_000;

/// A role as a sink names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) arn: String,
    pub(crate) external_id: Secret,
    /// Its part of AWS.
    pub(crate) partition: AwsPartition,
}

impl Hash for Role {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.arn.hash(state);
        self.external_id.reveal().hash(state);
    }
}

/// What goes with a request for a session.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// What the session is called, if it is made: for the owner of the role to read in its logs.
    pub(crate) session_name: String,
    /// Unix time.
    pub(crate) now_seconds: i64,
}

/// Credentials of a role.
pub(crate) struct Session {
    pub(crate) credentials: SharedCredentialsProvider,
    ends: Instant,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// What STS grants.
pub(crate) struct Grant {
    pub(crate) credentials: Credentials,
    pub(crate) lasts: Duration,
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    /// How long the answer holds.
    pub(crate) keep: Duration,
}

/// Asks for the credentials of a role.
#[async_trait]
pub(crate) trait Assume: Send + Sync {
    /// Ends by a deadline of its own.
    async fn assume(&self, role: &Role, asked: &Asked) -> Result<Grant, Refused>;
}

/// The sessions at hand.
pub(crate) struct Roles<A> {
    assume: A,
    most: usize,
    known: Mutex<HashMap<Role, Arc<Known>>>,
}

#[derive(Debug)]
struct Known {
    state: Mutex<State>,
    /// Held by who asks STS.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    session: Option<Arc<Session>>,
    refused: Option<(Instant, Refused)>,
    used: Instant,
}

/// What is known of a role at a moment.
enum Look {
    /// A session that serves.
    Fresh(Arc<Session>),
    /// One that serves and should be renewed.
    Old(Arc<Session>),
    /// No session, and no use in asking again.
    Refused(Refused),
    Unknown,
}

impl<A: Assume> Roles<A> {
    pub(crate) fn new(assume: A) -> Self {
        Self { assume, most: ROLES_MAX, known: Mutex::default() }
    }

    /// Who asks STS.
    pub(crate) fn assume(&self) -> &A {
        &self.assume
    }

    /// The session of `role`, assumed or renewed if need be. Dropped, a call to STS is abandoned and the next in line makes it.
    pub(crate) async fn session(
        &self,
        role: &Role,
        asked: &Asked,
    ) -> Result<Arc<Session>, Refused> {
        let known = self.known(role);
        match known.look() {
            Look::Fresh(session) => Ok(session),
            Look::Old(session) => match known.flight.try_lock() {
                Ok(_turn) => Ok(self.ask(&known, role, asked).await.unwrap_or(session)),
                Err(_) => Ok(session),
            },
            Look::Refused(refused) => Err(refused),
            Look::Unknown => {
                let _turn = known.flight.lock().await;
                match known.look() {
                    Look::Fresh(session) | Look::Old(session) => Ok(session),
                    Look::Refused(refused) => Err(refused),
                    Look::Unknown => self.ask(&known, role, asked).await,
                }
            }
        }
    }

    /// Uses `session` no more; another that was made meanwhile stays.
    pub(crate) fn forget(&self, role: &Role, session: &Arc<Session>) {
        let known = self.known(role);
        let mut state = known.state();
        if state.session.as_ref().is_some_and(|held| Arc::ptr_eq(held, session)) {
            state.session = None;
        }
    }

    /// Asks for a session, whatever was said before: somebody has just mended the role.
    pub(crate) async fn ask_anew(
        &self,
        role: &Role,
        asked: &Asked,
    ) -> Result<Arc<Session>, Refused> {
        let known = self.known(role);
        let _turn = known.flight.lock().await;
        self.ask(&known, role, asked).await
    }

    /// To be called by who holds the flight.
    async fn ask(
        &self,
        known: &Known,
        role: &Role,
        asked: &Asked,
    ) -> Result<Arc<Session>, Refused> {
        let began = Instant::now();
        let granted = self.assume.assume(role, asked).await;
        let mut state = known.state();
        match granted {
            Ok(Grant { credentials, lasts }) => {
                let credentials = SharedCredentialsProvider::new(credentials);
                let session = Arc::new(Session { credentials, ends: began + lasts });
                state.session = Some(Arc::clone(&session));
                state.refused = None;
                Ok(session)
            }
            Err(refused) => {
                state.refused = Some((Instant::now() + refused.keep, refused.clone()));
                Err(refused)
            }
        }
    }

    fn known(&self, role: &Role) -> Arc<Known> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(role) {
            return Arc::clone(known);
        }
        if all.len() >= self.most {
            let now = Instant::now();
            all.retain(|_, known| known.is_worth_keeping(now));
        }
        if all.len() >= self.most {
            let oldest = all.iter().min_by_key(|(_, known)| known.state().used);
            if let Some(oldest) = oldest.map(|(role, _)| role.clone()) {
                all.remove(&oldest);
            }
        }
        let state = State { session: None, refused: None, used: Instant::now() };
        let known =
            Arc::new(Known { state: Mutex::new(state), flight: tokio::sync::Mutex::default() });
        all.insert(role.clone(), Arc::clone(&known));
        known
    }
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_worth_keeping(&self, now: Instant) -> bool {
        let state = self.state();
        state.session.as_ref().is_some_and(|session| session.ends > now)
            || state.refused.as_ref().is_some_and(|(until, _)| *until > now)
    }

    fn look(&self) -> Look {
        let now = Instant::now();
        let mut state = self.state();
        state.used = now;
        let session = state.session.clone().filter(|held| held.ends > now + LEAST_LEFT);
        let refused = state.refused.as_ref().filter(|(until, _)| *until > now);
        match (session, refused) {
            (Some(session), None) if session.ends <= now + RENEW_BEFORE => Look::Old(session),
            (Some(session), _) => Look::Fresh(session),
            (None, Some((_, refused))) => Look::Refused(refused.clone()),
            (None, None) => Look::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
