//! One setting given as text, by a flag or an environment variable: a provider that knows what it is called.

use figment::{
    Error, Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    util::nest,
    value::{Dict, Map, Value},
};

/// One setting and where it came from, which refusals name.
pub(super) struct Given {
    /// Such as `--set queue.url`.
    pub(super) name: String,
    /// Path of the setting, with dots.
    pub(super) key: String,
    /// Its value.
    pub(super) value: Value,
}

impl Given {
    /// Reads `text` as what `default` is: a text stays as it is, so that a secret may be digits; a list may be parted by commas or
    /// spaces; anything else is TOML.
    pub(super) fn new(name: String, key: &str, text: &str, default: Option<&Value>) -> Self {
        let parsed = toml_value(text);
        let value = match (default, parsed) {
            (_, Some(value @ Value::String(..))) | (Some(Value::Array(..)), Some(value)) => value,
            (Some(Value::String(..)), _) => Value::from(text),
            (Some(Value::Array(..)), None) => {
                let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
                Value::from(parts.map(Value::from).collect::<Vec<_>>())
            }
            (_, Some(value)) => value,
            (_, None) => Value::from(text),
        };
        Self { name, key: key.to_owned(), value }
    }
}

impl Provider for &Given {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone()).interpolater(|_, keys| keys.join("."))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested = nest(&self.key, self.value.clone()).into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(nested))
    }
}

fn toml_value(text: &str) -> Option<Value> {
    // A line of its own: what follows in `text` must not become further settings.
    let line = (!text.contains(['\n', '\r'])).then(|| format!("value = {text}"))?;
    let value: Value = Figment::from(Toml::string(&line)).extract_inner("value").ok()?;
    // Anew: the value carries where it came from, which is nothing to the settings that it becomes part of.
    Value::serialize(value).ok()
}
