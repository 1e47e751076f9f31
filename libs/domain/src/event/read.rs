//! The envelope as it is read: one pass, nothing copied that need not be.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{CloudEvent, check_content_type, required};
use crate::Refusal;

/// What reading gave: an event, or the refusal of one attribute. Malformed JSON is the reader's own error.
pub(super) struct Parsed<'a>(pub(super) Result<CloudEvent<'a>, Refusal>);

impl<'de> Deserialize<'de> for Parsed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Parsed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed<'de>, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(Text(name)) = map.next_key()? {
            let value = map.next_value::<&RawValue>()?;
            if let Err(refusal) = envelope.set(name, value.get()) {
                // The rest must still be read, so that what is no JSON is told as such.
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Parsed(Err(refusal)));
            }
        }
        Ok(Parsed(envelope.finish()))
    }
}

/// An envelope while it is read.
#[derive(Default)]
struct Envelope<'a> {
    event: CloudEvent<'a>,
    seen: Vec<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    fn set(&mut self, name: Cow<'a, str>, raw: &'a str) -> Result<(), Refusal> {
        if self.seen.contains(&name) {
            return Err(Refusal::invalid(name.as_ref(), "is given twice"));
        }
        self.seen.push(name.clone());
        if raw == "null" {
            return Ok(()); // CloudEvents JSON format 2.2: null is the same as absent
        }
        let event = &mut self.event;
        match name.as_ref() {
            "specversion" if string("specversion", raw)? == "1.0" => {}
            "specversion" => return Err(Refusal::invalid("specversion", "must be `1.0`")),
            "id" => {
                event.id = string("id", raw)?;
                required("id", &event.id)?;
            }
            "source" => event.source = string("source", raw)?,
            "type" => event.event_type = string("type", raw)?,
            "subject" => event.subject = Some(string("subject", raw)?),
            "time" => event.time = Some(string("time", raw)?),
            "dataschema" => event.dataschema = Some(string("dataschema", raw)?),
            "datacontenttype" => check_content_type(&string("datacontenttype", raw)?)?,
            "data" => event.data = Cow::Borrowed(raw),
            "data_base64" => {
                return Err(Refusal::invalid(
                    "data_base64",
                    "binary data is not routed: send a JSON object in `data`",
                ));
            }
            _ => event.extensions.push((name, Cow::Borrowed(raw))),
        }
        Ok(())
    }

    fn finish(self) -> Result<CloudEvent<'a>, Refusal> {
        if self.seen.iter().any(|name| name == "specversion") {
            return Ok(self.event);
        }
        Err(Refusal::invalid("specversion", "is required: `1.0`"))
    }
}

fn string<'a>(field: &str, raw: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let read = serde_json::from_str::<Text<'a>>(raw);
    read.map(|text| text.0).map_err(|_| Refusal::invalid(field, "must be a string"))
}

/// A string that borrows where it can; serde's own `Cow` never does inside a map key.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}
