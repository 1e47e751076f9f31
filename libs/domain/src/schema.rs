//! Event types, schemas, schema versions: names, status, legal moves.

use serde::{Deserialize, Serialize};

use crate::{Refusal, Timestamp};

/// Longest name of an event type or schema, in bytes: what fits a path segment everywhere.
pub const NAME_MAX_BYTES: usize = 255;

/// Where in its life an event type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventTypeStatus {
    /// For everybody.
    Available,
    /// Still for everybody, and going to end.
    Deprecated,
    /// Delivered to those who have it; nobody may add it.
    Restricted,
    /// Ended: published no more.
    Discontinued,
}

impl EventTypeStatus {
    /// The word as REST and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Deprecated => "deprecated",
            Self::Restricted => "restricted",
            Self::Discontinued => "discontinued",
        }
    }

    /// Whether a subscription may add a type of this status.
    pub fn may_be_subscribed(self) -> bool {
        matches!(self, Self::Available | Self::Deprecated)
    }

    /// Whether events of a type of this status are taken.
    pub fn may_be_published(self) -> bool {
        self != Self::Discontinued
    }
}

/// What becomes of an event whose data does not fit its schema version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    /// It is refused.
    Enforce,
    /// It is accepted and counted.
    Warn,
    /// Nobody looks.
    Off,
}

impl Validation {
    /// The word as REST and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }

    /// What holds for a type of which nothing else is said: what the platform registers is enforced; of Twilio's types, whose
    /// published facts have gaps, and of ours there is a warning.
    pub fn default_of(event_type: &str) -> Self {
        if is_reserved(event_type) { Self::Warn } else { Self::Enforce }
    }

    /// What a record of earlier days means, which does not say.
    fn unsaid() -> Self {
        Self::Warn
    }
}

/// Names of event types that only Millrace registers.
const RESERVED_PREFIXES: [&str; 2] = ["com.twilio.", "io.millrace."];

/// Tells whether only Millrace registers event types of such a name.
pub fn is_reserved(event_type: &str) -> bool {
    RESERVED_PREFIXES.iter().any(|prefix| event_type.starts_with(prefix))
}

/// A kind of event that may be published and subscribed to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventType {
    /// Reverse-DNS name, such as `com.twilio.messaging.message.sent`.
    pub name: String,
    /// The schema that describes its `data`.
    pub schema_id: String,
    /// For people.
    pub description: String,
    /// Where in its life it is.
    pub status: EventTypeStatus,
    /// A page about it.
    pub documentation_url: Option<String>,
    /// What becomes of events whose data does not fit.
    #[serde(default = "Validation::unsaid")]
    pub validation: Validation,
    /// When it was registered.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// What to change of an event type; `None`: as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventTypeUpdate {
    /// For people.
    pub description: Option<String>,
    /// Where in its life it is.
    pub status: Option<EventTypeStatus>,
    /// A page about it; `Some(None)`: none any more.
    pub documentation_url: Option<Option<String>>,
    /// What becomes of events whose data does not fit.
    pub validation: Option<Validation>,
}

impl EventTypeUpdate {
    /// Puts the new values in place; tells whether any differs.
    pub fn apply(&self, event_type: &mut EventType) -> bool {
        let before = event_type.clone();
        let Self { description, status, documentation_url, validation } = self.clone();
        event_type.description = description.unwrap_or_else(|| before.description.clone());
        event_type.status = status.unwrap_or(before.status);
        event_type.documentation_url =
            documentation_url.unwrap_or_else(|| before.documentation_url.clone());
        event_type.validation = validation.unwrap_or(before.validation);
        *event_type != before
    }
}

/// One version of a schema; its versions are numbered from 1 and additive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaVersion {
    /// Dotted name of the schema, such as `Messaging.MessageStatus`.
    pub schema_id: String,
    /// From 1.
    pub version: u32,
    /// JSON Schema of `data`, as text. `None`: this version's fields are not known, and projection
    /// to it removes nothing.
    pub document: Option<String>,
    /// When it was registered.
    pub created: Timestamp,
}

