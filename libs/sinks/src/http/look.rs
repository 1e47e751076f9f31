//! A look at the way to a receiver, for a test: name, connection and TLS, each on its own, on a connection that is closed again.

use std::time::Duration;

use http::Uri;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::Instant};

use super::HttpClient;
use crate::{
    Step,
    guard::ConnectError,
    words::{clean_text, in_full},
};

impl HttpClient {
    /// Goes to `uri` step by step, as every connection does, through the same guard; ends with the first step that fails.
    pub(crate) async fn look(&self, uri: &Uri, secrets: &[String]) -> Vec<Step> {
        let mut steps = Vec::with_capacity(3);
        // A failed step is the last; what it says stands in it.
        if let Err(error) = self.go(uri, &mut steps).await {
            let (name, began, error) = error;
            let result = Err(clean_text(in_full(&error).as_bytes(), secrets));
            steps.push(Step { name, duration: began.elapsed(), result });
        }
        steps
    }

    async fn go(
        &self,
        uri: &Uri,
        steps: &mut Vec<Step>,
    ) -> Result<(), (&'static str, Instant, ConnectError)> {
        let began = Instant::now();
        let deadline = began + self.connect_timeout;
        let at = |name, began| move |error| (name, began, error);
        let (host, port) = self.guard.place(uri).map_err(at("dns", began))?;
        let vetted = self.guard.vetted(host, port, deadline).await.map_err(at("dns", began))?;
        let found = match vetted.len() {
            1 => format!("{host}: 1 address"),
            count => format!("{host}: {count} addresses"),
        };
        steps.push(done("dns", began.elapsed(), found));
        let began = Instant::now();
        let stream =
            self.guard.reach(host, vetted, deadline).await.map_err(at("connect", began))?;
        steps.push(done("connect", began.elapsed(), format!("port {port}")));
        if uri.scheme_str() == Some("https") {
            let began = Instant::now();
            let spoken = self.shake(host, stream, deadline).await.map_err(at("tls", began))?;
            steps.push(done("tls", began.elapsed(), spoken));
        }
        Ok(())
    }

    /// A TLS handshake; gives the version that was agreed on.
    async fn shake(
        &self,
        host: &str,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<String, ConnectError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ConnectError::Tls {
            host: host.to_owned(),
            source,
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.into()))?;
        let shaking = tokio::time::timeout_at(deadline, self.tls.connect(name, stream));
        let shaken = shaking.await.map_err(|_| ConnectError::Timeout {
            host: host.to_owned(),
            limit: self.connect_timeout,
        })?;
        let stream = shaken.map_err(|error| failed(error.into()))?;
        let version = stream.get_ref().1.protocol_version();
        let version = match version {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        };
        Ok(format!("{version}, the certificate is trusted"))
    }
}

fn done(name: &'static str, duration: Duration, found: String) -> Step {
    Step { name, duration, result: Ok(found) }
}
