//! An event taken apart: its attributes as the JSON texts that they are, nothing decoded that need not be.

use std::{borrow::Cow, fmt};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The attributes of an event, in their order; `data` is one of them.
pub(crate) struct Envelope<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Envelope<'a> {
    /// Takes a JSON object apart.
    ///
    /// # Errors
    /// A text for people: it is no JSON object.
    pub(crate) fn read(event: &'a [u8]) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_slice(event);
        let read = reader.deserialize_map(Attributes);
        read.map(Self).map_err(|error| format!("the event is no JSON object: {error}"))
    }

    /// An attribute as JSON.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.get())
    }

    /// An attribute that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        text(self.raw(name)?)
    }

    /// All attributes, as JSON.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.get()))
    }
}

/// The text that `json` is; `None`: it is something else. Borrows what has no escapes.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        false => Some(Cow::Borrowed(inner)),
        true => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

struct Attributes;

impl<'de> Visitor<'de> for Attributes {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut attributes = Vec::with_capacity(10);
        while let Some(name) = map.next_key::<Name<'de>>()? {
            attributes.push((name.0, map.next_value()?));
        }
        Ok(attributes)
    }
}

/// A name, borrowed where it can be.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_attributes_as_they_are_written() {
        let event = br#"{"id":"a\"b","data":{"t": 1.50},"n":7}"#;
        let envelope = Envelope::read(event).expect("an object");
        assert_eq!(envelope.raw("data"), Some(r#"{"t": 1.50}"#));
        assert_eq!(envelope.text("id").as_deref(), Some("a\"b"));
        assert_eq!((envelope.text("n"), envelope.raw("x")), (None, None));
        assert_eq!(envelope.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["id", "data", "n"]);
        assert!(Envelope::read(b"[]").is_err() && Envelope::read(b"{").is_err());
    }
}
