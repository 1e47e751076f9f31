//! The body of a request: read within bounds, or forgotten.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use bytes::BytesMut;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::status::{Failure, Kind, code};

/// Largest body.
const MAX_BYTES: usize = 1024 * 1024;
/// Longest wait for the whole of a body.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a body that are read only to be forgotten.
const FORGOTTEN_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Longest time spent on that.
const FORGET_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads a body, unless it is too large or too slow.
pub(super) async fn read(headers: &HeaderMap, mut body: Body) -> Result<Bytes, Failure> {
    if announced(headers).is_some_and(|bytes| bytes > MAX_BYTES as u64) {
        forget(headers, body).await;
        return Err(too_large());
    }
    match timeout(TIMEOUT, gather(&mut body)).await {
        Err(_) => Err(too_slow()),
        Ok(Err(failure)) if failure.kind == Kind::TooLarge => {
            forget(headers, body).await;
            Err(failure)
        }
        Ok(read) => read,
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn gather(body: &mut Body) -> Result<Bytes, Failure> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            let message = "the body ended before its end";
            Failure::new(Kind::Invalid, code::BAD_REQUEST, message)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > MAX_BYTES {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads what is sent already of a body that is refused, within bounds: a server that closes while its peer still sends takes
/// the answer away with the rest.
async fn forget(headers: &HeaderMap, mut body: Body) {
    let forget = async {
        let mut forgotten = 0;
        while forgotten < FORGOTTEN_MAX_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            forgotten += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Who waits for leave to send has sent nothing.
    if !headers.contains_key(header::EXPECT) {
        // Too slow or not, the answer is the same.
        timeout(FORGET_TIMEOUT, forget).await.ok();
    }
}

fn too_large() -> Failure {
    let message = format!("the body is larger than {MAX_BYTES} bytes");
    Failure::new(Kind::TooLarge, code::BAD_REQUEST, message)
}

fn too_slow() -> Failure {
    let message = format!("the body did not end within {} s", TIMEOUT.as_secs());
    Failure::new(Kind::BodyTimeout, code::BAD_REQUEST, message)
}
