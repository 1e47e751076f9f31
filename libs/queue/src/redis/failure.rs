//! What an error of Redis means to a caller of the queue.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::Error;

/// Why a call failed, before it is known which; shared by all who waited for one attempt to connect.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// What Redis or the way to it says.
    Redis(RedisError),
    /// Set up in a way that we do not work with.
    Refused(String),
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
        let Self::Redis(error) = self else { return true };
        error.is_io_error()
            || error.is_unrecoverable_error()
            || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
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
