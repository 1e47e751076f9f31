//! The configuration of a receiver of CloudEvents.

use serde::{Deserialize, Serialize};

use super::{
    SinkConfiguration, destination,
    fields::{Fields, refused},
};
use crate::Refusal;

/// Where in a request an event's attributes are (CloudEvents HTTP Protocol Binding 1.0.2, section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloudEventsMode {
    /// In the body, beside `data`.
    #[default]
    Structured,
    /// In headers, `ce-…`; the body is `data`.
    Binary,
}

impl CloudEventsMode {
    /// The word as REST and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Binary => "binary",
        }
    }
}

pub(super) fn read(fields: &mut Fields) -> Result<SinkConfiguration, Refusal> {
    let destination = destination::read(fields)?;
    let modes =
        [CloudEventsMode::Structured, CloudEventsMode::Binary].map(|mode| (mode.as_str(), mode));
    let mode = fields.word("mode", &modes)?;
    let batch_events = fields.flag("batch_events")?;
    if batch_events && mode == CloudEventsMode::Binary {
        let message = "must be false in `binary` mode, whose requests carry one event";
        return Err(refused("batch_events", message));
    }
    Ok(SinkConfiguration::CloudEvents { destination, mode, batch_events })
}
