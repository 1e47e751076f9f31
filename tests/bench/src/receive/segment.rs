//! A null endpoint of Segment's HTTP Tracking API: who asks is checked, every call is taken.

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::Full;

use super::WRITE_KEYS;

/// Where batches are posted to.
pub(super) const PATH: &str = "/v1/batch";
/// What stands before the id of the event that a call was made of.
const MESSAGE_ID: &str = r#""messageId":""#;
const TAKEN: Bytes = Bytes::from_static(br#"{"success":true}"#);

/// Answers a request. Of calls only the message ids are read.
pub(super) fn answer(
    authorization: Option<&HeaderValue>,
    body: &str,
    record: impl FnOnce(usize, &str, &str),
) -> Result<Response<Full<Bytes>>> {
    let Some(source) = authorization.and_then(source) else {
        return Ok(Response::builder().status(401).body(Full::default())?);
    };
    record(source, MESSAGE_ID, body);
    Ok(Response::new(Full::new(TAKEN)))
}

/// The number of the source whose write key is the user's name of a Basic authorization with an empty password.
fn source(authorization: &HeaderValue) -> Option<usize> {
    let encoded = authorization.to_str().ok()?.strip_prefix("Basic ")?;
    let credentials = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    credentials.strip_prefix(WRITE_KEYS)?.strip_suffix(':')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is answered to such credentials, and the source that something was recorded of.
    fn asked(credentials: Option<&str>) -> (u16, Option<usize>) {
        let header = credentials.map(|it| format!("Basic {}", BASE64_STANDARD.encode(it)));
        let header = header.map(|it| HeaderValue::try_from(it).expect("visible"));
        let mut source = None;
        let body = r#"{"batch":[{"messageId":"a"}]}"#;
        let answer = answer(header.as_ref(), body, |of, _, _| source = Some(of));
        (answer.expect("it is answered").status().as_u16(), source)
    }

    #[test]
    fn only_a_write_key_without_a_password_is_taken() {
        assert_eq!(asked(Some(&format!("{WRITE_KEYS}7:"))), (200, Some(7)));
        for wrong in ["", ":", "other7:", &format!("{WRITE_KEYS}7"), &format!("{WRITE_KEYS}7:x")] {
            assert_eq!(asked(Some(wrong)), (401, None), "{wrong}");
        }
        assert_eq!(asked(None), (401, None));
    }
}
