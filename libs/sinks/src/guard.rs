//! The address guard: every connection to a sink is made here, and only to an address that was vetted just before.
//!
//! Names are resolved here and the resolved addresses connected to, so a name cannot change its mind between the check
//! and the connection; addresses in the URL are vetted alike. A pooled connection was vetted when it was made.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use millrace_domain::destination::DestinationPolicy;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tower::Service;

use crate::blocking;

/// Most addresses of one name that are tried, so that a hostile zone cannot make us knock on a hundred doors.
const ADDRESSES_TRIED: usize = 8;
/// Most look-ups at a time, each of which holds a thread until the resolver gives up. Half of tokio's blocking threads.
const LOOKUPS: usize = 256;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send>>;

/// Why there is no connection. The texts are for people and hold neither credentials nor addresses that a name
/// resolved to, which could tell an account about the operator's network.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(
        "plain `http` is not allowed here; the operator can allow it with `delivery.allow_http`"
    )]
    Scheme,
    #[error("the destination has no host")]
    Host,
    #[error("cannot resolve `{host}`")]
    Resolve { host: String, source: io::Error },
    #[error(
        "`{host}` is not a public address, and the operator has not allowed its network with `delivery.allow_cidrs`"
    )]
    Forbidden { host: String },
    #[error("cannot connect to `{host}`")]
    Connect { host: String, source: io::Error },
    #[error("no TLS connection to `{host}`")]
    Tls { host: String, source: BoxError },
    #[error("no connection to `{host}` within {limit:?}")]
    Timeout { host: String, limit: Duration },
}

/// Makes TCP connections to vetted addresses.
#[derive(Clone)]
pub(crate) struct GuardedConnector {
    policy: Arc<DestinationPolicy>,
    lookups: Arc<Semaphore>,
    limit: Duration,
}

impl GuardedConnector {
    /// A connector that gives up after `limit`.
    pub(crate) fn new(policy: DestinationPolicy, limit: Duration) -> Self {
        Self { policy: Arc::new(policy), lookups: Arc::new(Semaphore::new(LOOKUPS)), limit }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let deadline = Instant::now() + self.limit;
        let (host, port) = self.place(&uri)?;
        let vetted = self.vetted(host, port, deadline).await?;
        Ok(TokioIo::new(self.reach(host, vetted, deadline).await?))
    }

    /// Host and port of a URL whose scheme is allowed.
    pub(crate) fn place<'a>(&self, uri: &'a Uri) -> Result<(&'a str, u16), ConnectError> {
        let port = match (uri.scheme_str(), uri.port_u16()) {
            (Some("http"), _) if !self.policy.allow_http => return Err(ConnectError::Scheme),
            (_, Some(port)) => port,
            (Some("http"), None) => 80,
            _ => 443,
        };
        Ok((host_of(uri).ok_or(ConnectError::Host)?, port))
    }

    /// The addresses of `host` that may be connected to; there is at least one.
    pub(crate) async fn vetted(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let late = || ConnectError::Timeout { host: host.to_owned(), limit: self.limit };
        let resolved =
            timeout_at(deadline, self.resolve(host, port)).await.map_err(|_| late())??;
        let vetted = resolved.into_iter().filter(|address| self.policy.allows(address.ip()));
        let vetted: Vec<_> = vetted.take(ADDRESSES_TRIED).collect();
        if vetted.is_empty() {
            return Err(ConnectError::Forbidden { host: host.to_owned() });
        }
        Ok(vetted)
    }

    /// A connection to the first of `vetted` that takes one.
    pub(crate) async fn reach(
        &self,
        host: &str,
        vetted: Vec<SocketAddr>,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        let late = || ConnectError::Timeout { host: host.to_owned(), limit: self.limit };
        let stream = first_to_accept(vetted, deadline, host).await?.ok_or_else(late)?;
        // Without this a request that is written in two parts waits for the acknowledgement of the first.
        stream
            .set_nodelay(true)
            .map_err(|source| ConnectError::Connect { host: host.to_owned(), source })?;
        Ok(stream)
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let failed = |source| ConnectError::Resolve { host: host.to_owned(), source };
        let permit = Arc::clone(&self.lookups)
            .acquire_owned()
            .await
            .map_err(|closed| failed(io::Error::other(closed)))?;
        let name = host.to_owned();
        // The permit goes with the look-up, which goes on when the caller has given up.
        let lookup = blocking::run(move || {
            let addresses = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
            drop(permit);
            addresses
        });
        lookup.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
    }
}

impl Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// Bounds the time of `inner`, TLS handshake included, and gives all its errors one type. The client finishes
/// connections in the background when another became free meanwhile, where no caller's deadline reaches them.
#[derive(Clone)]
pub(crate) struct Bounded<C> {
    pub(crate) inner: C,
    pub(crate) limit: Duration,
}

impl<C> Service<Uri> for Bounded<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = ConnectError;
    type Future = Connecting<C::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(context).map_err(|error| of_connector(error, ""))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = host_of(&uri).unwrap_or_default().to_owned();
        let (limit, connecting) = (self.limit, self.inner.call(uri));
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected.map_err(|error| of_connector(error, &host)),
                Err(_) => Err(ConnectError::Timeout { host, limit }),
            }
        })
    }
}

/// The guard's own error, or else one of the TLS handshake.
fn of_connector(error: BoxError, host: &str) -> ConnectError {
    match error.downcast::<ConnectError>() {
        Ok(ours) => *ours,
        Err(source) => ConnectError::Tls { host: host.to_owned(), source },
    }
}

/// Tries `addresses` in turn, each for its share of the time that is left. `None`: the time is up.
async fn first_to_accept(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    host: &str,
) -> Result<Option<TcpStream>, ConnectError> {
    let mut refused = None;
    for (tried, address) in (0u32..).zip(&addresses) {
        let now = Instant::now();
        let left = u32::try_from(addresses.len()).unwrap_or(u32::MAX).saturating_sub(tried);
        let share = deadline.saturating_duration_since(now) / left.max(1);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(Some(stream)),
            Ok(Err(error)) => refused = Some(error),
            Err(_) => {}
        }
    }
    match refused {
        Some(source) => Err(ConnectError::Connect { host: host.to_owned(), source }),
        None => Ok(None),
    }
}

/// The host without the brackets of an IPv6 address.
fn host_of(uri: &Uri) -> Option<&str> {
    let host = uri.host().filter(|host| !host.is_empty())?;
    Some(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}
