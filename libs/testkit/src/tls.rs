//! TLS with certificates of the tests' own: one for `localhost` and `127.0.0.1`, and the authority that signed it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;

/// What a server speaks TLS by; `protocols` are those that it offers (ALPN), such as `h2`.
///
/// # Panics
/// If the fixtures do not fit together.
pub fn acceptor(protocols: &[&str]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("../fixtures/tls/server-key.der")[..]);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], PrivateKeyDer::from(key))
        .expect("the fixtures fit together");
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// The certificate of a server.
pub fn certificate() -> CertificateDer<'static> {
    CertificateDer::from(&include_bytes!("../fixtures/tls/server.der")[..])
}

/// The authority that signed it.
pub fn authority() -> CertificateDer<'static> {
    CertificateDer::from(&include_bytes!("../fixtures/tls/authority.der")[..])
}

/// A certificate as a file of text holds it.
pub fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
