//! Why a request as a whole was not done, the same on both faces. What is wrong with one event is its own result.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use millrace_domain::{Refusal, RefusalCode};
use serde::Serialize;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::metrics;

/// How long who is told to come back later should wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The same where the queue must be drained first.
const RETRY_AFTER_PRESSURE: Duration = Duration::from_secs(5);

/// A request that was not done; nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Credentials are missing or wrong.
    Unauthenticated(&'static str),
    /// The caller may not publish.
    Denied(String),
    /// The process has no configuration yet, or not the one asked for.
    Unavailable(String),
    /// Too much is in flight.
    Overloaded,
    /// The queue is over its high-water mark.
    Pressed,
    /// The body did not come to its end in time.
    TooSlow,
    /// The body is of a kind that is not read: the header that says so, and what it must be.
    MediaType(&'static str, &'static str),
    /// The method is none of this path.
    Method,
    /// The request is wrong or too large.
    Refused(Refusal),
}

impl Problem {
    fn http_status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Overloaded | Self::Pressed => StatusCode::TOO_MANY_REQUESTS,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::MediaType(..) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Refused(refusal) if refusal.code == RefusalCode::TooLarge => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Refused(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Denied(_) => "permission_denied",
            Self::Unavailable(_) => "unavailable",
            Self::Overloaded | Self::Pressed => "resource_exhausted",
            Self::TooSlow => "deadline_exceeded",
            Self::MediaType(..) | Self::Method => "invalid_argument",
            Self::Refused(refusal) => refusal.code.as_str(),
        }
    }

    fn field(&self) -> &str {
        match self {
            Self::MediaType(field, _) => field,
            Self::Refused(refusal) => &refusal.field,
            _ => "",
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Unauthenticated(message) | Self::MediaType(_, message) => message,
            Self::Method => "events are published by `POST`",
            Self::Denied(message) | Self::Unavailable(message) => message,
            Self::Overloaded => "too much is being published at once; try again later",
            Self::Pressed => {
                "the queue is too full for new events until what waits in it is delivered; publish again later, with the same ids"
            }
            Self::TooSlow => "the body of the request did not end in time",
            Self::Refused(refusal) => &refusal.message,
        }
    }

    /// When the same request may be sent again; `None`: it would be refused again.
    pub(crate) fn come_back(&self) -> Option<Duration> {
        match self {
            Self::Unavailable(_) | Self::Overloaded => Some(RETRY_AFTER),
            Self::Pressed => Some(RETRY_AFTER_PRESSURE),
            _ => None,
        }
    }

    /// What it is in metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Pressed => "pressure",
            Self::Overloaded => "in_flight",
            _ => self.code(),
        }
    }

    /// What it is to one event of a batch that was not done.
    pub(crate) fn into_refusal(self) -> Refusal {
        let code = match &self {
            Self::Refused(refusal) => refusal.code,
            Self::Unavailable(_) | Self::TooSlow => RefusalCode::Unavailable,
            Self::Overloaded | Self::Pressed => RefusalCode::ResourceExhausted,
            Self::Unauthenticated(_) | Self::Denied(_) => RefusalCode::PermissionDenied,
            Self::MediaType(..) | Self::Method => RefusalCode::InvalidArgument,
        };
        let (field, message) = (self.field().to_owned(), self.message().to_owned());
        Refusal { code, field, message }
    }
}

/// The body of an answer to a request that was not done.
#[derive(Serialize)]
struct ProblemBody<'a> {
    code: &'a str,
    field: &'a str,
    message: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody { code: self.code(), field: self.field(), message: self.message() };
        let mut response = (self.http_status(), Json(body)).into_response();
        metrics::refused(self.reason());
        if let Some(wait) = self.come_back() {
            retry_after(&mut response, wait);
        }
        if self == Self::Method {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if matches!(self, Self::Unauthenticated(_)) {
            let scheme = HeaderValue::from_static("Basic realm=\"Millrace\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// Says when to come back for what some events were refused for.
pub(crate) fn retry_later(response: &mut Response) {
    retry_after(response, RETRY_AFTER);
}

fn retry_after(response: &mut Response, wait: Duration) {
    response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into());
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let code = match &problem {
            Problem::Unauthenticated(_) => Code::Unauthenticated,
            Problem::Denied(_) => Code::PermissionDenied,
            Problem::Unavailable(_) => Code::Unavailable,
            Problem::Overloaded | Problem::Pressed => Code::ResourceExhausted,
            Problem::TooSlow => Code::DeadlineExceeded,
            Problem::MediaType(..) | Problem::Method | Problem::Refused(_) => Code::InvalidArgument,
        };
        let mut details = ErrorDetails::new();
        if !problem.field().is_empty() {
            details.add_bad_request_violation(problem.field(), problem.message());
        }
        metrics::refused(problem.reason());
        if problem.come_back().is_some() {
            details.set_retry_info(problem.come_back());
        }
        let message = match problem.field() {
            "" => problem.message().to_owned(),
            field => format!("{field}: {}", problem.message()),
        };
        Self::with_error_details(code, message, details)
    }
}
