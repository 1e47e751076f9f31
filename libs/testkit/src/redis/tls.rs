//! A server that speaks TLS only, with a certificate that a CA of its own signed.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use redis::{Client, RedisResult, TlsCertificates};

use super::{Server, ServerOptions};

/// Makes a CA, and a certificate for 127.0.0.1 that it signed.
const CERTIFICATES: &str = "\
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem \
      -addext basicConstraints=critical,CA:TRUE && \
    openssl req -newkey rsa:2048 -nodes -subj /CN=redis -keyout key.pem -out redis.csr && \
    printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > redis.ext && \
    openssl x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
      -extfile redis.ext -out cert.pem";

impl Server {
    /// Starts a server that speaks TLS only.
    ///
    /// # Errors
    /// If `redis-server` or `openssl` is not installed, or does not do it.
    pub async fn start_tls() -> Result<Self> {
        let directory = tempfile::tempdir().context("no directory for Redis")?;
        let mut make = Command::new("sh");
        make.args(["-c", CERTIFICATES]).current_dir(directory.path());
        let made = make.output().context("no shell")?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr);
            bail!("cannot make certificates: install openssl by `apt-get install openssl`: {why}");
        }
        let tls_ca = Some(fs::read(directory.path().join("ca.pem"))?);
        let options = ServerOptions::default();
        Self { directory, options, sentinel: false, tls_ca, port: 0, process: None }.started().await
    }

    /// Whom to trust to speak to it: PEM; `None`: it does not speak TLS.
    pub fn tls_ca(&self) -> Option<&[u8]> {
        self.tls_ca.as_deref()
    }

    /// What connects to it.
    pub(super) fn client(&self) -> RedisResult<Client> {
        let Some(ca) = &self.tls_ca else { return Client::open(self.url()) };
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
        Client::build_with_tls(self.url(), certificates)
    }
}

/// What makes a server speak it, on `port`.
pub(super) fn arguments(directory: &Path, port: &str) -> Vec<String> {
    let file = |name: &str| directory.join(name).display().to_string();
    [
        ("--port", "0".to_owned()),
        ("--tls-port", port.to_owned()),
        ("--tls-cert-file", file("cert.pem")),
        ("--tls-key-file", file("key.pem")),
        ("--tls-ca-cert-file", file("ca.pem")),
        ("--tls-auth-clients", "no".to_owned()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect()
}
