//! A document written out: no `$ref`, no annotations, no definitions; only what events are checked by.
//!
//! A `$ref` that leads back to itself is refused: what is left is a finite tree, and an event is checked by each of its schemas once at
//! most for each value. So size and depth of the tree bound what a check costs.

use serde_json::{Map, Value};

use crate::{
    DEPTH_MAX, Dialect, EXPANDED_MAX_BYTES, PATTERN_MAX_BYTES, PATTERNS_MAX, Problem, SCHEMAS_MAX,
    keyword::{Holds, REFUSED, holds},
    problem::at,
    resolve::resolve,
};

/// Writes a document out.
pub(crate) fn expand(document: &Value, dialect: Dialect) -> Result<Value, Problem> {
    let mut expansion = Expansion {
        root: document,
        dialect,
        open: Vec::new(),
        schemas: 0,
        patterns: 0,
        bytes: 0,
        depth: 0,
    };
    expansion.schema(document, "")
}

struct Expansion<'d> {
    root: &'d Value,
    dialect: Dialect,
    /// The places whose `$ref`s are being written out.
    open: Vec<String>,
    schemas: usize,
    patterns: usize,
    bytes: usize,
    depth: usize,
}

/// About what a value takes in memory, besides its text.
const VALUE_BYTES: usize = 32;

impl<'d> Expansion<'d> {
    fn schema(&mut self, schema: &'d Value, pointer: &str) -> Result<Value, Problem> {
        self.schemas += 1;
        if self.schemas > SCHEMAS_MAX {
            let message =
                format!("has more than {SCHEMAS_MAX} schemas, every `$ref` being written out");
            return Err(Problem::new("", message));
        }
        self.takes(VALUE_BYTES)?;
        if self.depth >= DEPTH_MAX {
            return Err(Problem::new(pointer, format!("nests deeper than {DEPTH_MAX} schemas")));
        }
        self.depth += 1;
        let expanded = match schema {
            Value::Bool(true) => Ok(Value::Object(Map::new())),
            Value::Bool(false) => Ok(Value::Bool(false)),
            Value::Object(fields) => self.fields(fields, pointer),
            _ => Err(Problem::new(pointer, "must be a schema: an object, `true` or `false`")),
        };
        self.depth -= 1;
        expanded
    }

    fn fields(&mut self, fields: &'d Map<String, Value>, pointer: &str) -> Result<Value, Problem> {
        self.refuse(fields, pointer)?;
        if let (Dialect::Draft7, Some(reference)) = (self.dialect, fields.get("$ref")) {
            // Beside `$ref`, draft-07 looks at nothing.
            return self.reference(reference, pointer);
        }
        let mut expanded = Map::new();
        for (keyword, value) in fields {
            if let Some(value) = self.keyword(keyword, value, pointer)? {
                expanded.insert(keyword.clone(), value);
            }
        }
        if let Some(reference) = fields.get("$ref") {
            let target = self.reference(reference, pointer)?;
            if expanded.is_empty() {
                return Ok(target);
            }
            let all = expanded.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(all) = all {
                all.push(target);
            }
        }
        Ok(Value::Object(expanded))
    }

    fn refuse(&self, fields: &Map<String, Value>, pointer: &str) -> Result<(), Problem> {
        let refused = REFUSED.iter().find(|(keyword, _)| fields.contains_key(*keyword));
        if let Some((keyword, message)) = refused {
            return Err(Problem::new(at(pointer, keyword), *message));
        }
        if !pointer.is_empty() && fields.contains_key("$id") {
            let message = "stands at the top of a document only";
            return Err(Problem::new(at(pointer, "$id"), message));
        }
        Ok(())
    }

    fn reference(&mut self, reference: &Value, pointer: &str) -> Result<Value, Problem> {
        let place = at(pointer, "$ref");
        let (target, found) = resolve(self.root, reference, &place)?;
        let leads_back = target.is_empty() || self.open.contains(&target);
        if leads_back || pointer == target || pointer.starts_with(&format!("{target}/")) {
            return Err(Problem::new(place, "leads back to itself: events have a bounded depth"));
        }
        self.open.push(target.clone());
        let expanded = self.schema(found, &target);
        self.open.pop();
        expanded
    }

    /// What is left of a keyword; `None`: an annotation.
    fn keyword(
        &mut self,
        keyword: &str,
        value: &'d Value,
        pointer: &str,
    ) -> Result<Option<Value>, Problem> {
        let place = at(pointer, keyword);
        let expanded = match (holds(self.dialect, keyword), value) {
            (Holds::Annotation, _) => return Ok(None),
            (Holds::Plain, _) => {
                self.takes(size(value))?;
                value.clone()
            }
            (Holds::Pattern, _) => {
                self.pattern(value.as_str().unwrap_or_default(), &place)?;
                value.clone()
            }
            (Holds::List | Holds::SchemaOrList, Value::Array(schemas)) => {
                let schemas = schemas.iter().enumerate();
                let expanded =
                    schemas.map(|(n, schema)| self.schema(schema, &at(&place, &n.to_string())));
                Value::Array(expanded.collect::<Result<_, _>>()?)
            }
            (Holds::Map | Holds::SchemasOrNames, Value::Object(schemas)) => {
                let mut expanded = Map::new();
                for (name, schema) in schemas {
                    let inner = at(&place, name);
                    self.takes(VALUE_BYTES + name.len())?;
                    if keyword == "patternProperties" {
                        self.pattern(name, &inner)?;
                    }
                    let schema = match schema {
                        Value::Array(names) if keyword == "dependencies" => {
                            self.takes(size(schema))?;
                            Value::Array(names.clone())
                        }
                        schema => self.schema(schema, &inner)?,
                    };
                    expanded.insert(name.clone(), schema);
                }
                Value::Object(expanded)
            }
            (Holds::Schema | Holds::SchemaOrList, _) => self.schema(value, &place)?,
            (Holds::List, _) => return Err(Problem::new(place, "must be a list of schemas")),
            (Holds::Map | Holds::SchemasOrNames, _) => {
                return Err(Problem::new(place, "must be an object of schemas"));
            }
        };
        Ok(Some(expanded))
    }

    /// Counts what is written out.
    fn takes(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        if self.bytes <= EXPANDED_MAX_BYTES {
            return Ok(());
        }
        let message =
            format!("takes more than {EXPANDED_MAX_BYTES} bytes, every `$ref` being written out");
        Err(Problem::new("", message))
    }

    fn pattern(&mut self, pattern: &str, place: &str) -> Result<(), Problem> {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            let message = format!("is one of more than {PATTERNS_MAX} regular expressions");
            return Err(Problem::new(place, message));
        }
        if pattern.len() > PATTERN_MAX_BYTES {
            let message = format!("is longer than {PATTERN_MAX_BYTES} bytes");
            return Err(Problem::new(place, message));
        }
        Ok(())
    }
}

fn size(value: &Value) -> usize {
    let inner: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value)).sum(),
        _ => 0,
    };
    VALUE_BYTES + inner
}
