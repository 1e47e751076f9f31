//! The CloudEvents 1.0 envelope: read, checked, written. Payload bytes are passed on as they came.

mod read;

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::read::Parsed;
use crate::{Refusal, Timestamp};

/// Largest event, in bytes of its JSON form (1 kB = 1,024 bytes).
pub const EVENT_MAX_BYTES: usize = 256 * 1024;
/// Longest `id`, `type` and `subject`, in bytes.
pub const ATTRIBUTE_MAX_BYTES: usize = 255;
/// Longest `source` and `dataschema`, in bytes.
pub const URI_MAX_BYTES: usize = 2_048;
/// Most extension attributes.
pub const EXTENSIONS_MAX: usize = 32;
/// Longest name of an extension attribute, in bytes (CloudEvents 1.0 says 20 at most *should* be used; some exceed it).
pub const EXTENSION_NAME_MAX_BYTES: usize = 64;
/// The extension attribute by which a platform key says whose event this is; never delivered.
pub const ACCOUNT_EXTENSION: &str = "accountsid";

/// A CloudEvent with a JSON object for `data`.
#[derive(Clone, Debug, Default)]
pub struct CloudEvent<'a> {
    /// Unique per event; what receivers recognise a repeat by. Empty: not given.
    pub id: Cow<'a, str>,
    /// Where it happened, a URI-reference.
    pub source: Cow<'a, str>,
    /// Name of the event type.
    pub event_type: Cow<'a, str>,
    /// What in `source` it is about.
    pub subject: Option<Cow<'a, str>>,
    /// When it happened, as the producer wrote it (RFC 3339).
    pub time: Option<Cow<'a, str>>,
    /// URI of the schema version its `data` follows.
    pub dataschema: Option<Cow<'a, str>>,
    /// Other attributes: name and JSON value (string, number or boolean), in the producer's order.
    pub extensions: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// JSON text of `data`. Empty: not given.
    pub data: Cow<'a, str>,
}

