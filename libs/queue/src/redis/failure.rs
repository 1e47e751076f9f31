//! What an error of Redis means to a caller of the queue.

use std::fmt;

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::Error;

/// Why a call failed, before it is known which; shared by all who waited for one attempt to connect.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// What Redis or the way to it says.
    Redis(RedisError),
    /// Set up in a way that we do not work with.
    Refused(String),
    /// It is written, but not where it has to be to survive its server.
    TooFewReplicas {
        /// So many replicas have it.
        have_it: u32,
        /// So many have to.
        wanted: u32,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => error.fmt(f),
            Self::Refused(why) => f.write_str(why),
            Self::TooFewReplicas { have_it, wanted } => {
                write!(f, "{have_it} of {wanted} replicas have it in time")
            }
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl Failure {
    /// The error of the call that does `operation`.
    pub(crate) fn during(self, operation: impl FnOnce() -> String) -> Error {
        let error = match self {
            Self::Refused(why) => return Error::Refused(why),
            Self::Redis(error) => error,
            Self::TooFewReplicas { .. } => {
                let source = self.to_string().into();
                return Error::Unavailable { operation: operation(), source };
            }
        };
        match error.kind() {
            _ if is_full(&error) => Error::Full,
            ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Error::Refused(format!("cannot {}: {error}", operation()))
            }
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse => Error::Corrupt {
                what: format!("what Redis answered to: {}", operation()),
                source: Box::new(error),
            },
            // Among them LOADING, READONLY, TRYAGAIN, MASTERDOWN, MISCONF, NOREPLICAS: they pass.
            _ => Error::Unavailable { operation: operation(), source: Box::new(error) },
        }
    }

    /// Whether it belongs to an outage, as opposed to one call that was answered with an error.
    pub(crate) fn is_outage(&self) -> bool {
        let passes = |error: &RedisError| {
            use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, TryAgain};
            matches!(
                error.kind(),
                ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | TryAgain)
            )
        };
        self.ends_connection() || matches!(self, Self::Redis(error) if passes(error))
    }

    /// Whether the connection it came over is to be given up: it is broken, silent, or leads to a replica.
    pub(crate) fn ends_connection(&self) -> bool {
        let error = match self {
            Self::Redis(error) => error,
            Self::Refused(_) => return true,
            Self::TooFewReplicas { .. } => return false,
        };
        error.is_io_error()
            || error.is_unrecoverable_error()
            || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
    }
}

/// Where a command has to go instead: a server of a cluster that did not do it says so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Redirect<'a> {
    /// The slot is another's, there.
    Moved(&'a str),
    /// The slot is on its way there, and the key is there, or nowhere yet.
    Ask(&'a str),
    /// Here, but later: the keys are on their way, or the cluster is.
    Later,
}

impl<'a> Redirect<'a> {
    /// Reads it from an error; `None`: the server did what it was to do, or never will.
    pub(crate) fn of(error: &'a RedisError) -> Option<Self> {
        use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, TryAgain};
        let ErrorKind::Server(kind) = error.kind() else { return None };
        let there = error.redirect_node().map_or("", |(address, _)| address);
        match kind {
            Moved => Some(Self::Moved(there)),
            Ask => Some(Self::Ask(there)),
            TryAgain | ClusterDown | MasterDown | BusyLoading => Some(Self::Later),
            _ => None,
        }
    }
}

/// Whether the server has no room, for one command or any of several.
fn is_full(error: &RedisError) -> bool {
    error.code() == Some("OOM")
        || error
            .clone()
            .into_server_errors()
            .is_some_and(|errors| errors.iter().any(|(_, error)| error.code() == "OOM"))
}
