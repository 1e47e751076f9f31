//! To whom the audit log attributes what a request does: every request has an id, and who makes it is told once the credentials
//! are known.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use millrace_domain::{AccountSid, ApiKeySid, secret::SecretHash};
use millrace_store::audit::{self, Actor};
use uuid::Uuid;

/// The header by which a client, or a proxy before us, names its request.
const ASKED: HeaderName = HeaderName::from_static("x-request-id");
/// The header by which the request is named in the answer, as `events/v1` has it.
const TOLD: HeaderName = HeaderName::from_static("twilio-request-id");
/// Longest id that is taken from a client.
const ID_MAX_BYTES: usize = 64;

/// Serves a request under its id.
pub(crate) async fn attributed(request: Request, next: Next) -> Response {
    let id = id_of(request.headers());
    let value = HeaderValue::from_str(&id);
    let mut response = audit::of_request(id, next.run(request)).await;
    if let Ok(value) = value {
        response.headers_mut().insert(TOLD, value);
    }
    response
}

/// The id that the client gave, or `RQ` and the hex digits of a UUIDv7.
fn id_of(headers: &HeaderMap) -> String {
    let given = headers.get(ASKED).and_then(|value| value.to_str().ok());
    let fits = |id: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !id.is_empty() && id.len() <= ID_MAX_BYTES && id.bytes().all(plain)
    };
    match given.filter(fits) {
        Some(id) => id.to_owned(),
        None => format!("RQ{}", Uuid::now_v7().as_simple()),
    }
}

/// The user of HTTP Basic, whose password was right, makes this request.
pub(crate) fn is_user(user: &str) {
    if let Ok(sid) = user.parse::<AccountSid>() {
        audit::identified(Actor::Account(sid));
    } else if let Ok(sid) = user.parse::<ApiKeySid>() {
        audit::identified(Actor::ApiKey(sid));
    }
}

/// The owner of a platform key makes this request.
pub(crate) fn is_platform(key: &SecretHash) {
    audit::identified(Actor::platform_key(key));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_an_id_that_can_be_written_down_and_gets_one_otherwise() {
        let id = |given: &str| {
            let value = HeaderValue::from_bytes(given.as_bytes()).expect("a value");
            id_of(&HeaderMap::from_iter([(ASKED, value)]))
        };
        assert_eq!(id("4f1c-9.a_b"), "4f1c-9.a_b");
        for wrong in ["", "a b", "é", &"a".repeat(65), "<b>"] {
            assert!(id(wrong).starts_with("RQ") && id(wrong).len() == 34, "{wrong}");
        }
        assert_ne!(id_of(&HeaderMap::new()), id_of(&HeaderMap::new()));
    }
}
