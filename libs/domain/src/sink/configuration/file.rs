//! The configuration of a file.

use super::{
    SinkConfiguration,
    fields::{Fields, refused},
};
use crate::Refusal;

/// Longest path of a file, in bytes: file systems take names of 255, and a number may follow it.
pub const FILE_PATH_MAX_BYTES: usize = 240;
/// Most folders and the file.
const DEPTH_MAX: usize = 5;

pub(super) fn read(fields: &mut Fields) -> Result<SinkConfiguration, Refusal> {
    let path = fields.text("path", "a relative path, such as `audit/events.jsonl`")?;
    if !is_safe(&path) {
        let message = format!(
            "must be a relative path of at most {FILE_PATH_MAX_BYTES} bytes and {DEPTH_MAX} parts, each of letters, digits and `_.-` neither beginning with a dot nor ending in one and a number, as files do that are set aside; such as `audit/events.jsonl`"
        );
        return Err(refused("path", message));
    }
    Ok(SinkConfiguration::File { path })
}

/// Letters and digits that mean nothing to any file system: no root, no drive, no `.` or `..`, nothing hidden; and no name that
/// another file of the account is given when it is set aside.
fn is_safe(path: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !is_numbered(part)
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    path.len() <= FILE_PATH_MAX_BYTES
        && path.split('/').count() <= DEPTH_MAX
        && path.split('/').all(part)
}

/// Whether it ends in a dot and a number.
fn is_numbered(part: &str) -> bool {
    let number = part.rsplit_once('.').map(|(_, number)| number);
    number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
}
