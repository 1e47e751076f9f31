//! `$ref` within a document.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::Problem;

/// Finds what a `$ref` at `pointer` means: its place in the document, and what stands there.
pub(crate) fn resolve<'d>(
    root: &'d Value,
    reference: &Value,
    pointer: &str,
) -> Result<(String, &'d Value), Problem> {
    let refuse = |message: &str| Err(Problem::new(pointer, message));
    let Some(text) = reference.as_str() else { return refuse("must be a string") };
    let Some(fragment) = text.strip_prefix('#') else {
        return refuse(
            "must stay within the document, such as `#/definitions/address`: nothing is fetched",
        );
    };
    let Ok(target) = percent_decode_str(fragment).decode_utf8() else {
        return refuse("must be UTF-8");
    };
    if !target.is_empty() && !target.starts_with('/') {
        return refuse("must be a JSON Pointer, such as `#/definitions/address`");
    }
    match root.pointer(&target) {
        Some(found) => Ok((target.into_owned(), found)),
        None => refuse("names nothing in the document"),
    }
}
