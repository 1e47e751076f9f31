//! The one HTTP client: pooled keep-alive connections through the address guard, one deadline from connect to the
//! last byte of the answer, an answer of bounded size. Redirects are never followed.

mod answer;
mod body;
pub(crate) mod head;
mod look;
mod verdict;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use millrace_domain::destination::DestinationPolicy;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

pub(crate) use self::{answer::retry_after, body::Body, verdict::Verdict};
use crate::guard::{Bounded, GuardedConnector};

/// Most bytes of an answer's body that are read; what is longer costs its connection.
const BODY_READ_BYTES: usize = 16 * 1024;
/// Most bytes of an answer's head.
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// Most idle connections that are kept to one host: as many as a process has requests in flight by default. One host may be
/// that of very many sinks, whose requests would otherwise each make and close a connection.
const IDLE_PER_HOST: usize = 1_024;
/// How long an idle connection is kept; common servers close theirs after 60 to 75 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How sinks are spoken to over HTTP.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Which destinations are allowed; enforced on every connection.
    pub policy: DestinationPolicy,
    /// Longest time from the start of a request to the last byte of its answer (Twilio Event Streams: 5 s).
    pub deadline: Duration,
    /// Longest time of that for resolving, connecting and the TLS handshake, after which there is no connection
    /// rather than no answer.
    pub connect_timeout: Duration,
    /// Certificate authorities that are trusted beside the public ones.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            policy: DestinationPolicy::default(),
            deadline: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            extra_roots: Vec::new(),
        }
    }
}

/// Why the HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// One of the extra roots is no certificate of an authority.
    #[error("cannot trust an extra root certificate")]
    Root(#[source] rustls::Error),
    /// The endpoint of a service is no URL.
    #[error("`{0}` is no URL")]
    Endpoint(String),
}

/// What an exchange came to.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// An answer that ended, or was longer than is read.
    Answered(Answer),
    /// An answer of which only the start came.
    CutShort(Answer, Failure),
    /// No answer.
    Failed(Failure),
}

/// An answer's status and the start of its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<HeaderValue>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why an answer is missing or incomplete, with a text for people.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection, or it broke.
    Connect(String),
    /// What came is not HTTP, or its head is too large.
    Malformed(String),
    /// The deadline passed.
    Timeout(String),
}

type Connector = Bounded<HttpsConnector<GuardedConnector>>;

/// A request ready to be sent.
pub(crate) struct Rendered {
    pub(crate) request: Request<Full<Body>>,
    /// What the request carries that no text for people may show.
    pub(crate) secrets: Vec<String>,
}

/// Sends requests.
pub(crate) struct HttpClient {
    client: Client<Connector, Full<Body>>,
    guard: GuardedConnector,
    tls: TlsConnector,
    connect_timeout: Duration,
    deadline: Duration,
}

impl HttpClient {
    /// Makes a client with a pool of its own.
    ///
    /// # Errors
    /// [`SetupError::Root`] if an extra root cannot be trusted.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, SetupError> {
        let guard = GuardedConnector::new(options.policy.clone(), options.connect_timeout);
        let config = tls(&options.extra_roots)?;
        let connector = Bounded {
            inner: HttpsConnector::from((guard.clone(), config.clone())),
            limit: options.connect_timeout,
        };
        // A request on a reused connection is sent again only if not a byte of it was written before the peer closed.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(HEAD_MAX_BYTES)
            .retry_canceled_requests(true)
            .build(connector);
        let (connect_timeout, deadline) = (options.connect_timeout, options.deadline);
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self { client, guard, tls, connect_timeout, deadline })
    }

    /// When what begins now has to end.
    pub(crate) fn end(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Sends `request` and reads its answer, within the deadline. Dropping the future closes the connection.
    pub(crate) async fn send(&self, request: Request<Full<Body>>) -> Exchange {
        self.send_until(self.end(), request).await
    }

    /// The same, where it is part of what has to end by `deadline`.
    pub(crate) async fn send_until(
        &self,
        deadline: Instant,
        request: Request<Full<Body>>,
    ) -> Exchange {
        // What nobody has the time to wait for is not sent.
        if Instant::now() >= deadline {
            return Exchange::Failed(self.late("no answer"));
        }
        let response = match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Exchange::Failed(answer::failure(&error)),
            Err(_) => return Exchange::Failed(self.late("no answer")),
        };
        let (head, body) = response.into_parts();
        let mut read = BytesMut::new();
        let ended = timeout_at(deadline, read_start(body, &mut read)).await;
        let answer = Answer {
            status: head.status,
            retry_after: head.headers.get(http::header::RETRY_AFTER).cloned(),
            headers: head.headers,
            body: read.freeze(),
        };
        match ended {
            Ok(Ok(())) => Exchange::Answered(answer),
            Ok(Err(error)) => Exchange::CutShort(answer, answer::broken(&error)),
            Err(_) => Exchange::CutShort(answer, self.late("the answer did not end")),
        }
    }

    fn late(&self, what: &str) -> Failure {
        Failure::Timeout(format!("{what} within {:?}", self.deadline))
    }
}

/// Reads `body` to its end or to [`BODY_READ_BYTES`], whichever comes first.
async fn read_start(mut body: Incoming, read: &mut BytesMut) -> Result<(), hyper::Error> {
    while read.len() < BODY_READ_BYTES {
        let Some(frame) = body.frame().await else { return Ok(()) };
        if let Ok(data) = frame?.into_data() {
            let room = BODY_READ_BYTES - read.len();
            read.extend_from_slice(data.get(..room).unwrap_or(&data));
        }
    }
    Ok(())
}

fn tls(extra_roots: &[CertificateDer<'static>]) -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in extra_roots {
        roots.add(root.clone()).map_err(SetupError::Root)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
