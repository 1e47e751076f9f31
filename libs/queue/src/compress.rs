//! How chunks are stored: parked ones as zstd frames, since many stand for hours and text shrinks well; large ones of `ready`, which
//! stand for milliseconds, by LZ4, which costs less than what Redis and the network take for the bytes that it saves.

use std::{
    io::{self, Read},
    ops::RangeInclusive,
};

use bytes::Bytes;
use zstd::stream::read::Decoder;

use crate::{Park, chunk::CHUNK_MAX_BYTES};

/// Level 1: three times the speed of the default, for a tenth more bytes on JSON.
const LEVEL: i32 = 1;
/// From so many bytes on, compressing is not for an async thread: about a millisecond.
const LARGE_BYTES: usize = 256 * 1024;
/// No chunk is that long; what claims to be is not unpacked.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// What a chunk packed by LZ4 begins with: nothing that protobuf writes, whose fields are numbered from 1. Then come the length of
/// the chunk (32 bits, little-endian) and an LZ4 block.
const PACKED: &[u8; 4] = b"\0lz4";
/// Where that block begins.
const BLOCK_AT: usize = 8;
/// Chunks of so many bytes are packed. Below, as with one event of a kilobyte, it takes longer than it saves; above is a single event in many
/// versions, with which an async thread would be busy for longer than a millisecond.
const PACKED_BYTES: RangeInclusive<usize> = 4 * 1024..=2 * CHUNK_MAX_BYTES;
/// A byte of LZ4 stands for at most so many: a block that says it holds more is damaged, and gets no memory.
const LZ4_MAX_RATIO: usize = 255;

/// Packs a chunk for `ready` where that makes it smaller.
pub(crate) fn pack(chunk: Bytes) -> Bytes {
    let fitting = Some(chunk.len()).filter(|length| PACKED_BYTES.contains(length));
    let Some(length) = fitting.and_then(|length| u32::try_from(length).ok()) else {
        return chunk;
    };
    let most = lz4_flex::block::get_maximum_output_size(chunk.len());
    let mut packed = vec![0; BLOCK_AT + most];
    packed[..PACKED.len()].copy_from_slice(PACKED);
    packed[PACKED.len()..BLOCK_AT].copy_from_slice(&length.to_le_bytes());
    match lz4_flex::block::compress_into(&chunk, &mut packed[BLOCK_AT..]) {
        Ok(bytes) if BLOCK_AT + bytes < chunk.len() => {
            packed.truncate(BLOCK_AT + bytes);
            packed.into()
        }
        _ => chunk,
    }
}

/// Gives the chunk of `ready` in `stored`, packed or not. What is damaged is given as it is stored, which does not decode.
pub(crate) fn unpack(stored: Bytes) -> Bytes {
    if !stored.starts_with(PACKED) {
        return stored;
    }
    let unpacked = packed_block(&stored).and_then(|(block, length)| {
        let chunk = lz4_flex::block::decompress(block, length).ok()?;
        (chunk.len() == length).then(|| chunk.into())
    });
    unpacked.unwrap_or_else(|| {
        tracing::error!(bytes = stored.len(), "a packed chunk is damaged");
        stored
    })
}

/// The LZ4 block of a packed chunk, and how long the chunk is; `None`: it cannot be as long as it says.
fn packed_block(stored: &[u8]) -> Option<(&[u8], usize)> {
    let (length, block) = stored.strip_prefix(PACKED)?.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let fits = length <= block.len().saturating_mul(LZ4_MAX_RATIO);
    (fits && PACKED_BYTES.contains(&length)).then_some((block, length))
}

/// Compresses the chunks of `parks`, large ones off the async threads.
pub(crate) async fn compress_parks(parks: &[Park]) -> io::Result<Vec<Bytes>> {
    let chunks: Vec<Bytes> = parks.iter().map(|park| park.chunk.clone()).collect();
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    let compress =
        move || chunks.iter().map(|chunk| Ok(zstd::bulk::compress(chunk, LEVEL)?.into())).collect();
    if bytes < LARGE_BYTES {
        return compress();
    }
    tokio::task::spawn_blocking(compress).await.map_err(io::Error::other)?
}

