//! Parked chunks are stored as zstd frames; many stand for hours, and text shrinks well.

use std::io::{self, Read};

use bytes::Bytes;
use zstd::stream::read::Decoder;

use crate::Park;

/// Level 1: three times the speed of the default, for a tenth more bytes on JSON.
const LEVEL: i32 = 1;
/// From so many bytes on, compressing is not for an async thread: about a millisecond.
const LARGE_BYTES: usize = 256 * 1024;
/// No chunk is that long; what claims to be is not unpacked.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

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
}
