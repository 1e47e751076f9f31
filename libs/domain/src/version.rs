//! The version of a configuration: which database it is of, and how far its change log had come.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// (epoch, seq). A restored database gets a new epoch; seqs of two epochs do not compare.
/// Written `epoch:seq`, as in the header `Millrace-Config-Version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfigVersion {
    /// Random number of the database, never 0.
    pub epoch: u64,
    /// Number of the last change that is in; 0 before the first.
    pub seq: u64,
}

impl ConfigVersion {
    /// Tells whether a configuration at `self` has everything one at `other` has.
    pub fn covers(self, other: Self) -> bool {
        self.epoch == other.epoch && self.seq >= other.seq
    }
}

impl fmt::Display for ConfigVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}:{}", self.epoch, self.seq)
    }
}

/// Why a text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a configuration version is `<16 hex digits>:<number>`, as a mutation's answer gives it")]
pub struct InvalidVersion;

impl FromStr for ConfigVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let (epoch, seq) = text.split_once(':').ok_or(InvalidVersion)?;
        Ok(Self {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| InvalidVersion)?,
            seq: seq.parse().map_err(|_| InvalidVersion)?,
        })
    }
}
