//! A chunk, encoded once and sliced ever after: event bytes are slices of the entry they came in.

use bytes::{Bytes, BytesMut};
use millrace_domain::{AccountSid, Mark, SinkSid};
use millrace_proto::internal::{Chunk, ChunkEvent, Variant};
use prost::Message;

/// Most events in a chunk.
pub const CHUNK_MAX_EVENTS: usize = 1_000;
/// Most bytes of a chunk; a single event that is larger travels alone.
pub const CHUNK_MAX_BYTES: usize = 1024 * 1024;

/// Number of the field `events` of a chunk.
const EVENTS_FIELD: u32 = 2;

/// Why bytes are no chunk.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not the protobuf message.
    #[error("is not a chunk")]
    Decode(#[from] prost::DecodeError),
    /// A SID is not 16 bytes, or an event has no variant.
    #[error("has a malformed {0}")]
    Malformed(&'static str),
}

/// Encodes a chunk.
pub fn encode(chunk: &Chunk) -> Bytes {
    chunk.encode_to_vec().into()
}

/// A chunk in parts, of which some may be left out: protobuf joins repeated fields by writing one after the other.
#[derive(Clone, Debug)]
pub struct MarkedChunk {
    /// What comes before the events.
    pub head: Bytes,
    /// Each event as it stands in the chunk, and what it is known again by.
    pub events: Vec<(Mark, Bytes)>,
}

/// Encodes a chunk in parts, whose events have `marks`, in order.
pub fn encode_marked(chunk: &Chunk, marks: &[Mark]) -> MarkedChunk {
    let head = Chunk { config_seq: chunk.config_seq, events: Vec::new() };
    let part = |event: &ChunkEvent| {
        let mut part = BytesMut::with_capacity(event.encoded_len() + 6);
        prost::encoding::message::encode(EVENTS_FIELD, event, &mut part);
        part.freeze()
    };
    let events = marks.iter().copied().zip(chunk.events.iter().map(part)).collect();
    MarkedChunk { head: encode(&head), events }
}

/// Decodes a chunk without copying event bytes, and checks that every SID in it is one.
///
/// # Errors
/// [`Unreadable`]: such a chunk is for the quarantine.
pub fn decode(bytes: Bytes) -> Result<Chunk, Unreadable> {
    let chunk = Chunk::decode(bytes)?;
    for event in &chunk.events {
        if event.account.len() != 16 {
            return Err(Unreadable::Malformed("account SID"));
        }
        if event.variants.is_empty() {
            return Err(Unreadable::Malformed("event without a variant"));
        }
        if event
            .variants
            .iter()
            .any(|variant| variant.sinks.is_empty() || variant.sinks.len() % 16 != 0)
        {
            return Err(Unreadable::Malformed("sink SID"));
        }
    }
    Ok(chunk)
}

/// The 16 bytes of an account's SID.
pub fn account_bytes(account: AccountSid) -> Bytes {
    Bytes::copy_from_slice(&account.as_u128().to_be_bytes())
}

/// The 16 bytes of a sink's SID.
pub fn sink_bytes(sink: SinkSid) -> Bytes {
    Bytes::copy_from_slice(&sink.as_u128().to_be_bytes())
}

/// The SIDs of several sinks, 16 bytes each.
pub fn sinks_bytes(sinks: impl IntoIterator<Item = SinkSid>) -> Bytes {
    let mut bytes = BytesMut::new();
    sinks.into_iter().for_each(|sink| bytes.extend_from_slice(&sink.as_u128().to_be_bytes()));
    bytes.freeze()
}

/// Reads an account's SID off 16 bytes.
pub fn account_of(event: &ChunkEvent) -> Option<AccountSid> {
    Some(AccountSid::from_u128(u128::from_be_bytes(event.account.as_ref().try_into().ok()?)))
}

/// Reads the sinks of a variant.
pub fn sinks_of(variant: &Variant) -> impl Iterator<Item = SinkSid> + '_ {
    variant
        .sinks
        .as_chunks::<16>()
        .0
        .iter()
        .map(|sid| SinkSid::from_u128(u128::from_be_bytes(*sid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_chunk_are_the_chunk() {
        let event = |id: &str| ChunkEvent { id: id.to_owned(), ..ChunkEvent::default() };
        let long = "x".repeat(300);
        let chunk = Chunk { config_seq: 7, events: vec![event("a"), event(""), event(&long)] };
        let marks = [1, 2, 3].map(|n| Mark::of(AccountSid::from_u128(n), "a"));
        let MarkedChunk { head, events } = encode_marked(&chunk, &marks);
        let mut joined = head.to_vec();
        events.iter().for_each(|(_, part)| joined.extend_from_slice(part));
        assert_eq!(joined, encode(&chunk));
        let without: Vec<u8> = [head, events[0].1.clone(), events[2].1.clone()].concat();
        let chunk = Chunk::decode(&*without).expect("a chunk");
        assert_eq!(chunk.events.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["a", &long]);
    }
}
