//! The connection to a collector: plain, or TLS on ring, which tonic here is built without.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use super::OtlpSettings;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What bytes go over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A channel to the collector, which is connected when it is first used.
pub(super) fn channel(otlp: &OtlpSettings) -> anyhow::Result<Channel> {
    let uri = otlp.uri()?;
    let tls = match uri.scheme_str() {
        Some("https") => Some(tls(otlp)?),
        _ => None,
    };
    let endpoint = Endpoint::from(uri).connect_timeout(CONNECT_TIMEOUT).timeout(otlp.timeout);
    let connector = tower::service_fn(move |uri: Uri| {
        let tls = tls.clone();
        async move { connect(&uri, tls).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

async fn connect(uri: &Uri, tls: Option<TlsConnector>) -> io::Result<Box<dyn Stream>> {
    // An IPv6 address stands in brackets in a URL.
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let usual = if tls.is_some() { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(usual);
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}

fn tls(otlp: &OtlpSettings) -> anyhow::Result<TlsConnector> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(otlp.authorities()?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
