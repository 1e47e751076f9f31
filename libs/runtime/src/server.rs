//! One listener for REST and gRPC: HTTP/1.1 and HTTP/2 without TLS, bounded, drained at the end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::complete::Complete;

mod complete;

/// Most connections at once; further ones wait to be accepted.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Longest wait for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// What an HTTP/2 connection starts with, RFC 9113 section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause between looks at a preface that is not whole.
const PREFACE_PAUSE: Duration = Duration::from_millis(20);
/// Most streams at once on an HTTP/2 connection.
const STREAMS_MAX: u32 = 1_024;
/// Largest frame of HTTP/2: a publish of 100 events of 1 kB comes in one, not in seven as by default (16 kB), and is read by a third of the
/// calls. A connection may hold as much of a frame that is not whole.
const FRAME_MAX_BYTES: u32 = 128 * 1024;
/// Largest head of an HTTP/2 request, above what is answered with an explanation.
const HTTP2_HEADERS_MAX_BYTES: u32 = 256 * 1024;
/// Longest wait for open requests when the process stops; a stream that never ends is cut off then.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Binds `address`; port 0 takes a free one.
///
/// # Errors
/// An address that is taken or not of this machine, named.
pub async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on `{address}`: {error}"))
}

/// Serves `routes` on `listener` until `stopping`, then finishes the requests that are open.
///
/// # Errors
/// Never: what a connection does wrong ends that connection.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = GracefulShutdown::new();
    let cut = CancellationToken::new();
    let _cut = cut.clone().drop_guard();
    while let Some(place) = stopping.run_until_cancelled(Arc::clone(&places).acquire_owned()).await
    {
        let Some(accepted) = stopping.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Ok((stream, peer)) => {
                let watcher = connections.watcher();
                let (stopping, cut) = (stopping.clone(), cut.clone());
                let opened = Opened { stream, peer, watcher, stopping, cut };
                connect(opened, &routes, place?);
            }
            Err(error) => {
                // Such as too many open files: it passes.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, connections.shutdown()).await.is_err() {
        tracing::info!("some requests were still open when the server stopped");
    }
    Ok(())
}

/// A connection that was accepted.
struct Opened {
    stream: TcpStream,
    peer: SocketAddr,
    watcher: Watcher,
    stopping: CancellationToken,
    /// Ends it whatever is open on it, and lets go of the routes.
    cut: CancellationToken,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a connection's name is its peer, and `GracefulShutdown` waits for it"
)]
fn connect(opened: Opened, routes: &Router, place: tokio::sync::OwnedSemaphorePermit) {
    let Opened { stream, peer, watcher, stopping, cut } = opened;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "cannot set TCP_NODELAY");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADERS_MAX_BYTES)
        .max_frame_size(FRAME_MAX_BYTES)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .keep_alive_interval(Duration::from_secs(20));
    let service = TowerToHyperService::new(Complete(routes.clone()));
    drop(tokio::spawn(async move {
        let spoke = timeout(HEADER_TIMEOUT, version_is_known(&stream));
        if let Some(Ok(Ok(()))) = stopping.run_until_cancelled(spoke).await {
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            let served = cut.run_until_cancelled(watcher.watch(connection.into_owned())).await;
            if let Some(Err(error)) = served {
                tracing::debug!(error = %error, %peer, "a connection ended early");
            }
        } else {
            tracing::debug!(%peer, "a connection sent no request");
        }
        drop(place);
    }));
}

/// Waits until the first bytes tell HTTP/2 from HTTP/1.1: hyper waits for them without a limit, and only then looks at its clock.
async fn version_is_known(stream: &TcpStream) -> std::io::Result<()> {
    let mut start = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut start).await?;
        let known = length == PREFACE.len()
            || !PREFACE.starts_with(start.get(..length).unwrap_or_default());
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if known {
            return Ok(());
        }
        // What was seen stays readable: nothing tells of more.
        sleep(PREFACE_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn version_of(parts: &[&[u8]]) -> std::io::Result<()> {
        let listener = bind("127.0.0.1:0").await.expect("a port");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("bound")).await.expect("open");
        let (stream, _) = listener.accept().await.expect("a connection");
        let waiting = version_is_known(&stream);
        let writing = async {
            for part in parts {
                client.write_all(part).await.expect("written");
                sleep(PREFACE_PAUSE * 2).await;
            }
            drop(client);
        };
        tokio::join!(waiting, writing).0
    }

    #[tokio::test]
    async fn the_first_bytes_tell_the_version_however_they_arrive() {
        version_of(&[b"GET / HTTP/1.1\r\n"]).await.expect("HTTP/1.1");
        version_of(&[b"P", b"O"]).await.expect("HTTP/1.1");
        version_of(&[PREFACE]).await.expect("HTTP/2");
        version_of(&[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r\n"]).await.expect("HTTP/2");
        assert!(version_of(&[]).await.is_err(), "closed at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_sends_no_request_is_closed() {
        let listener = bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let stopping = CancellationToken::new();
        let clients = async {
            for start in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nA"] {
                let mut client = TcpStream::connect(address).await.expect("open");
                client.write_all(start).await.expect("written");
                let mut answer = Vec::new();
                // Bytes that nobody read make it a reset.
                if let Err(error) = client.read_to_end(&mut answer).await {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                }
            }
            stopping.cancel();
        };
        let serving = serve(listener, Router::new(), stopping.clone());
        tokio::join!(serving, clients).0.expect("served");
    }
}
