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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn request(target: &str, body: &str, headers: &[(&str, &str)]) -> Request {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Request {
            method: "POST".to_owned(),
            target: target.to_owned(),
            headers: headers.iter().map(own).collect(),
            body: body.as_bytes().to_vec(),
            arrived: Instant::now(),
            connection: 1,
            ids: Vec::new(),
            status: None,
        }
    }

    fn keys() -> Keys {
        Keys {
            auth_token: "0123456789abcdef0123456789abcdef".to_owned(),
            signing_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
        }
    }

    // Computed with the validator of Twilio's own Python library.
    #[test]
    fn agrees_with_twilios_validator() {
        let target = "/events?a=1&bodySHA256=2cd3b41907907a9340b805101562746c7bc58620c2828497c99f576dd09b1c1c";
        let body = r#"[{"specversion":"1.0","type":"com.twilio.eventstreams.test-event","source":"Sink","id":"AC00000000000000000000000000000001","dataschema":"https://events-schemas.twilio.com/EventStreams.TestSink/1.json","datacontenttype":"application/json","time":"2026-01-02T03:04:05.678Z","data":{"test_id":"95001c1e-5b8e-45f5-830d-f9cbf1d16420"}}]"#;
        let headers = |tag| [("host", "sink.example.com"), ("x-twilio-signature", tag)];
        let check =
            |body: &str, tag| keys().check_twilio("https", &request(target, body, &headers(tag)));
        assert_eq!(check(body, "R/GxSyTIMPGsbqbRhUg88kF0QfE="), Ok(()));
        assert!(check(&format!("{body} "), "R/GxSyTIMPGsbqbRhUg88kF0QfE=").is_err());
        assert!(check(body, "ZIRiia/NUSJXXqYRdwLxT0AbsCs=").is_err());
    }

    // The vector of the Standard Webhooks reference libraries.
    #[test]
    fn agrees_with_standard_webhooks() {
        let check = |body: &str, timestamp| {
            let headers = [
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", timestamp),
                ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ];
            keys().check_standard(&request("/", body, &headers))
        };
        assert_eq!(check(r#"{"test": 2432232314}"#, "1614265330"), Ok(()));
        assert!(check(r#"{"test": 2432232315}"#, "1614265330").is_err());
        assert!(check(r#"{"test": 2432232314}"#, "1614265331").is_err());
    }
}
