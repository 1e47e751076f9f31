//! A secret among settings: nothing here shows it but [`MaskedSecret::reveal`], a refusal neither.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IgnoredAny},
};

/// What a secret prints as.
const MASK: &str = "***";

/// A secret among settings: read as text, printed as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MaskedSecret(String);

impl MaskedSecret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Shows the secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Tells whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for MaskedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { MASK })
    }
}

impl Serialize for MaskedSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { MASK })
    }
}

impl<'de> Deserialize<'de> for MaskedSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum TextOrOther {
            Text(String),
            Other(IgnoredAny),
        }
        match TextOrOther::deserialize(deserializer)? {
            // `***` is how a secret prints: a default that went through `Serialize` must not become one.
            TextOrOther::Text(text) if text == MASK => Ok(Self::default()),
            TextOrOther::Text(text) => Ok(Self(text)),
            // What serde would say names the value.
            TextOrOther::Other(IgnoredAny) => {
                Err(D::Error::custom("a secret must be a text: quote it"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_masked() {
        let secret = MaskedSecret::new("hunter2");
        assert_eq!(
            format!("{secret:?} {}", serde_json::to_string(&secret).expect("JSON")),
            "*** \"***\""
        );
    }

    #[test]
    fn a_refusal_does_not_show_it() {
        for value in ["12345678901234567", "[\"hunter2\"]", "{\"a\":\"hunter2\"}", "true", "1.5"] {
            let error = serde_json::from_str::<MaskedSecret>(value).expect_err("no text");
            let error = error.to_string();
            assert!(error.contains("quote it"), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("12345"), "{error}");
        }
    }
}
