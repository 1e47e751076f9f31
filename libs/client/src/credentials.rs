//! As whom a client asks.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// What says who asks; never shown.
#[derive(Clone)]
pub struct Credentials(MetadataValue<Ascii>);

impl Credentials {
    /// An account by its SID and auth token, or an API key by its SID (`SK…`) and secret.
    pub fn account(sid: &str, secret: &str) -> Self {
        Self::of(&format!("Basic {}", BASE64_STANDARD.encode(format!("{sid}:{secret}"))))
    }

    /// The platform by one of its keys: printable ASCII, which every key is.
    ///
    /// # Panics
    /// If the key has other characters.
    pub fn platform(key: &str) -> Self {
        Self::of(&format!("Bearer {key}"))
    }

    fn of(authorization: &str) -> Self {
        let mut value: MetadataValue<Ascii> =
            authorization.parse().expect("credentials are printable ASCII");
        value.set_sensitive(true);
        Self(value)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_sent_and_never_shown() {
        let mut credentials = Credentials::account("AC1", "sesame");
        let request = credentials.call(Request::new(())).expect("a request");
        let sent = request.metadata().get("authorization").expect("there");
        assert_eq!(sent.to_str().expect("ASCII"), "Basic QUMxOnNlc2FtZQ==");
        assert!(!format!("{credentials:?} {request:?}").contains("QUMx"));
    }
}