impl<'a> CloudEvent<'a> {
    /// Reads an event in the JSON structured form, and checks it.
    ///
    /// # Errors
    /// The first [`Refusal`], its field an attribute of the event, or empty where it is no JSON object at all.
    pub fn parse(json: &'a [u8]) -> Result<Self, Refusal> {
        if json.len() > EVENT_MAX_BYTES {
            return Err(Refusal::too_large(
                "",
                format!("an event is at most {EVENT_MAX_BYTES} bytes; this one has {}", json.len()),
            ));
        }
        let parsed = serde_json::from_slice::<Parsed<'a>>(json).map_err(|error| {
            Refusal::invalid("", format!("is not a CloudEvent in JSON: {error}"))
        })?;
        let event = parsed.0?;
        event.check()?;
        Ok(event)
    }

    /// The same, of texts of its own.
    pub fn into_owned(self) -> CloudEvent<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        CloudEvent {
            id: own(self.id),
            source: own(self.source),
            event_type: own(self.event_type),
            subject: self.subject.map(own),
            time: self.time.map(own),
            dataschema: self.dataschema.map(own),
            extensions: self
                .extensions
                .into_iter()
                .map(|(name, json)| (own(name), own(json)))
                .collect(),
            data: own(self.data),
        }
    }

    /// Checks every attribute. `id` and `time` may be missing: who accepts the event gives them.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn check(&self) -> Result<(), Refusal> {
        text("id", &self.id, ATTRIBUTE_MAX_BYTES)?;
        required("source", &self.source)?;
        text("source", &self.source, URI_MAX_BYTES)?;
        if self.source.contains(char::is_whitespace) {
            return Err(Refusal::invalid("source", "must be a URI-reference, without spaces"));
        }
        required("type", &self.event_type)?;
        crate::schema::check_name("type", &self.event_type)?;
        if let Some(subject) = &self.subject {
            required("subject", subject)?;
            text("subject", subject, ATTRIBUTE_MAX_BYTES)?;
        }
        if self.time.as_ref().is_some_and(|time| Timestamp::parse_rfc3339(time).is_none()) {
            return Err(Refusal::invalid(
                "time",
                "must be an RFC 3339 time such as `2026-01-02T03:04:05.678Z`",
            ));
        }
        if let Some(uri) = &self.dataschema {
            text("dataschema", uri, URI_MAX_BYTES)?;
            if crate::schema::parse_dataschema(uri).is_none() {
                return Err(Refusal::invalid(
                    "dataschema",
                    "must end in `/<schema id>/<version>`, such as `/Messaging.MessageStatus/7`",
                ));
            }
        }
        self.check_extensions()?;
        self.check_data()
    }

    /// Takes an extension attribute out, and gives its JSON value.
    pub fn take_extension(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let at = self.extensions.iter().position(|(key, _)| key == name)?;
        Some(self.extensions.remove(at).1)
    }

    /// Writes the JSON structured form, with `dataschema` and `data` as given: the bytes that sinks get.
    pub fn to_json(&self, dataschema: Option<&str>, data: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.source.len() + data.len());
        out.extend_from_slice(br#"{"specversion":"1.0""#);
        attribute(&mut out, "type", &self.event_type);
        attribute(&mut out, "source", &self.source);
        if let Some(subject) = &self.subject {
            attribute(&mut out, "subject", subject);
        }
        attribute(&mut out, "id", &self.id);
        if let Some(uri) = dataschema {
            attribute(&mut out, "dataschema", uri);
        }
        member(&mut out, "datacontenttype", r#""application/json""#);
        if let Some(time) = &self.time {
            attribute(&mut out, "time", time);
        }
        for (name, value) in &self.extensions {
            member(&mut out, name, value);
        }
        member(&mut out, "data", data);
        out.push(b'}');
        out
    }

    fn check_extensions(&self) -> Result<(), Refusal> {
        if self.extensions.len() > EXTENSIONS_MAX {
            return Err(Refusal::too_large(
                "",
                format!("an event has at most {EXTENSIONS_MAX} extension attributes"),
            ));
        }
        for (name, value) in &self.extensions {
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            if name.is_empty() || !plain || name.len() > EXTENSION_NAME_MAX_BYTES {
                return Err(Refusal::invalid(
                    name.as_ref(),
                    format!(
                        "is no name for an extension attribute: lower-case letters and digits, at most {EXTENSION_NAME_MAX_BYTES}"
                    ),
                ));
            }
            // CloudEvents 1.0, type system: a String has no control characters. JSON may hold them as escapes.
            let decoded = serde_json::from_str::<Cow<'_, str>>(value).ok();
            if decoded.is_some_and(|text| text.chars().any(char::is_control)) {
                return Err(Refusal::invalid(name.as_ref(), "must not contain control characters"));
            }
            if value.starts_with(['{', '[']) {
                return Err(Refusal::invalid(
                    name.as_ref(),
                    "must be a string, a number or a boolean: put structure into `data`",
                ));
            }
        }
        Ok(())
    }

    fn check_data(&self) -> Result<(), Refusal> {
        if self.data.is_empty() {
            return Err(Refusal::invalid("data", "is required: a JSON object"));
        }
        let value = serde_json::from_str::<&RawValue>(&self.data)
            .map_err(|error| Refusal::invalid("data", format!("is not JSON: {error}")))?;
        if value.get().starts_with('{') {
            Ok(())
        } else {
            Err(Refusal::invalid("data", "must be a JSON object"))
        }
    }
}

/// Refuses content types that are not JSON.
///
/// # Errors
/// A [`Refusal`] of `datacontenttype`.
pub fn check_content_type(content_type: &str) -> Result<(), Refusal> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    Err(Refusal::invalid("datacontenttype", "must be `application/json`: only JSON data is routed"))
}

/// Writes a member whose value is JSON already.
fn member(out: &mut Vec<u8>, name: &str, json: &str) {
    key(out, name);
    out.extend_from_slice(json.as_bytes());
}

