//! Events checked by a document.

use std::fmt;

use jsonschema::{
    PatternOptions, ValidationError,
    error::ValidationErrorKind,
    paths::{Location, LocationSegment},
};
use millrace_domain::projection::Projection;
use serde_json::Value;

use crate::{
    Dialect, PATTERN_COMPILED_MAX_BYTES, Problem,
    breadth::breadth,
    outline::outline,
    problem::short,
    relax::relaxed,
    telling::{is_form, telling},
};

/// Longest path of a violation, in characters: names in it are the publisher's.
const PATH_MAX: usize = 200;

/// A compiled document. Made once a version, shared by all who check.
pub struct Validator {
    /// Does not hold unknown properties against an event where it need not look at them.
    open: jsonschema::Validator,
    /// Tells what is wrong with what `open` refuses; `None`: that does itself.
    telling: Option<jsonschema::Validator>,
    /// Finds unknown properties where it must: among forms that are told apart by having no others.
    known: Projection,
    bytes: usize,
    breadth: usize,
}

/// What a value of a document takes compiled, and a regular expression with what it remembers while it matches.
const VALUE_BYTES: usize = 256;
const PATTERN_BYTES: usize = 64 * 1024;

/// Why an event's data does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The value, such as `data.items[2].price`.
    pub field: String,
    /// What it must be; tells nothing of what it is.
    pub message: String,
}

impl Validator {
    /// Checks the data of an event. Unknown properties never refuse it.
    ///
    /// # Errors
    /// The first [`Violation`].
    pub fn check(&self, data: &Value) -> Result<(), Violation> {
        if self.open.is_valid(data) {
            return Ok(());
        }
        let mut known = data.clone();
        self.known.prune(&mut known);
        let Some(telling) = &self.telling else {
            return self.open.validate(&known).map_err(|error| violation(&error));
        };
        if self.open.is_valid(&known) {
            return Ok(());
        }
        telling.validate(&known).map_err(|error| violation(&error))?;
        Err(Violation { field: "data".to_owned(), message: "does not fit its schema".to_owned() })
    }

    /// The most schemas that one value of an event may meet.
    pub fn breadth(&self) -> usize {
        self.breadth
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator").finish_non_exhaustive()
    }
}

pub(crate) fn compile(tree: &Value, dialect: Dialect) -> Result<Validator, Problem> {
    let open = relaxed(tree);
    let telling = telling(&open).map(|telling| build(&telling, dialect)).transpose()?;
    Ok(Validator {
        bytes: bytes(tree, false) * if telling.is_some() { 2 } else { 1 },
        open: build(&open, dialect)?,
        telling,
        known: Projection::of_schema(&outline(tree)),
        breadth: breadth(tree),
    })
}

/// Estimates what a tree takes compiled: a little for each value, much for each regular expression.
fn bytes(value: &Value, patterns: bool) -> usize {
    let inner: usize = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let pattern = patterns || (name == "pattern" && value.is_string());
                let own = if pattern { PATTERN_BYTES } else { VALUE_BYTES };
                own + bytes(value, name == "patternProperties")
            })
            .sum(),
        Value::Array(values) => values.iter().map(|value| bytes(value, false)).sum(),
        Value::String(text) => text.len(),
        _ => 0,
    };
    VALUE_BYTES + inner
}

/// Matches in linear time, fetches nothing: the tree has no `$ref`.
fn build(tree: &Value, dialect: Dialect) -> Result<jsonschema::Validator, Problem> {
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_COMPILED_MAX_BYTES)
        .dfa_size_limit(PATTERN_COMPILED_MAX_BYTES);
    let options = match dialect {
        Dialect::Draft7 => jsonschema::draft7::options(),
        Dialect::Draft202012 => jsonschema::draft202012::options(),
    };
    let built = options.should_validate_formats(false).with_pattern_options(patterns).build(tree);
    built.map_err(|error| {
        let message = match error.kind() {
            ValidationErrorKind::Format { format } if format == "regex" => {
                "must be a regular expression without look-around or back-references, and not too large".to_owned()
            }
            _ => short(&error.to_string()),
        };
        Problem::new(error.instance_path().to_string(), message)
    })
}

fn violation(error: &ValidationError<'_>) -> Violation {
    let mut field = path(error.instance_path());
    let message = match error.kind() {
        ValidationErrorKind::Required { property } => {
            field.push('.');
            field.push_str(property.as_str().unwrap_or_default());
            "is required".to_owned()
        }
        ValidationErrorKind::FalseSchema => "must not be there".to_owned(),
        ValidationErrorKind::Not { schema } if is_form(schema) == Some(false) => {
            "fits none of the forms that it may have".to_owned()
        }
        ValidationErrorKind::Not { schema } if is_form(schema) == Some(true) => {
            "fits none of the forms that it may have, or several".to_owned()
        }
        _ => short(&error.masked_with("the value").to_string()),
    };
    Violation { field: cut(field), message }
}

fn path(location: &Location) -> String {
    let mut path = "data".to_owned();
    for segment in location {
        match segment {
            LocationSegment::Property(name) => {
                path.push('.');
                path.push_str(&name);
            }
            LocationSegment::Index(index) => path.push_str(&format!("[{index}]")),
        }
        if path.len() > 4 * PATH_MAX {
            break;
        }
    }
    path
}

fn cut(path: String) -> String {
    if path.chars().count() <= PATH_MAX {
        return path;
    }
    path.chars().take(PATH_MAX).chain(['…']).collect()
}
