//! From a sink and its events to a signed request.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use millrace_domain::{SinkConfiguration, secret::hex, signature, sink::WebhookMethod};
use ring::digest::{Context, SHA256};
use url::Url;

use super::query;
use crate::{
    Delivery, SinkSpec,
    http::{Body, Rendered, head},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const X_TWILIO_SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// Longest URL that is requested: what `http::Uri` holds.
const URL_MAX_BYTES: usize = u16::MAX as usize - 1;

/// Renders `batch` for `sink`.
///
/// # Errors
/// A text for people: the request cannot be made from this configuration or these events.
pub(super) fn render(
    sink: &SinkSpec,
    batch: &[Delivery],
    now_seconds: i64,
) -> Result<Rendered, String> {
    let SinkConfiguration::Webhook { destination, method, .. } = &sink.configuration else {
        return Err("this is not a webhook".to_owned());
    };
    let mut url = Url::parse(destination.reveal())
        .map_err(|error| format!("the destination is not a URL: {error}"))?;
    let mut headers = HeaderMap::with_capacity(8);
    let secrets = head::put(&mut headers, &mut url, sink, batch)?;
    url.set_fragment(None);
    let (body, url) = match method {
        WebhookMethod::Post => {
            let body = Body::array(batch);
            headers.insert(CONTENT_TYPE, JSON);
            let url = signature::with_body_hash(url.as_str(), body.parts());
            (body, url)
        }
        WebhookMethod::Get => {
            let [delivery] = batch else {
                return Err("a GET request carries one event".to_owned());
            };
            query::append_event(&mut url, &delivery.event)
                .map_err(|error| format!("the event cannot be put in a query: {error}"))?;
            (Body::default(), String::from(url))
        }
    };
    if url.len() > URL_MAX_BYTES {
        return Err(format!("the URL with the event in it is longer than {URL_MAX_BYTES} bytes"));
    }
    sign(&mut headers, sink, &Message { url: &url, body: &body, batch, now_seconds })?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = match method {
        WebhookMethod::Post => Method::POST,
        WebhookMethod::Get => Method::GET,
    };
    *request.uri_mut() = Uri::from_maybe_shared(url.into_bytes())
        .map_err(|error| format!("the destination cannot be requested: {error}"))?;
    *request.headers_mut() = headers;
    Ok(Rendered { request, secrets })
}

/// What both signatures are about.
struct Message<'a> {
    url: &'a str,
    body: &'a Body,
    batch: &'a [Delivery],
    now_seconds: i64,
}

/// Adds `X-Twilio-Signature` and the three headers of Standard Webhooks 1.0.
fn sign(headers: &mut HeaderMap, sink: &SinkSpec, message: &Message<'_>) -> Result<(), String> {
    let visible = "Base64 and digits are visible characters";
    let twilio = signature::twilio(&sink.auth_token, message.url);
    headers.insert(X_TWILIO_SIGNATURE, HeaderValue::try_from(twilio).expect(visible));
    let id = message_id(message.batch);
    let standard = signature::standard_webhooks(
        &sink.signing_secret,
        &id,
        message.now_seconds,
        message.body.parts(),
    )
    .ok_or("the sink's signing secret is not `whsec_` and Base64")?;
    headers.insert(WEBHOOK_SIGNATURE, HeaderValue::try_from(standard).expect(visible));
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(message.now_seconds));
    headers.insert(WEBHOOK_ID, HeaderValue::try_from(id).expect("checked to be visible"));
    Ok(())
}

/// `webhook-id`, the same for every attempt at the same batch: the id of the one event, or `msg_` and 32 hex digits of
/// SHA-256 over the ids, each followed by a line feed. An id that no header can carry is hashed as well.
fn message_id(batch: &[Delivery]) -> String {
    if let [Delivery { id, .. }] = batch
        && !id.is_empty()
        && id.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return id.clone();
    }
    let mut context = Context::new(&SHA256);
    for delivery in batch {
        context.update(delivery.id.as_bytes());
        context.update(b"\n");
    }
    let hash = context.finish();
    let half = hash.as_ref().first_chunk::<16>().expect("SHA-256 has 32 bytes");
    format!("msg_{}", hex(half))
}
