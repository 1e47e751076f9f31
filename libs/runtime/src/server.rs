//! One listener for REST and gRPC: HTTP/1.1 and HTTP/2 without TLS, bounded, drained at the end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Most connections at once; further ones wait to be accepted.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Longest wait for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most streams at once on an HTTP/2 connection.
const STREAMS_MAX: u32 = 1_024;
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
    while let Some(place) = stopping.run_until_cancelled(Arc::clone(&places).acquire_owned()).await
    {
        let Some(accepted) = stopping.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Ok((stream, peer)) => connect(stream, peer, &routes, &connections, place?),
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

#[expect(
    clippy::disallowed_methods,
    reason = "a connection's name is its peer, and `GracefulShutdown` waits for it"
)]
fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    routes: &Router,
    connections: &GracefulShutdown,
    place: tokio::sync::OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "cannot set TCP_NODELAY");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .keep_alive_interval(Duration::from_secs(20));
    let service = TowerToHyperService::new(routes.clone());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let connection = connections.watch(connection.into_owned());
    drop(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, %peer, "a connection ended early");
        }
        drop(place);
    }));
}
