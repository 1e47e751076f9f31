//! What each keyword holds, by dialect. What is in no list is an annotation.

use crate::Dialect;

/// What a keyword's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A schema.
    Schema,
    /// Schemas in order.
    List,
    /// Schemas by name.
    Map,
    /// A schema, or schemas in order: `items` of draft-07.
    SchemaOrList,
    /// By name, schemas or lists of names: `dependencies` of draft-07.
    SchemasOrNames,
    /// A plain value.
    Plain,
    /// A regular expression.
    Pattern,
    /// Nothing that events are checked by.
    Annotation,
}

/// Keywords that would make a document depend on where it is read, or on itself.
pub(crate) const REFUSED: [(&str, &str); 6] = [
    ("$dynamicRef", "is not supported: use `$ref`"),
    ("$dynamicAnchor", "is not supported: use `$ref` with a JSON Pointer"),
    ("$recursiveRef", "is not supported: use `$ref`"),
    ("$recursiveAnchor", "is not supported: use `$ref` with a JSON Pointer"),
    ("$anchor", "is not supported: use `$ref` with a JSON Pointer"),
    ("$vocabulary", "is not supported"),
];

/// What `keyword` holds in a dialect.
pub(crate) fn holds(dialect: Dialect, keyword: &str) -> Holds {
    match keyword {
        "type" | "enum" | "const" | "multipleOf" | "maximum" | "exclusiveMaximum" | "minimum"
        | "exclusiveMinimum" | "maxLength" | "minLength" | "maxItems" | "minItems"
        | "uniqueItems" | "maxProperties" | "minProperties" | "required" => Holds::Plain,
        "pattern" => Holds::Pattern,
        "properties" | "patternProperties" => Holds::Map,
        "additionalProperties" | "propertyNames" | "contains" | "not" | "if" | "then" | "else" => {
            Holds::Schema
        }
        "allOf" | "anyOf" | "oneOf" => Holds::List,
        _ => match dialect {
            Dialect::Draft7 => in_draft7(keyword),
            Dialect::Draft202012 => in_2020_12(keyword),
        },
    }
}

fn in_draft7(keyword: &str) -> Holds {
    match keyword {
        "items" => Holds::SchemaOrList,
        "additionalItems" => Holds::Schema,
        "dependencies" => Holds::SchemasOrNames,
        _ => Holds::Annotation,
    }
}

fn in_2020_12(keyword: &str) -> Holds {
    match keyword {
        "prefixItems" => Holds::List,
        "items" | "unevaluatedItems" | "unevaluatedProperties" => Holds::Schema,
        "dependentSchemas" => Holds::Map,
        "dependentRequired" | "maxContains" | "minContains" => Holds::Plain,
        _ => Holds::Annotation,
    }
}
