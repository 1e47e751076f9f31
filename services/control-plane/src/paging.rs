//! Pages of lists, for both faces: sizes, and tokens that name the key after which a page starts. So a list stays whole
//! while rows come and go.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Rows of a page where the caller does not say (Event Streams: 50).
pub(crate) const SIZE_DEFAULT: u32 = 50;
/// Most rows of a page (Event Streams: 1,000).
pub(crate) const SIZE_MAX: u32 = 1_000;

/// The token of the page after `key`.
pub(crate) fn token(key: &impl ToString) -> String {
    URL_SAFE_NO_PAD.encode(key.to_string())
}

/// Reads a token; `None` for what this server never gave.
pub(crate) fn key<K: FromStr>(token: &str) -> Option<K> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))?;
    text.parse().ok()
}

/// Takes the row that was asked for beyond the page, and tells whether there was one.
pub(crate) fn cut<T>(rows: &mut Vec<T>, size: u32) -> bool {
    let size = usize::try_from(size).expect("a page is small");
    let more = rows.len() > size;
    rows.truncate(size);
    more
}
