//! What is said to people of an answer or an error.

use std::{error::Error, fmt::Write};

/// Longest text kept of an answer's body or an error, in bytes.
const TEXT_MAX_BYTES: usize = 1024;

/// An error and its causes, without what a cause only repeats.
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            // Writing to a `String` cannot fail.
            write!(text, ": {said}").expect("a String takes any text");
        }
        cause = error.source();
    }
    text
}

/// The start of `bytes`, at most 1 kB, as a text without control characters and without any of `secrets`, which an answer may echo.
pub fn clean_text(bytes: &[u8], secrets: &[String]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), "[redacted]");
    }
    let mut kept = String::with_capacity(text.len().min(TEXT_MAX_BYTES));
    for character in text.chars() {
        let shown = if character.is_control() { ' ' } else { character };
        if kept.len() + shown.len_utf8() > TEXT_MAX_BYTES {
            break;
        }
        kept.push(shown);
    }
    kept.truncate(kept.trim_end().len());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_short_clean_and_without_secrets() {
        assert_eq!(clean_text(b"a\r\n\x1b[31mb\xff\0", &[]), "a   [31mb\u{fffd}");
        assert_eq!(clean_text("é".repeat(4096).as_bytes(), &[]).len(), 1024);
        let secrets = ["hunter2".to_owned(), String::new()];
        assert_eq!(clean_text(b"you sent hunter2", &secrets), "you sent [redacted]");
    }

    #[test]
    fn a_cause_is_told_once() {
        let inner = std::io::Error::other("no such host");
        let outer = std::io::Error::other(Chain("cannot connect", inner));
        assert_eq!(in_full(&outer), "cannot connect: no such host");
        let repeats = Chain("cannot connect: no such host", std::io::Error::other("no such host"));
        assert_eq!(in_full(&repeats), "cannot connect: no such host");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Chain(&'static str, #[source] std::io::Error);
}
