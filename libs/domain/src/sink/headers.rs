//! What an account wants its requests to carry beside what Millrace says: names and values, the values secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Refusal, Secret};

/// Most headers of a sink.
pub const HEADERS_MAX: usize = 20;
/// Most bytes of all names and values of a sink: common servers take heads of 8 kB, of which ours have up to 2.
pub const HEADERS_MAX_BYTES: usize = 4_096;
/// Longest name, in bytes.
pub const HEADER_NAME_MAX_BYTES: usize = 128;

/// What only Millrace says: of the connection, of the body, and what a receiver trusts a request by.
const RESERVED: [&str; 20] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-twilio-signature",
    "i-twilio-idempotency-token",
];
/// Families of names that only Millrace says: CloudEvents in binary mode, Standard Webhooks, abuse protection, proxies.
const RESERVED_PREFIXES: [&str; 5] = ["ce-", "proxy-", "sec-", "webhook-", "x-forwarded-"];

/// Headers of a sink's requests, by name in lower case. `Debug` shows no value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, Secret>);

impl Headers {
    /// Checks names and values: at most [`HEADERS_MAX`] and [`HEADERS_MAX_BYTES`], tokens of RFC 9110, no name that only
    /// Millrace may say, none twice.
    ///
    /// # Errors
    /// A [`Refusal`] of field `Headers` or `Headers.<name>`; it never repeats a value.
    pub fn checked(given: impl IntoIterator<Item = (String, String)>) -> Result<Self, Refusal> {
        let mut headers = BTreeMap::new();
        let mut bytes = 0;
        for (name, value) in given {
            let lower = check_name(&name)?;
            check_value(&name, &value)?;
            bytes += name.len() + value.len();
            if headers.insert(lower, Secret::new(value)).is_some() {
                return Err(refused(&name, "is given twice: the case of letters is no difference"));
            }
            if headers.len() > HEADERS_MAX || bytes > HEADERS_MAX_BYTES {
                let message = format!(
                    "are more than {HEADERS_MAX}, or longer than {HEADERS_MAX_BYTES} bytes"
                );
                return Err(Refusal::too_large("Headers", message));
            }
        }
        Ok(Self(headers))
    }

    /// Reads a JSON object of texts, such as `{"X-Api-Key": "…"}`; an empty text is no headers.
    ///
    /// # Errors
    /// As [`Headers::checked`].
    pub fn parse(json: &str) -> Result<Self, Refusal> {
        if json.trim().is_empty() {
            return Ok(Self::default());
        }
        let wrong = || Refusal::invalid("Headers", "must be a JSON object of names and texts");
        let Ok(Value::Object(fields)) = serde_json::from_str(json) else { return Err(wrong()) };
        let pairs = fields.into_iter().map(|(name, value)| match value {
            Value::String(value) => Ok((name, value)),
            _ => Err(refused(&name, "must be a text")),
        });
        Self::checked(pairs.collect::<Result<Vec<_>, _>>()?)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names, in lower case and sorted, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

fn check_name(name: &str) -> Result<String, Refusal> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > HEADER_NAME_MAX_BYTES || !name.bytes().all(token) {
        let message = format!(
            "has a name that is none of a header: 1 to {HEADER_NAME_MAX_BYTES} letters, digits and hyphens"
        );
        return Err(Refusal::invalid("Headers", message));
    }
    let lower = name.to_ascii_lowercase();
    let reserved = RESERVED.contains(&lower.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    if reserved {
        return Err(refused(name, "cannot be set: Millrace sets it itself"));
    }
    Ok(lower)
}

fn check_value(name: &str, value: &str) -> Result<(), Refusal> {
    let visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    if value.is_empty() || value.trim() != value || !value.bytes().all(visible) {
        let message = "must be visible ASCII, without spaces around it";
        return Err(refused(name, message));
    }
    Ok(())
}

/// The refusal of a header, whose name is one: others are not repeated.
fn refused(name: &str, message: &str) -> Refusal {
    Refusal::invalid(format!("Headers.{name}"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(json: &str) -> String {
        let refusal = Headers::parse(json).expect_err(json);
        assert!(!refusal.message.contains("hunter2"), "a value is not repeated");
        refusal.field
    }

    #[test]
    fn takes_tokens_and_visible_texts_and_shows_no_value() {
        let headers = Headers::parse(r#"{"X-Api-Key":"hunter2","authorization":"Bearer a b"}"#);
        let headers = headers.expect("valid");
        let named: Vec<_> = headers.iter().map(|(name, value)| (name, value.reveal())).collect();
        assert_eq!(named, [("authorization", "Bearer a b"), ("x-api-key", "hunter2")]);
        assert!(!format!("{headers:?}").contains("hunter2"));
        assert!(Headers::parse("").expect("none").is_empty());
        assert!(Headers::parse("{}").expect("none").is_empty());
        let stored = serde_json::to_string(&headers).expect("JSON");
        assert_eq!(serde_json::from_str::<Headers>(&stored).expect("read"), headers);
    }

    #[test]
    fn refuses_what_is_no_header_and_what_only_millrace_says() {
        for wrong in [
            "[]",
            "1",
            "{",
            r#"{"":"a"}"#,
            r#"{"a b":"hunter2"}"#,
            r#"{"a\r\nb":"x"}"#,
            r#"{"é":"x"}"#,
        ] {
            assert_eq!(field(wrong), "Headers", "{wrong}");
        }
        for value in [
            r#""""#,
            "7",
            "null",
            r#""hunter2\r\nx: y""#,
            r#"" hunter2""#,
            r#""é""#,
            r#""a\u0000""#,
        ] {
            assert_eq!(field(&format!(r#"{{"X-A":{value}}}"#)), "Headers.X-A", "{value}");
        }
        for name in [
            "Content-Type",
            "HOST",
            "webhook-signature",
            "ce-id",
            "X-Twilio-Signature",
            "traceparent",
        ] {
            assert_eq!(field(&format!(r#"{{"{name}":"hunter2"}}"#)), format!("Headers.{name}"));
        }
        assert_eq!(field(r#"{"X-A":"1","x-a":"2"}"#), "Headers.x-a");
    }

    #[test]
    fn their_number_and_their_size_are_bounded() {
        let of = |count: usize, bytes: usize| {
            Headers::checked((0..count).map(|n| (format!("x-{n:04}"), "v".repeat(bytes))))
        };
        assert!(of(20, 10).is_ok() && of(1, 4_090).is_ok());
        assert_eq!(of(21, 1).expect_err("many").field, "Headers");
        assert_eq!(of(1, 4_091).expect_err("long").field, "Headers");
        assert_eq!(of(10, 1_000).expect_err("long").field, "Headers");
    }
}
