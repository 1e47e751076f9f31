//! The configuration of a file.

use super::{
    SinkConfiguration,
    fields::{Fields, refused},
};
use crate::Refusal;

/// Longest path of a file, in bytes.
pub const FILE_PATH_MAX_BYTES: usize = 255;
/// Most folders and the file.
const DEPTH_MAX: usize = 5;

pub(super) fn read(fields: &mut Fields) -> Result<SinkConfiguration, Refusal> {
    let path = fields.text("path", "a relative path, such as `audit/events.jsonl`")?;
    if !is_safe(&path) {
        let message = format!(
            "must be a relative path of at most {FILE_PATH_MAX_BYTES} bytes and {DEPTH_MAX} parts, each of letters, digits and `_.-` and not beginning with a dot, such as `audit/events.jsonl`"
        );
        return Err(refused("path", message));
    }
    Ok(SinkConfiguration::File { path })
}

/// Letters and digits that mean nothing to any file system: no root, no drive, no `.` or `..`, nothing hidden.
fn is_safe(path: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    path.len() <= FILE_PATH_MAX_BYTES
        && path.split('/').count() <= DEPTH_MAX
        && path.split('/').all(part)
}