/// Checks the name of an event type or schema: letters, digits, `.`, `-`, `_`, at most
/// [`NAME_MAX_BYTES`], starting and ending with a letter or digit.
///
/// # Errors
/// A [`Refusal`] that names `field`.
pub fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let edges = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    if bytes.len() > NAME_MAX_BYTES {
        return Err(Refusal::too_large(field, format!("is longer than {NAME_MAX_BYTES} bytes")));
    }
    if !(edges(bytes.first()) && edges(bytes.last()) && bytes.iter().copied().all(legal)) {
        return Err(Refusal::invalid(
            field,
            "must be letters, digits, `.`, `-` and `_`, such as `com.example.order.paid`",
        ));
    }
    Ok(())
}

/// Reads schema id and version off the end of a `dataschema` URI: `…/Messaging.MessageStatus/7`, with or
/// without `.json`.
pub fn parse_dataschema(uri: &str) -> Option<(&str, u32)> {
    let uri = uri.strip_suffix(".json").unwrap_or(uri);
    let (rest, version) = uri.rsplit_once('/')?;
    let schema_id = rest.rsplit_once('/').map_or(rest, |(_, id)| id);
    let version = version.parse().ok().filter(|version| *version > 0)?;
    (!schema_id.is_empty()).then_some((schema_id, version))
}

/// Finds the version of schema `schema_id` that an event follows: the one that its `dataschema` names, or else `latest`, the newest that
/// there is; versions are numbered from 1 without gaps. 0: none is known, and none is named. Where none is known any may be named.
///
/// # Errors
/// A [`Refusal`] of `dataschema`: it cannot be read, or names another schema or a version that there is not.
pub fn followed_version(
    dataschema: Option<&str>,
    schema_id: &str,
    latest: Option<u32>,
) -> Result<u32, Refusal> {
    let Some(uri) = dataschema else { return Ok(latest.unwrap_or(0)) };
    let (named, number) = parse_dataschema(uri)
        .ok_or_else(|| Refusal::invalid("dataschema", "must end in `/<schema id>/<version>`"))?;
    if named != schema_id {
        let message = format!("names schema `{named}`; this type's is `{schema_id}`");
        return Err(Refusal::invalid("dataschema", message));
    }
    match latest {
        Some(latest) if number > latest => Err(Refusal::not_found(
            "dataschema",
            format!("`{schema_id}` has no version {number}; the latest is {latest}"),
        )),
        _ => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataschema_names_schema_and_version() {
        assert_eq!(
            parse_dataschema("https://events-schemas.twilio.com/Messaging.MessageStatus/7"),
            Some(("Messaging.MessageStatus", 7))
        );
        assert_eq!(
            parse_dataschema("https://events-schemas.twilio.com/EventStreams.TestSink/1.json"),
            Some(("EventStreams.TestSink", 1))
        );
        for wrong in ["", "7", "a/0", "a/-1", "/7", "https://x/a/b"] {
            assert_eq!(parse_dataschema(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_event_follows_the_version_that_it_names_or_the_latest() {
        assert_eq!(followed_version(None, "A", Some(3)), Ok(3));
        assert_eq!(followed_version(None, "A", None), Ok(0));
        assert_eq!(followed_version(Some("https://s/A/2"), "A", Some(3)), Ok(2));
        assert_eq!(followed_version(Some("https://s/A/9"), "A", None), Ok(9));
        for wrong in ["https://s/A/4", "https://s/B/1", "nonsense"] {
            let refusal = followed_version(Some(wrong), "A", Some(3)).expect_err(wrong);
            assert_eq!(refusal.field, "dataschema", "{wrong}");
        }
    }

    #[test]
    fn what_is_not_said_of_validation_depends_on_whose_type_it_is() {
        assert_eq!(Validation::default_of("com.example.order.paid"), Validation::Enforce);
        assert_eq!(Validation::default_of("com.twilio.messaging.message.sent"), Validation::Warn);
        assert_eq!(Validation::default_of("io.millrace.sink.failing"), Validation::Warn);
        assert_eq!(Validation::default_of("com.twilioesque.a"), Validation::Enforce);
    }

    #[test]
    fn names_are_plain() {
        assert!(check_name("type", "com.twilio.verify.max_attempts-reached").is_ok());
        for wrong in ["", ".a", "a.", "a b", "a/b", "é", &"a".repeat(256)] {
            assert!(check_name("type", wrong).is_err(), "{wrong}");
        }
    }
}
