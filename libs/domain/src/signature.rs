//! What a webhook request is signed with: `X-Twilio-Signature` and Standard Webhooks.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    digest::{Context, SHA256},
    hmac,
};

use crate::Secret;

/// The prefix of a Standard Webhooks secret (Standard Webhooks 1.0, "Signature scheme").
pub const SIGNING_SECRET_PREFIX: &str = "whsec_";

/// A key of `X-Twilio-Signature`, for any number of requests.
#[derive(Clone)]
pub struct TwilioKey(hmac::Key);

impl TwilioKey {
    /// The key that an account's auth token is.
    pub fn new(auth_token: &Secret) -> Self {
        let token = auth_token.reveal().as_bytes();
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token))
    }

    /// `X-Twilio-Signature` of a request without form parameters: Base64 of HMAC-SHA1 over the URL as it is
    /// requested, which for a JSON body ends in `bodySHA256=…`.
    pub fn sign(&self, url: &str) -> String {
        self.sign_form(url, &[])
    }

    /// `X-Twilio-Signature` of a form request: the URL, then each parameter's name and value, sorted by name;
    /// of a repeated name each value once, sorted.
    pub fn sign_form(&self, url: &str, parameters: &[(String, String)]) -> String {
        let mut parameters = parameters.to_vec();
        parameters.sort();
        parameters.dedup();
        let mut context = hmac::Context::with_key(&self.0);
        context.update(url.as_bytes());
        for (name, value) in &parameters {
            context.update(name.as_bytes());
            context.update(value.as_bytes());
        }
        BASE64_STANDARD.encode(context.sign())
    }
}

/// SHA-256 of a body, which `bodySHA256` tells in hex.
pub fn body_hash<'a>(body: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    body.into_iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// `url` with `bodySHA256=` added to its query, which the hex digits of [`body_hash`] follow. `url` has no fragment.
pub fn before_body_hash(url: &str) -> String {
    let separator = match url.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some((_, query)) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{url}{separator}bodySHA256=")
}

/// A key of `webhook-signature`, for any number of requests.
#[derive(Clone)]
pub struct StandardWebhooksKey(hmac::Key);

impl StandardWebhooksKey {
    /// The bytes that follow `whsec_` in Base64. `None`: the secret is malformed.
    pub fn new(secret: &Secret) -> Option<Self> {
        let key = secret.reveal().strip_prefix(SIGNING_SECRET_PREFIX)?;
        let key = BASE64_STANDARD.decode(key).ok()?;
        Some(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// `webhook-signature`: `v1,` and Base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`. `timestamp` is in seconds.
    pub fn sign<'a>(
        &self,
        id: &str,
        timestamp: i64,
        body: impl IntoIterator<Item = &'a [u8]>,
    ) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        body.into_iter().for_each(|part| context.update(part));
        format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::hex;

    fn parameters(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn signed_url(url: &str, body: &[&[u8]]) -> String {
        before_body_hash(url) + &hex(&body_hash(body.iter().copied()))
    }

    // Vectors 1 to 6 were computed with the validator of Twilio's own Python library.
    #[test]
    fn signs_forms_as_twilio_does() {
        let first = parameters(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675310"),
            ("Digits", "1234"),
            ("From", "+14158675310"),
            ("To", "+18005551212"),
        ]);
        assert_eq!(
            TwilioKey::new(&Secret::new("12345"))
                .sign_form("https://mycompany.com/myapp.php?foo=1&bar=2", &first),
            "GvWf1cFY/Q7PnoempGyD5oXAezc="
        );
        let token = TwilioKey::new(&Secret::new("0123456789abcdef0123456789abcdef"));
        let second = parameters(&[
            ("AccountSid", "AC00000000000000000000000000000001"),
            ("ApiVersion", "2010-04-01"),
            ("From", "+15017122661"),
            ("MessageSid", "SM00000000000000000000000000000001"),
            ("MessageStatus", "delivered"),
            ("RawDlrDoneDate", "2603290400"),
            ("SmsSid", "SM00000000000000000000000000000001"),
            ("SmsStatus", "delivered"),
            ("To", "+15558675310"),
        ]);
        assert_eq!(
            token.sign_form("https://ingest.example.com/twilio/status?tenant=a%20b", &second),
            "4BDFsPVsCrYoN0ezZL+Lr8ezKbk="
        );
        let third = parameters(&[("Body", "héllo ☃"), ("Empty", ""), ("From", "+15017122661")]);
        assert_eq!(
            token.sign_form("https://ingest.example.com/twilio/status", &third),
            "InzOn9nAeHJja55yqx5mfD9RCtk="
        );
        let fourth =
            parameters(&[("MediaUrl", "b"), ("MediaUrl", "a"), ("MediaUrl", "b"), ("To", "+1")]);
        assert_eq!(
            token.sign_form("https://ingest.example.com/m", &fourth),
            "cOB+7s68aueMcydc19Q0WdCvZYU="
        );
    }

    #[test]
    fn signs_json_bodies_as_twilio_does() {
        let token = TwilioKey::new(&Secret::new("0123456789abcdef0123456789abcdef"));
        let body = r#"[{"specversion":"1.0","type":"com.twilio.eventstreams.test-event","source":"Sink","id":"AC00000000000000000000000000000001","dataschema":"https://events-schemas.twilio.com/EventStreams.TestSink/1.json","datacontenttype":"application/json","time":"2026-01-02T03:04:05.678Z","data":{"test_id":"95001c1e-5b8e-45f5-830d-f9cbf1d16420"}}]"#;
        for (url, signature) in [
            ("https://sink.example.com/events", "ZIRiia/NUSJXXqYRdwLxT0AbsCs="),
            ("https://sink.example.com/events?a=1", "R/GxSyTIMPGsbqbRhUg88kF0QfE="),
        ] {
            let url = signed_url(url, &[body.as_bytes()]);
            assert!(url.ends_with(
                "bodySHA256=2cd3b41907907a9340b805101562746c7bc58620c2828497c99f576dd09b1c1c"
            ));
            assert_eq!(token.sign(&url), signature);
        }
        let longer = signed_url("https://sink.example.com/events", &[body.as_bytes(), b" "]);
        assert_ne!(token.sign(&longer), "ZIRiia/NUSJXXqYRdwLxT0AbsCs=");
    }

    // The vector of the Standard Webhooks reference libraries.
    #[test]
    fn signs_as_standard_webhooks_does() {
        let key = StandardWebhooksKey::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        let parts: [&[u8]; 2] = [br#"{"test": "#, b"2432232314}"];
        assert_eq!(
            key.expect("well-formed").sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, parts),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert!(StandardWebhooksKey::new(&Secret::new("nope")).is_none());
    }
}
