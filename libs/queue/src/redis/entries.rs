//! How entries of streams come off the wire.

use bytes::Bytes;
use millrace_domain::Partition;

use super::keys::{CHUNK_FIELD, Keys};
use crate::{Entry, EntryId, compress::unpack};

/// One entry: id, and fields and values in turn; `None` where the entry of a group's history was removed.
pub(super) type RawEntry = (String, Option<Vec<Vec<u8>>>);
/// Answer of `XREAD` and `XREADGROUP`: nothing, or the streams that have something.
pub(super) type RawStreams = Option<Vec<(String, Vec<RawEntry>)>>;

/// Bytes that are no chunk, for an entry that somebody else put into `ready`: it ends in quarantine.
const NO_CHUNK: &[u8] = b"\xff";

/// Reads an id; `None`: it is none.
pub(super) fn id(text: &str) -> Option<EntryId> {
    let (ms, seq) = text.split_once('-')?;
    Some(EntryId { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
}

/// The value of `field`.
pub(super) fn value(fields: Vec<Vec<u8>>, field: &[u8]) -> Option<Bytes> {
    let mut fields = fields.into_iter();
    while let Some(name) = fields.next() {
        let value = fields.next()?;
        if name == field {
            return Some(value.into());
        }
    }
    None
}

/// Sorts what streams gave to the partitions whose keys they are.
pub(super) fn chunks(streams: RawStreams, keys: &Keys) -> Vec<(Partition, Vec<Entry>)> {
    let entry = |(text, fields): RawEntry| {
        let stored = value(fields?, CHUNK_FIELD).unwrap_or_else(|| Bytes::from_static(NO_CHUNK));
        Some(Entry { id: id(&text)?, chunk: unpack(stored) })
    };
    streams
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(key, entries)| {
            let partition = keys.partition_of_ready(&key)?;
            Some((partition, entries.into_iter().filter_map(entry).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_is_not_ours_is_no_chunk() {
        let foreign = ("5-1".to_owned(), Some(vec![b"x".to_vec(), b"y".to_vec()]));
        let found =
            chunks(Some(vec![("{mr:3}:ready".to_owned(), vec![foreign])]), &Keys::new("mr"));
        let [(Partition(3), entries)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(entries[0].id, EntryId { ms: 5, seq: 1 });
        assert!(crate::chunk::decode(entries[0].chunk.clone()).is_err());
    }
}
