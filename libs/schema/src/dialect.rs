//! The dialects of JSON Schema that are spoken.

use serde_json::Value;

use crate::Problem;

/// What a document's keywords mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Draft-07; Twilio's vocabulary is this with `identityType`, an annotation.
    Draft7,
    /// 2020-12.
    Draft202012,
}

/// `$schema` of Twilio's documents that say whose identity a property is.
const TWILIO: &str = "https://events-schemas.twilio.com/vocabulary/twilio";

impl Dialect {
    /// The dialect that a document names.
    pub(crate) fn of(document: &Value) -> Result<Self, Problem> {
        let Some(named) = document.get("$schema") else { return Ok(Self::Draft202012) };
        let uri = named.as_str().unwrap_or_default();
        let uri = uri.strip_suffix('#').unwrap_or(uri);
        match uri {
            "http://json-schema.org/draft-07/schema"
            | "https://json-schema.org/draft-07/schema"
            | TWILIO => Ok(Self::Draft7),
            "https://json-schema.org/draft/2020-12/schema" => Ok(Self::Draft202012),
            _ => Err(Problem::new(
                "/$schema",
                format!(
                    "must be `http://json-schema.org/draft-07/schema#`, `https://json-schema.org/draft/2020-12/schema` or `{TWILIO}`"
                ),
            )),
        }
    }
}
