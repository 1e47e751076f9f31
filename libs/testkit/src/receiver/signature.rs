//! The check of both signatures as a receiver makes it, from the published descriptions and with none of our own code:
//! <https://www.twilio.com/docs/usage/webhooks/webhooks-security> and Standard Webhooks 1.0.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{digest, hmac};

use super::Request;

/// What the requests to a path are signed with.
pub(super) struct Keys {
    pub(super) auth_token: String,
    pub(super) signing_secret: String,
}

impl Keys {
    /// Checks both signatures of `request`, which came over `scheme`.
    pub(super) fn check(&self, scheme: &str, request: &Request) -> Result<(), String> {
        self.check_twilio(scheme, request)?;
        self.check_standard(request)
    }

    fn check_twilio(&self, scheme: &str, request: &Request) -> Result<(), String> {
        if request.method == "POST" {
            let said = request.parameter("bodySHA256").ok_or("the query has no bodySHA256")?;
            let hash = digest::digest(&digest::SHA256, &request.body);
            let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            if hash != said {
                return Err(format!("bodySHA256 is {said}, but the body's is {hash}"));
            }
        }
        let host = request.header("host").ok_or("there is no Host header")?;
        let url = format!("{scheme}://{host}{}", request.target);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.auth_token.as_bytes());
        let tag = decode(request, "x-twilio-signature", "")?;
        hmac::verify(&key, url.as_bytes(), &tag)
            .map_err(|_| format!("X-Twilio-Signature is not that of {url}"))
    }

    fn check_standard(&self, request: &Request) -> Result<(), String> {
        let secret =
            self.signing_secret.strip_prefix("whsec_").ok_or("the secret has no whsec_")?;
        let key = BASE64_STANDARD.decode(secret).map_err(|_| "the secret is not Base64")?;
        let id = request.header("webhook-id").ok_or("there is no webhook-id")?;
        let timestamp = request.header("webhook-timestamp").ok_or("no webhook-timestamp")?;
        timestamp.parse::<u64>().map_err(|_| "webhook-timestamp is not a number of seconds")?;
        let mut message = format!("{id}.{timestamp}.").into_bytes();
        message.extend_from_slice(&request.body);
        let tag = decode(request, "webhook-signature", "v1,")?;
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), &message, &tag)
            .map_err(|_| "webhook-signature is not that of id, timestamp and body".to_owned())
    }
}

fn decode(request: &Request, name: &str, prefix: &str) -> Result<Vec<u8>, String> {
    let value = request.header(name).ok_or_else(|| format!("there is no {name}"))?;
    let encoded = value.strip_prefix(prefix).ok_or_else(|| format!("{name} lacks {prefix}"))?;
    BASE64_STANDARD.decode(encoded).map_err(|_| format!("{name} is not Base64"))
}
