//! Whether a version only adds optional properties to the one before.
//!
//! Both ways must hold: what fits the older version fits the newer (so whoever publishes need not change), and what fits the newer,
//! projected to the older, fits the older (so whoever is pinned to it need not change). So a constraint that is wider is refused as
//! one that is narrower is, and the reason says which.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashSet},
    fmt,
};

use serde_json::{Map, Value};

use crate::{outline::outline, problem::at};

/// What a version changes that it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// JSON Pointer into the documents, every `$ref` being written out.
    pub pointer: String,
    /// What changed.
    pub reason: String,
}

impl Break {
    pub(crate) fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason: reason.into() }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.reason)
    }
}

/// Keywords that bound from above: a smaller value is narrower.
const UPPER: [&str; 6] =
    ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"];
/// Keywords that bound from below: a larger value is narrower.
const LOWER: [&str; 6] =
    ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"];

/// Compares two expanded trees.
pub(crate) fn breaks(older: &Value, newer: &Value) -> Vec<Break> {
    let mut comparison = Comparison { breaks: Vec::new() };
    comparison.schema("", older, newer, None);
    comparison.breaks
}

struct Comparison {
    breaks: Vec<Break>,
}

type Fields = Map<String, Value>;

impl Comparison {
    fn tell(&mut self, pointer: &str, reason: &str) {
        self.breaks.push(Break::new(pointer, reason));
    }

    /// Compares two schemas. `about` is what else the older version knows of the same value, from the schemas around this one.
    fn schema(&mut self, pointer: &str, older: &Value, newer: &Value, about: Option<&Value>) {
        match (older, newer) {
            _ if older == newer => {}
            (Value::Object(old), Value::Object(new)) => match about {
                Some(about) => self.fields(pointer, old, new, about),
                None => self.fields(pointer, old, new, &outline(older)),
            },
            (_, Value::Object(_)) => self.tell(pointer, "is wider: nothing fitted before"),
            _ => self.tell(pointer, "is narrower: nothing fits any more"),
        }
    }

