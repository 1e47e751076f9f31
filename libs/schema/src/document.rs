//! A document that was read: within its bounds, of a known dialect, complete in itself.

use serde_json::Value;

use crate::{
    BREADTH_MAX, Break, DOCUMENT_MAX_BYTES, Dialect, Problem, Validator, additive,
    breadth::breadth,
    expand::expand,
    outline::outline,
    problem::{at, short},
    validator,
};

/// A JSON Schema of events' `data`, written out.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    dialect: Dialect,
    tree: Value,
}

impl Document {
    /// Reads a document, and makes sure that it can be compiled: what is to be registered.
    ///
    /// # Errors
    /// The first [`Problem`], as of [`Self::read`] and [`Self::compile`]; or that it holds a value of an event against too many
    /// schemas: what was registered before there was that bound is still served and checked by.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let read = Self::read(text)?;
        check_breadth(&read.tree)?;
        read.compile()?;
        Ok(read)
    }

    /// Reads a document, as far as its text goes: what is registered already.
    ///
    /// # Errors
    /// The first [`Problem`]: no JSON, no schema of its dialect, over a bound, a `$ref` out of the document or in a circle, or a
    /// schema that no object can satisfy by its `type`.
    pub fn read(text: &str) -> Result<Self, Problem> {
        if text.len() > DOCUMENT_MAX_BYTES {
            let message = format!("is longer than {DOCUMENT_MAX_BYTES} bytes");
            return Err(Problem::new("", message));
        }
        let document: Value = serde_json::from_str(text)
            .map_err(|error| Problem::new("", format!("must be JSON: {error}")))?;
        if !document.is_object() {
            return Err(Problem::new("", "must be a JSON object"));
        }
        let dialect = Dialect::of(&document)?;
        check_id(&document)?;
        // Written out first: that bounds the depth for everybody after.
        let tree = expand(&document, dialect)?;
        check_meta(&document, dialect)?;
        check_type(&tree)?;
        Ok(Self { dialect, tree })
    }

    /// The dialect.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What the document knows of `data`, as a slim schema for [`Projection::of_schema`].
    ///
    /// [`Projection::of_schema`]: millrace_domain::projection::Projection::of_schema
    pub fn outline(&self) -> Value {
        outline(&self.tree)
    }

    /// Makes what checks events.
    ///
    /// # Errors
    /// A regular expression that cannot be matched in linear time, or is too large.
    pub fn compile(&self) -> Result<Validator, Problem> {
        validator::compile(&self.tree, self.dialect)
    }

    /// Tells what `newer` changes beyond adding optional properties, which is all that the next version of a schema may do. Empty: it
    /// is additive. In order of the documents.
    pub fn breaks(&self, newer: &Self) -> Vec<Break> {
        if self.dialect != newer.dialect {
            return vec![Break::new("/$schema", "names another dialect")];
        }
        additive::breaks(&self.tree, &newer.tree)
    }
}

fn check_id(document: &Value) -> Result<(), Problem> {
    match document.get("$id") {
        Some(id) if !id.is_string() => Err(Problem::new("/$id", "must be a string")),
        _ => Ok(()),
    }
}

/// Checks a document against what its dialect says of documents.
fn check_meta(document: &Value, dialect: Dialect) -> Result<(), Problem> {
    let checked = match dialect {
        Dialect::Draft7 => jsonschema::draft7::meta::validate(document),
        Dialect::Draft202012 => jsonschema::draft202012::meta::validate(document),
    };
    checked
        .map_err(|error| Problem::new(error.instance_path().to_string(), short(&error.to_string())))
}

/// An event has many values, and each is held against the schemas of its place.
fn check_breadth(tree: &Value) -> Result<(), Problem> {
    if breadth(tree) <= BREADTH_MAX {
        return Ok(());
    }
    let message = format!("holds a value of an event against more than {BREADTH_MAX} schemas");
    Err(Problem::new("", message))
}

/// The data of an event is an object.
fn check_type(tree: &Value) -> Result<(), Problem> {
    let allows = match tree.get("type") {
        None => !tree.is_boolean(),
        Some(Value::String(name)) => name == "object",
        Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
        Some(_) => false,
    };
    if allows {
        return Ok(());
    }
    Err(Problem::new(at("", "type"), "must be `object`: the data of an event is one"))
}
