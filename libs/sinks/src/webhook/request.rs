//! From a sink and its events to a signed request.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use millrace_domain::{secret::hex, signature, sink::WebhookMethod};
use ring::digest::{Context, SHA256};

use super::{plan::Plan, query};
use crate::{
    Delivery, SinkSpec,
    http::{Body, Rendered, head},
};

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
    let plan = Plan::for_sink(sink)?;
    let (body, url) = match plan.method {
        WebhookMethod::Post => {
            let body = Body::array(batch);
            let hash = body_hash(batch, &body);
            (body, format!("{}{}", plan.before_hash, hex(&hash)))
        }
        WebhookMethod::Get => {
            let [delivery] = batch else {
                return Err("a GET request carries one event".to_owned());
            };
            let mut url = plan.url.clone();
            query::append_event(&mut url, &delivery.event)
                .map_err(|error| format!("the event cannot be put in a query: {error}"))?;
            (Body::default(), String::from(url))
        }
    };
    if url.len() > URL_MAX_BYTES {
        return Err(format!("the URL with the event in it is longer than {URL_MAX_BYTES} bytes"));
    }
    let mut headers = plan.headers();
    head::put_trace(&mut headers, batch);
    sign(&mut headers, plan, &Message { url: &url, body: &body, batch, now_seconds });
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = match plan.method {
        WebhookMethod::Post => Method::POST,
        WebhookMethod::Get => Method::GET,
    };
    *request.uri_mut() = Uri::from_maybe_shared(url.into_bytes())
        .map_err(|error| format!("the destination cannot be requested: {error}"))?;
    *request.headers_mut() = headers;
    Ok(Rendered { request, secrets: plan.secrets.clone() })
}

/// SHA-256 of `body`, which has the events of `batch`: that of an event alone is worked out once for all its sinks.
fn body_hash(batch: &[Delivery], body: &Body) -> [u8; 32] {
    match batch {
        [Delivery { hash: Some(shared), .. }] => {
            *shared.get_or_init(|| signature::body_hash(body.parts()))
        }
        _ => signature::body_hash(body.parts()),
    }
}

/// What both signatures are about.
struct Message<'a> {
    url: &'a str,
    body: &'a Body,
    batch: &'a [Delivery],
    now_seconds: i64,
}

/// Adds `X-Twilio-Signature` and the three headers of Standard Webhooks 1.0.
fn sign(headers: &mut HeaderMap, plan: &Plan, message: &Message<'_>) {
    let visible = "Base64 and digits are visible characters";
    let twilio = plan.twilio.sign(message.url);
    headers.insert(X_TWILIO_SIGNATURE, HeaderValue::try_from(twilio).expect(visible));
    let id = message_id(message.batch);
    let standard = plan.standard.sign(&id, message.now_seconds, message.body.parts());
    headers.insert(WEBHOOK_SIGNATURE, HeaderValue::try_from(standard).expect(visible));
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(message.now_seconds));
    headers.insert(WEBHOOK_ID, HeaderValue::try_from(id).expect("checked to be visible"));
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
