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
    Dialect, PATTERN_COMPILED_MAX_BYTES, Problem, outline::outline, problem::short, relax::relaxed,
};

/// Longest path of a violation, in characters: names in it are the publisher's.
const PATH_MAX: usize = 200;

/// A compiled document. Made once a version, shared by all who check.
pub struct Validator {
    /// Does not hold unknown properties against an event where it need not look at them.
    open: jsonschema::Validator,
    /// Finds unknown properties where it must: among forms that are told apart by having no others.
    known: Projection,
}

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
        let checked = self.open.validate(&known);
        checked.map_err(|error| violation(&error))
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator").finish_non_exhaustive()
    }
}

pub(crate) fn compile(tree: &Value, dialect: Dialect) -> Result<Validator, Problem> {
    Ok(Validator {
        open: build(&relaxed(tree), dialect)?,
        known: Projection::of_schema(&outline(tree)),
    })
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