/// Writes a member whose value is a text, straight to where it belongs.
fn attribute(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    serde_json::to_writer(out, value).expect("a string is always JSON");
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// JSON text of a string.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

fn required(field: &str, value: &str) -> Result<(), Refusal> {
    if value.is_empty() {
        Err(Refusal::invalid(field, "is required and not empty"))
    } else {
        Ok(())
    }
}

fn text(field: &str, value: &str, max_bytes: usize) -> Result<(), Refusal> {
    if value.len() > max_bytes {
        return Err(Refusal::too_large(field, format!("is longer than {max_bytes} bytes")));
    }
    let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !plain && value.chars().any(char::is_control) {
        return Err(Refusal::invalid(field, "must not have control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str =
        r#"{"specversion":"1.0","type":"com.example.a","source":"/a","data":{"n":1}}"#;

    fn refused(json: &str) -> String {
        CloudEvent::parse(json.as_bytes()).expect_err(json).field
    }

    #[test]
    fn reads_and_writes_an_event_and_leaves_data_alone() {
        let json = r#"{"specversion":"1.0","type":"com.example.a","source":"/a\u00e9","subject":"s","id":"1","datacontenttype":"application/json","time":"2026-01-02T03:04:05Z","ext":7,"data":{"b": 1.50,"a":"\u00e9"}}"#;
        let event = CloudEvent::parse(json.as_bytes()).expect("valid");
        let written = event.to_json(Some("https://s/A/1"), &event.data);
        assert_eq!(
            String::from_utf8(written).expect("UTF-8"),
            r#"{"specversion":"1.0","type":"com.example.a","source":"/aé","subject":"s","id":"1","dataschema":"https://s/A/1","datacontenttype":"application/json","time":"2026-01-02T03:04:05Z","ext":7,"data":{"b": 1.50,"a":"\u00e9"}}"#
        );
    }

    #[test]
    fn id_and_time_may_be_missing() {
        let event = CloudEvent::parse(LEAST.as_bytes()).expect("valid");
        assert!(event.id.is_empty() && event.time.is_none());
    }

    #[test]
    fn takes_an_extension_out() {
        let json = LEAST.replace(r#""source""#, r#""accountsid":"AC1","source""#);
        let mut event = CloudEvent::parse(json.as_bytes()).expect("valid");
        assert_eq!(event.take_extension(ACCOUNT_EXTENSION).as_deref(), Some(r#""AC1""#));
        assert!(
            !String::from_utf8(event.to_json(None, "{}")).expect("UTF-8").contains("accountsid")
        );
    }

    #[test]
    fn a_refusal_names_its_attribute() {
        for (field, from, to) in [
            ("specversion", r#""1.0""#, r#""0.3""#),
            ("specversion", r#""specversion":"1.0","#, ""),
            ("specversion", r#""1.0""#, "1.0"),
            ("type", r#""com.example.a""#, r#""""#),
            ("type", r#""com.example.a""#, r#""a b""#),
            ("type", r#""com.example.a""#, "7"),
            ("source", r#""/a""#, r#""""#),
            ("source", r#""/a""#, r#""a b""#),
            ("source", r#","source":"/a""#, ""),
            ("data", r#"{"n":1}"#, "[]"),
            ("data", r#"{"n":1}"#, "null"),
            ("data", r#"{"n":1}"#, r#""text""#),
            ("data", r#","data":{"n":1}"#, ""),
            ("id", r#""source""#, r#""id":"","source""#),
            ("id", r#""source""#, r#""id":7,"source""#),
            ("id", r#""source""#, r#""id":"a\u0000","source""#),
            ("time", r#""source""#, r#""time":"yesterday","source""#),
            ("source", r#""source""#, r#""source":"/b","source""#),
            ("dataschema", r#""source""#, r#""dataschema":"x","source""#),
            ("datacontenttype", r#""source""#, r#""datacontenttype":"text/xml","source""#),
            ("data_base64", r#""source""#, r#""data_base64":"AA==","source""#),
            ("Ext", r#""source""#, r#""Ext":1,"source""#),
            ("ext", r#""source""#, r#""ext":{},"source""#),
            ("ext", r#""source""#, r#""ext":"a\u000d\u000ab\u0000","source""#),
            ("", "{\"n\":1}}", "{\"n\":1}"),
            ("", LEAST, "[]"),
            ("", LEAST, "\u{feff}{}"),
        ] {
            assert_eq!(refused(&LEAST.replacen(from, to, 1)), field, "{from} → {to}");
        }
        assert_eq!(refused(&LEAST.replace("/a", &"a".repeat(EVENT_MAX_BYTES))), "");
        assert!(CloudEvent::parse(b"\xff\xfe").is_err());
        assert!(CloudEvent::parse("[".repeat(100_000).as_bytes()).is_err(), "nesting is bounded");
    }
}
