//! The configuration of a Segment source.

use serde::{Deserialize, Serialize};

use super::{
    SinkConfiguration,
    fields::{Fields, refused},
};
use crate::{Refusal, Secret};

/// Shortest and longest write key: Segment's are 10 (old ones) or 32 letters and digits; nothing says they stay so.
const WRITE_KEY_BYTES: std::ops::RangeInclusive<usize> = 8..=128;

/// Where a workspace is: an event that is sent to the other place is answered 200 and never seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentRegion {
    /// Oregon.
    #[default]
    Us,
    /// Dublin.
    Eu,
}

impl SegmentRegion {
    /// The word as REST and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Eu => "eu",
        }
    }
}

pub(super) fn read(fields: &mut Fields) -> Result<SinkConfiguration, Refusal> {
    let write_key = fields.text("write_key", "the write key of the Segment source")?;
    let shaped = WRITE_KEY_BYTES.contains(&write_key.len())
        && write_key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !shaped {
        let message = "must be a write key as Segment shows it: 8 to 128 letters and digits";
        return Err(refused("write_key", message));
    }
    let regions = [SegmentRegion::Us, SegmentRegion::Eu].map(|region| (region.as_str(), region));
    let region = fields.word("region", &regions)?;
    Ok(SinkConfiguration::Segment { write_key: Secret::new(write_key), region })
}