/// Gives the chunk in `stored`. What is no zstd frame is given as it is stored, so that the one bad chunk fails
/// to decode, as any unreadable chunk does, and does not block the backlog behind it.
pub(crate) fn decompress(stored: Vec<u8>) -> Bytes {
    let unpacked = Decoder::new(stored.as_slice()).and_then(|decoder| {
        let mut chunk = Vec::with_capacity(unpacked_bytes(&stored));
        decoder.take(MAX_BYTES).read_to_end(&mut chunk)?;
        Ok(chunk)
    });
    match unpacked {
        Ok(chunk) => chunk.into(),
        Err(error) => {
            tracing::error!(%error, bytes = stored.len(), "a parked chunk is damaged");
            stored.into()
        }
    }
}

/// How long the chunk in `stored` says it is: a guess would be memory that nobody counts, for as long as the chunk is in hand.
fn unpacked_bytes(stored: &[u8]) -> usize {
    let said = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten();
    let said = said.filter(|bytes| *bytes <= MAX_BYTES).map(usize::try_from);
    said.and_then(Result::ok).unwrap_or(stored.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gives_back_what_it_compressed_and_damaged_bytes_as_they_are() {
        let chunk = b"{\"specversion\":\"1.0\"}".repeat(100);
        let stored = zstd::bulk::compress(&chunk, LEVEL).expect("compresses");
        assert!(stored.len() < chunk.len() / 10);
        assert_eq!(unpacked_bytes(&stored), chunk.len());
        assert_eq!(decompress(stored), chunk);
        assert_eq!(decompress(b"no frame".to_vec()), b"no frame".as_slice());
    }

    #[test]
    fn a_chunk_of_ready_is_packed_where_that_saves_something() {
        let text = Bytes::from(b"{\"specversion\":\"1.0\"}".repeat(500));
        let stored = pack(text.clone());
        assert!(stored.len() < text.len() / 10, "{}", stored.len());
        assert_eq!(unpack(stored), text);
        let noise: Bytes = std::iter::repeat_with(|| fastrand::u8(..)).take(10_000).collect();
        let small = Bytes::from(vec![b'x'; PACKED_BYTES.start() - 1]);
        for plain in [noise, small, Bytes::new()] {
            assert_eq!(pack(plain.clone()), plain);
            assert_eq!(unpack(plain.clone()), plain);
        }
    }

    proptest! {
        #[test]
        fn damage_anywhere_is_no_panic(
            words in prop::collection::vec(0..200_usize, 2_000..4_000),
            at: prop::sample::Index,
            byte: u8,
            left: Option<prop::sample::Index>,
        ) {
            let text: String = words.iter().map(|word| format!("{}-", word * word)).collect();
            let stored = pack(text.clone().into());
            prop_assert!(stored.starts_with(PACKED));
            let mut damaged = stored.to_vec();
            damaged[at.index(stored.len())] = byte;
            damaged.truncate(left.map_or(stored.len(), |left| left.index(stored.len())));
            let whole = damaged == *stored;
            prop_assert_eq!(unpack(damaged.into()) == text, whole);
        }
    }

    #[test]
    fn what_is_packed_and_damaged_is_given_as_it_is() {
        let stored = pack(Bytes::from(vec![b'x'; 100_000]));
        let with = |at: usize, byte: u8| {
            let mut damaged = stored.to_vec();
            damaged[at] = byte;
            Bytes::from(damaged)
        };
        let too_long = with(7, 0xff);
        let (longer, shorter) = (with(4, stored[4] + 1), with(4, stored[4] - 1));
        let empty = Bytes::from([&PACKED[..], &[0; 5]].concat());
        let cut = stored.slice(..stored.len() - 1);
        let short = [stored.slice(..6), stored.slice(..BLOCK_AT), empty];
        for damaged in [too_long, longer, shorter, cut].into_iter().chain(short) {
            assert_eq!(unpack(damaged.clone()), damaged);
            crate::chunk::decode(damaged).expect_err("no chunk");
        }
    }
}
