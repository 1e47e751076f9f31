//! What a request is answered with.

use axum::{
    Json,
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use millrace_domain::{ConfigVersion, Timestamp};
use serde_json::Value;

use crate::status::Failure;

/// The header that names the version of the configuration a mutation made.
const VERSION_HEADER: &str = "millrace-config-version";

/// What a handler gives.
pub(super) type Answer = Result<Response, Failure>;

/// A JSON body.
pub(super) fn json(status: StatusCode, body: Value) -> Response {
    (status, Json(body)).into_response()
}

/// The answer to a mutation.
pub(super) fn committed(version: ConfigVersion, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    let value = HeaderValue::from_str(&version.to_string()).expect("hex digits and a number");
    response.headers_mut().insert(VERSION_HEADER, value);
    response
}

/// A date of a resource.
pub(super) fn date(time: Timestamp) -> String {
    time.to_rfc3339_seconds()
}
