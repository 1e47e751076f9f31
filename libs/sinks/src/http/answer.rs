//! What an error says in words for people, and an answer in a time to wait.

use std::{
    error::Error,
    time::{Duration, UNIX_EPOCH},
};

use http::HeaderValue;
use hyper_util::client::legacy;

use super::Failure;
use crate::{guard::ConnectError, words::in_full};

/// Longest wait that a sink can ask for: one that asks for more is asked again after an hour.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Why a request had no answer.
pub(super) fn failure(error: &legacy::Error) -> Failure {
    let Some(source) = error.source() else {
        return Failure::Connect("the connection was lost".to_owned());
    };
    if let Some(connect) = source.downcast_ref::<ConnectError>() {
        return Failure::Connect(in_full(connect));
    }
    match source.downcast_ref::<hyper::Error>() {
        Some(error) => broken(error),
        None => Failure::Connect(in_full(source)),
    }
}

/// Why an answer broke off.
pub(super) fn broken(error: &hyper::Error) -> Failure {
    let text = in_full(error);
    if error.is_parse() {
        Failure::Malformed(format!("the answer is not valid HTTP: {text}"))
    } else {
        Failure::Connect(format!("the connection broke before the answer was complete: {text}"))
    }
}

/// The wait that `Retry-After` asks for: seconds, or a date (RFC 9110, 10.2.3) of which `now_seconds` is subtracted.
pub(crate) fn retry_after(value: &HeaderValue, now_seconds: i64) -> Option<Duration> {
    let value = value.to_str().ok()?.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large for its type is a long wait all the same.
        value.parse().unwrap_or(u64::MAX)
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        let since_epoch = date.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        since_epoch.saturating_sub(u64::try_from(now_seconds).unwrap_or(0))
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(value: &'static str) -> Option<Duration> {
        // Sun, 06 Nov 1994 08:49:37 GMT
        retry_after(&HeaderValue::from_static(value), 784_111_777)
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        assert_eq!(wait("30"), Some(Duration::from_secs(30)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Sat, 06 Nov 2094 08:00:00 GMT"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("99999999999999999999999"), Some(RETRY_AFTER_MAX));
        for wrong in ["", "-1", "1.5", "soon", "+5"] {
            assert_eq!(wait(wrong), None, "{wrong}");
        }
    }
}
