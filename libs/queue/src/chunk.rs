//! A chunk, encoded once and sliced ever after: event bytes are slices of the entry they came in.

use bytes::{Bytes, BytesMut};
use millrace_domain::{AccountSid, SinkSid};
use millrace_proto::internal::{Chunk, ChunkEvent, Variant};
use prost::Message;

/// Most events in a chunk.
pub const CHUNK_MAX_EVENTS: usize = 1_000;
/// Most bytes of a chunk; a single event that is larger travels alone.
pub const CHUNK_MAX_BYTES: usize = 1024 * 1024;

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
