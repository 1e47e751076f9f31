//! Whom an event is about: the property of `data` that its schema marks with `identityType`.

use std::collections::HashMap;

use serde_json::Value;

/// A property that names somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the property, in `data` itself.
    pub property: String,
    /// What it is: `phone`, `email`, `user_id` …
    pub kind: String,
}

impl Identity {
    /// The property that a JSON Schema marks with `identityType`; of several the first by name.
    pub fn of_schema(document: &Value) -> Option<Self> {
        let properties = document.get("properties")?.as_object()?;
        let mut marked: Vec<_> = properties
            .iter()
            .filter_map(|(name, property)| Some((name, property.get("identityType")?.as_str()?)))
            .collect();
        marked.sort_unstable();
        let (name, kind) = marked.first()?;
        Some(Self { property: (*name).clone(), kind: (*kind).to_owned() })
    }
}

/// Which property names somebody, by `dataschema`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities(HashMap<String, Identity>);

impl Identities {
    /// Those of these schema versions.
    pub fn of(known: impl IntoIterator<Item = (String, Identity)>) -> Self {
        Self(known.into_iter().collect())
    }

    /// That of events of a `dataschema`.
    pub fn get(&self, dataschema: &str) -> Option<&Identity> {
        self.0.get(dataschema)
    }

    /// Adds that of a schema version; `None`: it names nobody (any more).
    pub fn set(&mut self, dataschema: String, identity: Option<Identity>) {
        match identity {
            Some(identity) => drop(self.0.insert(dataschema, identity)),
            None => drop(self.0.remove(&dataschema)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_the_property_that_is_marked() {
        let marked = json!({"properties": {
            "body": {"type": "string"}, "to": {"identityType": "phone"}, "x": {"identityType": "email"},
        }});
        let expected = Identity { property: "to".to_owned(), kind: "phone".to_owned() };
        assert_eq!(Identity::of_schema(&marked), Some(expected));
        for none in
            [json!({}), json!({"properties": {"to": {"identityType": 7}, "a": true}}), json!([])]
        {
            assert_eq!(Identity::of_schema(&none), None);
        }
    }
}
