//! What names an entry of a log.

use std::{fmt, str::FromStr};

use millrace_domain::{Partition, Timestamp};
use ring::digest;
use uuid::Uuid;

/// Names an entry of a log: its time in 48 bits, and a hash of where it was reported. Ascends by time; the same report gives
/// the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(Uuid);

/// Where a report stood.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Tells logs apart whose reports stand in the same place.
    pub log: u8,
    /// Which partition's stream.
    pub partition: Partition,
    /// Milliseconds of the stream's entry.
    pub entry_ms: u64,
    /// Its number within them.
    pub entry_seq: u64,
    /// Which report of the entry.
    pub index: u32,
}

impl LogId {
    /// The id of what happened at `at` and was reported in `place`.
    pub fn of(at: Timestamp, place: &Place) -> Self {
        let mut text = Vec::with_capacity(24);
        text.push(place.log);
        text.extend(place.partition.0.to_be_bytes());
        text.extend(place.entry_ms.to_be_bytes());
        text.extend(place.entry_seq.to_be_bytes());
        text.extend(place.index.to_be_bytes());
        let hash = digest::digest(&digest::SHA256, &text);
        let mut tail = [0; 10];
        tail.copy_from_slice(&hash.as_ref()[..10]);
        Self(uuid::Builder::from_unix_timestamp_millis(millis(at), &tail).into_uuid())
    }

    /// Below every id of `at` and later.
    pub fn first_at(at: Timestamp) -> Self {
        Self(Uuid::from_u128(u128::from(millis(at)) << 80))
    }

    /// Reads what the database keeps.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }

    /// When it happened.
    pub fn at(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.as_u128() >> 80).unwrap_or(i64::MAX))
    }
}

fn millis(at: Timestamp) -> u64 {
    // 48 bits last for 8,900 years.
    u64::try_from(at.as_millis()).unwrap_or(0) & 0xffff_ffff_ffff
}

/// 32 hex digits.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_simple())
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

impl FromStr for LogId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_id_is_the_same_for_the_same_place_and_ascends_by_time() {
        let place =
            |index| Place { log: 0, partition: Partition(3), entry_ms: 5, entry_seq: 1, index };
        let at = Timestamp::from_millis(1_700_000_000_123);
        let id = LogId::of(at, &place(0));
        assert_eq!(id, LogId::of(at, &place(0)));
        assert_ne!(id, LogId::of(at, &place(1)));
        assert_eq!(id.at(), at);
        assert!(
            LogId::first_at(at) < id && id < LogId::first_at(at.plus(Duration::from_millis(1)))
        );
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(LogId::from_slice(&id.to_vec()), Some(id));
    }
}
