//! The fields of a configuration, each taken once; what is left at the end is refused.

use serde_json::{Map, Value};

use super::SinkType;
use crate::Refusal;

/// What is not read yet.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn of(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// A text that must be there and not be empty; `what` says what it is.
    pub(super) fn text(&mut self, key: &str, what: &str) -> Result<String, Refusal> {
        match self.0.remove(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            None | Some(Value::String(_)) => Err(refused(key, format!("is required: {what}"))),
            Some(_) => Err(refused(key, "must be a string")),
        }
    }

    /// One of `words`, whatever its case; none: the default.
    pub(super) fn word<T: Copy + Default>(
        &mut self,
        key: &str,
        words: &[(&str, T)],
    ) -> Result<T, Refusal> {
        let given = match self.0.remove(key) {
            None => return Ok(T::default()),
            Some(Value::String(text)) => text,
            Some(_) => String::new(),
        };
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&given));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            refused(key, format!("must be {}", words.join(" or ")))
        })
    }

    /// True or false; none: false.
    pub(super) fn flag(&mut self, key: &str) -> Result<bool, Refusal> {
        match self.0.remove(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(refused(key, "must be true or false")),
        }
    }

    /// Refuses what was not taken.
    pub(super) fn end(self, sink_type: SinkType) -> Result<(), Refusal> {
        match self.0.keys().next() {
            Some(key) => {
                Err(refused(key, format!("is not a setting of a {} sink", sink_type.as_str())))
            }
            None => Ok(()),
        }
    }
}

/// The refusal of a field.
pub(super) fn refused(key: &str, message: impl Into<String>) -> Refusal {
    Refusal::invalid(format!("SinkConfiguration.{key}"), message)
}
