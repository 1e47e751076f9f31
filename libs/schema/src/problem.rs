//! Why a document is not taken.

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place(.pointer))]
pub struct Problem {
    /// JSON Pointer into the document; empty: the document itself.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

fn place(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!("{pointer}: ") }
}

/// Appends a segment to a JSON Pointer (RFC 6901).
pub(crate) fn at(pointer: &str, segment: &str) -> String {
    format!("{pointer}/{}", segment.replace('~', "~0").replace('/', "~1"))
}

/// The first 300 characters of a text of somebody else's.
pub(crate) fn short(text: &str) -> String {
    let mut characters = text.chars();
    let head: String = characters.by_ref().take(300).collect();
    if characters.next().is_some() { format!("{head}…") } else { head }
}
