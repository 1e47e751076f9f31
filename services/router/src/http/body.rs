//! The body of a request: read within bounds, or forgotten.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use bytes::BytesMut;
use http_body_util::BodyExt;
use millrace_domain::Refusal;
use tokio::time::timeout;

use crate::{
    intake::{Charge, reading_problem},
    publish::PUBLISH_MAX_BYTES,
    status::Problem,
};

/// Most bytes of a body that are read only to be forgotten.
const FORGOTTEN_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Longest time spent on that.
const FORGET_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads a body, unless it is too large, which is told before all of it has come.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    charge: &Charge,
) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced
        .and_then(|text| text.parse().ok())
        .is_some_and(|bytes: u64| bytes > PUBLISH_MAX_BYTES as u64)
    {
        forget(headers, body, charge).await;
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| reading_problem(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + data.len() > PUBLISH_MAX_BYTES {
            forget(headers, body, charge).await;
            return Err(too_large());
        }
        match first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first); // nearly always: what came in one piece is not copied
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// Reads what has been sent already of a body that is refused, within bounds: a server that closes while its peer still sends
/// takes the answer away with the rest.
pub(super) async fn forget(headers: &HeaderMap, mut body: Body, charge: &Charge) {
    let forget = async {
        let mut forgotten = 0;
        while forgotten < FORGOTTEN_MAX_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            forgotten += frame.data_ref().map_or(0, Bytes::len);
            drop(charge.take());
        }
    };
    // Who waits for leave to send has sent nothing.
    if !headers.contains_key(header::EXPECT) {
        // Too slow or not, the answer is the same.
        timeout(FORGET_TIMEOUT, forget).await.ok();
    }
}

fn too_large() -> Problem {
    let message = format!("a publish is at most {PUBLISH_MAX_BYTES} bytes; split it");
    Problem::Refused(Refusal::too_large("", message))
}
