//! Where a chunk stands, what a new owner finds of the last one, and what is in quarantine.

use std::{fmt, str::FromStr};

use millrace_domain::SinkSid;
use uuid::Uuid;

use crate::{Class, EntryId, ParkedId};

/// Where a chunk stands, or stood when it went to quarantine. As text: `1700000000000-0` of `ready`,
/// `DG…:backlog:<32 hex>` or `DG…:delayed:<32 hex>` of what is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In `ready`.
    Ready(EntryId),
    /// Parked for a sink.
    Parked(SinkSid, Class, ParkedId),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(id) => write!(f, "{id}"),
            Self::Parked(sink, class, id) => {
                let class = match class {
                    Class::Backlog => "backlog",
                    Class::Delayed => "delayed",
                };
                write!(f, "{sink}:{class}:{}", id.0.simple())
            }
        }
    }
}

/// The text is of no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not where a chunk can stand")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let Some((sink, rest)) = text.split_once(':') else {
            let (ms, seq) = text.split_once('-').ok_or(NoPlace)?;
            let number = |text: &str| text.parse().map_err(|_| NoPlace);
            return Ok(Self::Ready(EntryId { ms: number(ms)?, seq: number(seq)? }));
        };
        let (class, id) = rest.split_once(':').ok_or(NoPlace)?;
        let class = match class {
            "backlog" => Class::Backlog,
            "delayed" => Class::Delayed,
            _ => return Err(NoPlace),
        };
        let id = Uuid::try_parse(id).map_err(|_| NoPlace)?;
        Ok(Self::Parked(sink.parse().map_err(|_| NoPlace)?, class, ParkedId(id)))
    }
}

/// What an owner finds of the owners before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inheritance {
    /// An owner ended without releasing the partition, and none after it settled with [`Settlement::trusted`].
    ///
    /// [`Settlement::trusted`]: crate::Settlement::trusted
    pub unclean: bool,
    /// The last chunk that stands in `ready`.
    pub last: Option<EntryId>,
    /// What was noted of chunks by [`Queue::note`](crate::Queue::note) and is not acquitted.
    pub notes: Vec<(Place, u32)>,
}

/// A chunk in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it stood; its name in quarantine.
    pub place: Place,
    /// Why it is there.
    pub reason: String,
    /// Its size as it is stored.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let (sink, id) = (SinkSid::from_u128(7), ParkedId(Uuid::from_u128(9)));
        for place in [
            Place::Ready(EntryId { ms: 5, seq: 1 }),
            Place::Parked(sink, Class::Backlog, id),
            Place::Parked(sink, Class::Delayed, id),
        ] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        let text = "DG00000000000000000000000000000007:delayed:00000000000000000000000000000009";
        assert_eq!(Place::Parked(sink, Class::Delayed, id).to_string(), text);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "5", "5-", "a-b", "DG7:backlog:9", "5-1:why", "x:y:z"] {
            assert_eq!(text.parse::<Place>(), Err(NoPlace), "{text}");
        }
    }
}
