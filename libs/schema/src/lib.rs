//! JSON Schema: documents that describe the `data` of events. Reads and bounds them, checks events by them, tells whether a
//! version only adds to the one before, and what of an event a version knows. The one home of `jsonschema`.
//!
//! A document is taken from a platform team and served to everybody, and events come from anybody. So nothing of either costs more
//! than a bound says: a document is expanded to a tree without `$ref` when it is read, and what is checked, compared and compiled is
//! that tree. Nothing is ever fetched.
//!
//! | dialect | `$schema` |
//! |---|---|
//! | draft-07 | `http://json-schema.org/draft-07/schema#` |
//! | 2020-12 | `https://json-schema.org/draft/2020-12/schema`, and where there is none |
//! | Twilio's | `https://events-schemas.twilio.com/vocabulary/twilio`: draft-07 with `identityType` |
//!
//! **Unknown properties never refuse an event**: whoever publishes may be ahead of whoever describes. `additionalProperties: false` and
//! `unevaluatedProperties: false` are promises to readers, and not held against an event.
//!
//! `format`, `contentMediaType`, `contentEncoding` and `default` are annotations, as in 2020-12.

mod additive;
mod breadth;
mod dialect;
mod document;
mod expand;
mod keyword;
mod outline;
mod problem;
mod relax;
mod resolve;
mod telling;
mod validator;

pub use additive::Break;
pub use dialect::Dialect;
pub use document::Document;
pub use problem::Problem;
pub use validator::{Validator, Violation};

/// Longest document, in bytes.
pub const DOCUMENT_MAX_BYTES: usize = 64 * 1024;
/// Most schemas in a document once every `$ref` is written out.
pub const SCHEMAS_MAX: usize = 5_000;
/// Most bytes of a document in memory, about, once every `$ref` is written out.
pub const EXPANDED_MAX_BYTES: usize = 1024 * 1024;
/// Most schemas that one value of an event may meet; eight values of an `enum`, or names of properties, count as one.
pub const BREADTH_MAX: usize = 1_000;
/// How deep schemas may nest once every `$ref` is written out.
pub const DEPTH_MAX: usize = 32;
/// Most regular expressions in a document.
pub const PATTERNS_MAX: usize = 64;
/// Longest regular expression, in bytes.
pub const PATTERN_MAX_BYTES: usize = 1_024;
/// Largest regular expression once it is compiled, in bytes.
pub const PATTERN_COMPILED_MAX_BYTES: usize = 256 * 1024;