    fn fields(&mut self, pointer: &str, old: &Fields, new: &Fields, about: &Value) {
        self.properties(pointer, old, new, about);
        self.required(pointer, old, new);
        let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for keyword in keywords {
            if matches!(keyword.as_str(), "properties" | "required") {
                continue;
            }
            let place = at(pointer, keyword);
            let closes =
                matches!(keyword.as_str(), "additionalProperties" | "unevaluatedProperties");
            let said = |fields: &'_ Fields| {
                fields.get(keyword).filter(|value| !closes || says(value)).cloned()
            };
            match (said(old), said(new)) {
                (None, None) => {}
                (Some(_), None) => self.tell(&place, "was taken out: the constraint is wider"),
                (None, Some(_)) => self.tell(&place, "is new: the constraint is narrower"),
                (Some(old), Some(new)) => self.keyword(&place, (keyword, about), &old, &new),
            }
        }
    }

    fn keyword(&mut self, place: &str, (keyword, about): (&str, &Value), old: &Value, new: &Value) {
        if old == new {
            return;
        }
        match (keyword, old, new) {
            ("type", ..) => self.types(place, old, new),
            ("enum", Value::Array(old), Value::Array(new)) => self.values(place, old, new),
            ("patternProperties", Value::Object(old), Value::Object(new)) => {
                self.patterns(place, old, new);
            }
            ("allOf", Value::Array(old), Value::Array(new)) => {
                self.list(place, old, new, Some(about));
            }
            ("items" | "prefixItems", Value::Array(old), Value::Array(new)) => {
                self.list(place, old, new, None);
            }
            (
                "items"
                | "additionalItems"
                | "additionalProperties"
                | "unevaluatedItems"
                | "unevaluatedProperties",
                ..,
            ) => self.schema(place, old, new, None),
            _ => self.tell(place, bound(keyword, old, new)),
        }
    }

    fn properties(&mut self, pointer: &str, old: &Fields, new: &Fields, about: &Value) {
        let none = Map::new();
        let named = |fields: &Fields| fields.get("properties").and_then(Value::as_object).cloned();
        let (before, after) = (named(old), named(new));
        let place = at(pointer, "properties");
        for (name, older) in before.as_ref().unwrap_or(&none) {
            match after.as_ref().and_then(|after| after.get(name)) {
                Some(newer) => self.schema(&at(&place, name), older, newer, None),
                None => self.tell(&at(&place, name), "was removed"),
            }
        }
        for (name, newer) in after.as_ref().unwrap_or(&none) {
            if before.as_ref().is_some_and(|before| before.contains_key(name)) {
                continue;
            }
            if let Some(reason) = described_already(about, old, (name, newer)) {
                self.tell(&at(&place, name), reason);
            }
        }
    }

    fn required(&mut self, pointer: &str, old: &Fields, new: &Fields) {
        let (before, after) = (names(old), names(new));
        for name in after.difference(&before) {
            let place = at(&at(pointer, "properties"), name);
            self.tell(&place, "is newly required: only optional properties may be added");
        }
        for name in before.difference(&after) {
            let place = at(&at(pointer, "properties"), name);
            self.tell(&place, "is no longer required: older versions promise it");
        }
    }

    fn types(&mut self, place: &str, old: &Value, new: &Value) {
        let (old, new) = (types(old), types(new));
        let narrower = new.difference(&old).next().is_none();
        let wider = old.difference(&new).next().is_none();
        match (narrower, wider) {
            (true, true) => {}
            (true, false) => self.tell(place, "the type is narrower"),
            (false, true) => self.tell(place, "the type is wider: older versions do not know it"),
            (false, false) => self.tell(place, "the type changed"),
        }
    }

    fn values(&mut self, place: &str, old: &[Value], new: &[Value]) {
        let of = |values: &'_ [Value]| values.iter().cloned().collect::<HashSet<Value>>();
        let (old, new) = (of(old), of(new));
        let (narrower, wider) = (new.is_subset(&old), old.is_subset(&new));
        match (narrower, wider) {
            (true, true) => {}
            (true, false) => self.tell(place, "the enum is narrower"),
            (false, true) => {
                self.tell(place, "the enum is wider: older versions do not know the new values");
            }
            (false, false) => self.tell(place, "the enum changed"),
        }
    }

    fn patterns(&mut self, place: &str, old: &Fields, new: &Fields) {
        for (pattern, older) in old {
            match new.get(pattern) {
                Some(newer) => self.schema(&at(place, pattern), older, newer, None),
                None => self.tell(&at(place, pattern), "was removed"),
            }
        }
        for pattern in new.keys().filter(|pattern| !old.contains_key(*pattern)) {
            self.tell(&at(place, pattern), "is new: the constraint is narrower");
        }
    }

    fn list(&mut self, place: &str, old: &[Value], new: &[Value], about: Option<&Value>) {
        if old.len() != new.len() {
            return self.tell(place, "has another number of schemas");
        }
        for (n, (older, newer)) in old.iter().zip(new).enumerate() {
            self.schema(&at(place, &n.to_string()), older, newer, about);
        }
    }
}

/// Whether a schema for further properties says anything: `true` and `false` do not, as unknown properties never refuse an event.
fn says(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| !fields.is_empty())
}

/// Why a property that is new to `properties` is not new to events; `about` is what the older version knows of the object.
fn described_already(
    about: &Value,
    old: &Fields,
    (name, newer): (&str, &Value),
) -> Option<&'static str> {
    if about.get("additionalProperties").is_some() {
        return Some("may be described already, as one of the properties without a name");
    }
    let known = about.get("properties").and_then(Value::as_object);
    if known.is_none() && says(newer) {
        return Some("makes the object narrower, which might hold anything");
    }
    if known.is_some_and(|known| known.contains_key(name)) && says(newer) {
        return Some("makes a property narrower that the older version knows");
    }
    if ["minProperties", "maxProperties"].iter().any(|keyword| old.contains_key(*keyword)) {
        return Some("counts towards `minProperties` or `maxProperties`");
    }
    None
}

fn names(fields: &Fields) -> BTreeSet<String> {
    let names = fields.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The types that are allowed; `number` allows integers.
fn types(value: &Value) -> BTreeSet<&str> {
    let mut types: BTreeSet<&str> = match value {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    if types.contains("number") {
        types.insert("integer");
    }
    types
}

fn bound(keyword: &str, old: &Value, new: &Value) -> &'static str {
    let order = match (old.as_f64(), new.as_f64()) {
        (Some(old), Some(new)) => old.partial_cmp(&new),
        _ => None,
    };
    let upper = UPPER.contains(&keyword);
    match order {
        Some(Ordering::Less) if upper => "the bound is wider",
        Some(Ordering::Greater) if upper => "the bound is narrower",
        Some(Ordering::Less) if LOWER.contains(&keyword) => "the bound is narrower",
        Some(Ordering::Greater) if LOWER.contains(&keyword) => "the bound is wider",
        _ => "changed",
    }
}
