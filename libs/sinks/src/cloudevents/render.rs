//! From a sink and its events to a request.

use std::fmt::Write as _;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use millrace_domain::{SinkConfiguration, sink::CloudEventsMode};
use url::Url;

use crate::{
    Delivery, SinkSpec,
    envelope::{Envelope, text},
    http::{Body, Rendered, head},
};

const STRUCTURED: HeaderValue =
    HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
const BATCHED: HeaderValue =
    HeaderValue::from_static("application/cloudevents-batch+json; charset=utf-8");
/// Most bytes of an attribute in a header: common servers take heads of 8 kB.
const ATTRIBUTE_BYTES: usize = 4_096;

/// Renders `batch` for `sink`.
///
/// # Errors
/// A text for people: the request cannot be made from this configuration or these events.
pub(super) fn render(sink: &SinkSpec, batch: &[Delivery]) -> Result<Rendered, String> {
    let SinkConfiguration::CloudEvents { destination, mode, batch_events } = &sink.configuration
    else {
        return Err("this is not a receiver of CloudEvents".to_owned());
    };
    let mut url = Url::parse(destination.reveal())
        .map_err(|error| format!("the destination is not a URL: {error}"))?;
    let mut headers = HeaderMap::with_capacity(16);
    let secrets = head::put(&mut headers, &mut url, sink, batch)?;
    url.set_fragment(None);
    let body = match (mode, batch_events, batch) {
        (CloudEventsMode::Structured, true, _) => {
            headers.insert(CONTENT_TYPE, BATCHED);
            Body::array(batch)
        }
        (CloudEventsMode::Structured, false, [one]) => {
            headers.insert(CONTENT_TYPE, STRUCTURED);
            Body::of(one.event.clone())
        }
        (CloudEventsMode::Binary, _, [one]) => binary(&mut headers, one)?,
        _ => return Err("such a request carries one event".to_owned()),
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::try_from(url.as_str())
        .map_err(|error| format!("the destination cannot be requested: {error}"))?;
    *request.headers_mut() = headers;
    Ok(Rendered { request, secrets })
}

/// Puts attributes into headers; gives the body, which is `data`.
fn binary(headers: &mut HeaderMap, delivery: &Delivery) -> Result<Body, String> {
    let event = Envelope::read(&delivery.event)?;
    let content_type = event.text("datacontenttype").unwrap_or_else(|| "application/json".into());
    for (name, json) in event.iter() {
        if matches!(name, "data" | "data_base64" | "datacontenttype") || json == "null" {
            continue;
        }
        let value = text(json).unwrap_or_else(|| json.into());
        let unusable = || format!("the attribute `{name}` cannot be put in a header");
        let header = HeaderName::try_from(format!("ce-{name}")).map_err(|_| unusable())?;
        let value = Some(encoded(&value)).filter(|value| value.len() <= ATTRIBUTE_BYTES);
        let value = value.and_then(|value| HeaderValue::try_from(value).ok());
        headers.insert(header, value.ok_or_else(unusable)?);
    }
    let told = HeaderValue::try_from(content_type.as_ref());
    headers.insert(CONTENT_TYPE, told.map_err(|_| "`datacontenttype` cannot be put in a header")?);
    let data = match (event.raw("data"), event.raw("data_base64").and_then(text)) {
        (_, Some(encoded)) => BASE64_STANDARD
            .decode(encoded.as_bytes())
            .map_err(|_| "`data_base64` is not Base64".to_owned())?,
        (Some(json), None) => match text(json).filter(|_| !is_json(&content_type)) {
            Some(plain) => plain.into_owned().into_bytes(),
            None => json.as_bytes().to_vec(),
        },
        (None, None) => Vec::new(),
    };
    Ok(Body::of(data))
}

/// Whether `data` is JSON rather than a text that stands in JSON (CloudEvents JSON format, 3.1).
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// The value of a header (HTTP Protocol Binding, 3.1.3.2): what is not visible ASCII, space, `"` and `%` in `%XX`.
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => write!(text, "%{byte:02X}").expect("a String takes any text"),
            0x21..=0x7e => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02X}").expect("a String takes any text"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_encoded_as_the_binding_says() {
        assert_eq!(encoded("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(encoded("/a?b=\"c\"%"), "/a?b=%22c%22%25");
    }

    #[test]
    fn json_is_told_from_what_stands_in_it() {
        assert!(is_json("application/json") && is_json("text/JSON; charset=utf-8"));
        assert!(is_json("application/vnd.a+json") && !is_json("text/plain") && !is_json("jsonx/a"));
    }
}
