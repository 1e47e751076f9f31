//! What is the same in all requests to a webhook, worked out once.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use millrace_domain::{
    SinkConfiguration,
    signature::{self, StandardWebhooksKey, TwilioKey},
    sink::WebhookMethod,
};
use url::Url;

use crate::{SinkSpec, http::head};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Headers that a request has beside those of the plan: a trace, and four of its signatures.
const MORE_HEADERS: usize = 5;

/// The plan of all requests to one sink.
pub(crate) struct Plan {
    pub(super) method: WebhookMethod,
    /// Where requests go, without userinfo and fragment.
    pub(super) url: Url,
    /// The same, with what the hash of a body follows.
    pub(super) before_hash: String,
    headers: Box<[(HeaderName, HeaderValue)]>,
    /// What no text for people may show.
    pub(super) secrets: Vec<String>,
    pub(super) twilio: TwilioKey,
    pub(super) standard: StandardWebhooksKey,
}

impl Plan {
    /// The plan for `sink`, made at the first call.
    ///
    /// # Errors
    /// A text for people: no request can be made from this configuration.
    pub(super) fn for_sink(sink: &SinkSpec) -> Result<&Self, String> {
        sink.prepared.0.get_or_init(|| Self::of(sink)).as_ref().map_err(Clone::clone)
    }

    fn of(sink: &SinkSpec) -> Result<Self, String> {
        let SinkConfiguration::Webhook { destination, method, .. } = &sink.configuration else {
            return Err("this is not a webhook".to_owned());
        };
        let mut url = Url::parse(destination.reveal())
            .map_err(|error| format!("the destination is not a URL: {error}"))?;
        let mut headers = HeaderMap::new();
        let secrets = head::fixed(&mut headers, &mut url, sink)?;
        if *method == WebhookMethod::Post {
            headers.insert(CONTENT_TYPE, JSON);
        }
        url.set_fragment(None);
        Ok(Self {
            method: *method,
            before_hash: signature::before_body_hash(url.as_str()),
            url,
            headers: headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            secrets,
            twilio: TwilioKey::new(&sink.auth_token),
            standard: StandardWebhooksKey::new(&sink.signing_secret)
                .ok_or("the sink's signing secret is not `whsec_` and Base64")?,
        })
    }

    /// The headers of a request, as far as they are known beforehand.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + MORE_HEADERS);
        headers.extend(self.headers.iter().cloned());
        headers
    }
}
