//! Binary mode: an event's attributes are `ce-` headers, its data is the body.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use millrace_domain::{
    Refusal,
    event::{CloudEvent, EVENT_MAX_BYTES, check_content_type, quoted},
};
use percent_encoding::percent_decode_str;

/// Reads and checks an event; a refusal comes with the event's id, where it has one.
pub(crate) fn event<'a>(
    headers: &'a HeaderMap,
    body: &'a [u8],
) -> Result<CloudEvent<'a>, (String, Refusal)> {
    let id = headers.get("ce-id").and_then(|value| decode("id", value).ok());
    read(headers, body).map_err(|refusal| (id.unwrap_or_default().into_owned(), refusal))
}

fn read<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Result<CloudEvent<'a>, Refusal> {
    let size = body.len()
        + headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    if size > EVENT_MAX_BYTES {
        return Err(Refusal::too_large(
            "",
            format!("an event is at most {EVENT_MAX_BYTES} bytes; this one has {size}"),
        ));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    check_content_type(content_type.unwrap_or_default())?;
    let data = std::str::from_utf8(body).map_err(|_| Refusal::invalid("data", "is not UTF-8"))?;
    let mut event = CloudEvent { data: Cow::Borrowed(data.trim()), ..CloudEvent::default() };
    let mut version = None;
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let value = decode(attribute, only(headers, name, attribute)?)?;
        match attribute {
            "specversion" => version = Some(value),
            "id" if value.is_empty() => {
                return Err(Refusal::invalid("id", "is required and not empty"));
            }
            "id" => event.id = value,
            "source" => event.source = value,
            "type" => event.event_type = value,
            "subject" => event.subject = Some(value),
            "time" => event.time = Some(value),
            "dataschema" => event.dataschema = Some(value),
            "datacontenttype" | "data" | "data_base64" => {
                return Err(Refusal::invalid(
                    attribute,
                    "is no header: data is the body, and its type is `Content-Type`",
                ));
            }
            _ => event.extensions.push((Cow::Borrowed(attribute), Cow::Owned(quoted(&value)))),
        }
    }
    if version.as_deref() != Some("1.0") {
        return Err(Refusal::invalid("specversion", "is required: `1.0`"));
    }
    event.check()?;
    Ok(event)
}

fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    attribute: &str,
) -> Result<&'a HeaderValue, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Refusal::invalid(attribute, "is given twice")),
    }
}

/// Reads a header's value (HTTP binding, section 3.1.3.2): double quotes around it are taken off, then what is
/// percent-encoded is decoded as UTF-8.
fn decode<'a>(attribute: &str, value: &'a HeaderValue) -> Result<Cow<'a, str>, Refusal> {
    let wrong = |_| Refusal::invalid(attribute, "is not percent-encoded UTF-8");
    let text = std::str::from_utf8(value.as_bytes()).map_err(wrong)?;
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let Some(quoted) = quoted else {
        return percent_decode_str(text).decode_utf8().map_err(wrong);
    };
    let mut plain = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        plain.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    let decoded = percent_decode_str(&plain).decode_utf8().map_err(wrong)?;
    Ok(Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let least = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-type", "com.example.a"),
            ("ce-source", "/a"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in least.iter().chain(pairs) {
            headers.remove(*name);
            if !value.is_empty() {
                headers.append(*name, value.parse().expect("a header"));
            }
        }
        headers
    }

    fn refused(pairs: &[(&'static str, &str)], body: &[u8]) -> String {
        event(&headers(pairs), body).expect_err("refused").1.field
    }

    #[test]
    fn headers_are_attributes_and_the_body_is_data() {
        let headers = headers(&[
            ("ce-id", "a%20b"),
            ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("ce-quoted", r#""say \"hi\"""#),
            ("ce-dataschema", "https://s/A/1"),
            ("ce-time", "2026-01-02T03:04:05Z"),
            ("x-other", "7"),
        ]);
        let event = event(&headers, b" {\"n\":1}\n").expect("valid");
        assert_eq!((&*event.id, event.subject.as_deref()), ("a b", Some("Euro € 😀")));
        assert_eq!(&*event.data, r#"{"n":1}"#);
        assert_eq!(event.extensions, [("quoted".into(), r#""say \"hi\"""#.into())]);
    }

    #[test]
    fn a_refusal_names_its_attribute_and_comes_with_the_id() {
        let data = b"{}";
        assert_eq!(refused(&[("ce-specversion", "")], data), "specversion");
        assert_eq!(refused(&[("ce-specversion", "0.3")], data), "specversion");
        assert_eq!(refused(&[("ce-type", "")], data), "type");
        assert_eq!(refused(&[("ce-source", "%ff")], data), "source");
        assert_eq!(refused(&[("ce-datacontenttype", "application/json")], data), "datacontenttype");
        assert_eq!(refused(&[("content-type", "text/xml")], data), "datacontenttype");
        assert_eq!(refused(&[("ce-my_ext", "1")], data), "my_ext");
        assert_eq!(refused(&[], b""), "data");
        assert_eq!(refused(&[], b"\xff"), "data");
        assert_eq!(refused(&[], b"[]"), "data");
        assert_eq!(refused(&[], &vec![b' '; EVENT_MAX_BYTES]), "");
        let mut twice = headers(&[("ce-id", "1")]);
        twice.append("ce-type", "com.example.b".parse().expect("a header"));
        let (id, refusal) = event(&twice, data).expect_err("twice");
        assert_eq!((id.as_str(), refusal.field.as_str()), ("1", "type"));
    }
}
