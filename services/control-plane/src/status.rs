//! One mapping of what went wrong to both faces: gRPC's status with field violations, REST's numbered error.
//!
//! The numbers are those of Twilio's error dictionary (<https://www.twilio.com/docs/api/errors>), except [`code::SUBSCRIPTION_LIMIT`],
//! for which the dictionary has none.

use std::{collections::HashMap, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use millrace_domain::{Refusal, RefusalCode};
use millrace_store::Error;
use tonic_types::{ErrorDetails, StatusExt};

/// How long who is told that something is not possible now should wait.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);
/// The same where the queue must be drained first.
const RETRY_NO_ROOM: Duration = Duration::from_secs(5);

/// REST's numbers.
pub(crate) mod code {
    /// A parameter is wrong.
    pub(crate) const BAD_REQUEST: u32 = 20001;
    /// Who asks is not known.
    pub(crate) const UNAUTHENTICATED: u32 = 20003;
    /// The path has no such method.
    pub(crate) const METHOD: u32 = 20004;
    /// The account is suspended or closed.
    pub(crate) const ACCOUNT_INACTIVE: u32 = 20005;
    /// Not for this caller.
    pub(crate) const DENIED: u32 = 20006;
    /// More than 1,000 a page.
    pub(crate) const PAGE_SIZE: u32 = 20007;
    /// No such resource.
    pub(crate) const NOT_FOUND: u32 = 20404;
    /// There already.
    pub(crate) const CONFLICT: u32 = 20409;
    /// No room for it now.
    pub(crate) const NO_ROOM: u32 = 20429;
    /// Our fault.
    pub(crate) const INTERNAL: u32 = 20500;
    /// Not now.
    pub(crate) const UNAVAILABLE: u32 = 20503;
    /// A sink could not be created.
    pub(crate) const SINK_INVALID: u32 = 91000;
    /// No such sink.
    pub(crate) const SINK_NOT_FOUND: u32 = 91001;
    /// Wrong paging parameters.
    pub(crate) const PAGING: u32 = 91002;
    /// The account has all the sinks it may have.
    pub(crate) const SINK_LIMIT: u32 = 91003;
    /// No SID of a sink.
    pub(crate) const SINK_SID: u32 = 91006;
    /// Subscriptions use the sink.
    pub(crate) const SINK_IN_USE: u32 = 91007;
    /// The sink is not active.
    pub(crate) const SINK_NOT_ACTIVE: u32 = 91100;
    /// A subscription could not be created.
    pub(crate) const SUBSCRIPTION_INVALID: u32 = 91101;
    /// No such subscription.
    pub(crate) const SUBSCRIPTION_NOT_FOUND: u32 = 91102;
    /// A subscription must have a type.
    pub(crate) const TYPES_EMPTY: u32 = 91103;
    /// No such event type, or none that may be subscribed to.
    pub(crate) const TYPE_NOT_FOUND: u32 = 91104;
    /// The account has all the subscriptions it may have; a number of our own.
    pub(crate) const SUBSCRIPTION_LIMIT: u32 = 91199;
    /// A parameter about schemas or types is wrong.
    pub(crate) const SCHEMA_INVALID: u32 = 91201;
    /// No such schema, version or event type.
    pub(crate) const SCHEMA_NOT_FOUND: u32 = 91202;
    /// Schemas and event types cannot be changed so.
    pub(crate) const SCHEMA_METHOD: u32 = 91203;
}

/// What kind of failure: decides gRPC's code and HTTP's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Invalid,
    TooLarge,
    UnsupportedMediaType,
    BodyTimeout,
    MethodNotAllowed,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    AlreadyExists,
    Repeated,
    FailedPrecondition,
    LimitReached,
    NoRoom,
    Unavailable,
    Internal,
}

impl Kind {
    fn grpc(self) -> tonic::Code {
        match self {
            Self::Invalid | Self::TooLarge | Self::UnsupportedMediaType => {
                tonic::Code::InvalidArgument
            }
            Self::Unauthenticated => tonic::Code::Unauthenticated,
            Self::PermissionDenied => tonic::Code::PermissionDenied,
            Self::NotFound => tonic::Code::NotFound,
            Self::AlreadyExists => tonic::Code::AlreadyExists,
            Self::Repeated => tonic::Code::Aborted,
            Self::FailedPrecondition => tonic::Code::FailedPrecondition,
            Self::LimitReached | Self::NoRoom => tonic::Code::ResourceExhausted,
            Self::MethodNotAllowed => tonic::Code::Unimplemented,
            Self::BodyTimeout => tonic::Code::DeadlineExceeded,
            Self::Unavailable => tonic::Code::Unavailable,
            Self::Internal => tonic::Code::Internal,
        }
    }

    fn http(self) -> StatusCode {
        match self {
            Self::Invalid | Self::FailedPrecondition | Self::LimitReached => {
                StatusCode::BAD_REQUEST
            }
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::Repeated => StatusCode::CONFLICT,
            Self::NoRoom => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What a store's error is about: decides REST's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Sink,
    Subscription,
    SubscribedEvent,
    Catalog,
    Account,
    ApiKey,
}

/// Why an operation was refused or failed, as both faces tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) code: u32,
    /// As REST spells it; empty: of no field.
    pub(crate) field: String,
    pub(crate) message: String,
    /// When the same request may be sent again.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, code: u32, message: impl Into<String>) -> Self {
        Self { kind, code, field: String::new(), message: message.into(), retry_after: None }
    }

    /// A wrong value of `field`.
    pub(crate) fn invalid(code: u32, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), ..Self::new(Kind::Invalid, code, message) }
    }

    /// A refusal of the domain, under one of REST's numbers. A value that is too large is an invalid one: only a
    /// body is answered with 413.
    pub(crate) fn refused(code: u32, refusal: Refusal) -> Self {
        let kind = match refusal.code {
            RefusalCode::InvalidArgument | RefusalCode::TooLarge => Kind::Invalid,
            RefusalCode::NotFound => Kind::NotFound,
            RefusalCode::PermissionDenied => Kind::PermissionDenied,
            RefusalCode::ResourceExhausted => Kind::LimitReached,
            RefusalCode::Unavailable => Kind::Unavailable,
        };
        Self { field: refusal.field, ..Self::new(kind, code, refusal.message) }
    }

    /// Says when the same request may be sent again.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Names the field that the failure is about.
    pub(crate) fn at(self, field: impl Into<String>) -> Self {
        Self { field: field.into(), ..self }
    }

    /// Spells the field as gRPC does: the first name that the field starts with is replaced.
    pub(crate) fn spelt(mut self, names: &[(&str, &str)]) -> Self {
        if let Some((rest, grpc)) = names
            .iter()
            .find_map(|(rest, grpc)| Some((self.field.strip_prefix(rest)?.to_owned(), grpc)))
        {
            self.field = format!("{grpc}{rest}");
        }
        self
    }

    /// What gRPC tells besides the message (`google.rpc`): REST's number always; the field, the limit or the wait, where there
    /// is one.
    fn details(&self) -> ErrorDetails {
        let mut details = ErrorDetails::new();
        if !self.field.is_empty() {
            details.add_bad_request_violation(&self.field, &self.message);
        }
        match self.kind {
            Kind::LimitReached => {
                details.add_quota_failure_violation("account", &self.message);
            }
            Kind::Unavailable => {
                details.set_retry_info(Some(RETRY_UNAVAILABLE));
            }
            Kind::NoRoom => {
                details.set_retry_info(Some(self.retry_after.unwrap_or(RETRY_NO_ROOM)));
            }
            _ => {}
        }
        let code = HashMap::from([("code".to_owned(), self.code.to_string())]);
        details.set_error_info(format!("E{}", self.code), "millrace", code);
        details
    }

    /// What a store's error means to the caller. What only an operator can mend is logged here and not told.
    pub(crate) fn of_store(error: Error, about: About) -> Self {
        match error {
            Error::NotFound { what } => {
                Self::new(Kind::NotFound, not_found(about), format!("{what} does not exist"))
            }
            Error::AlreadyExists { what } => {
                Self::new(Kind::AlreadyExists, code::CONFLICT, format!("{what} exists already"))
            }
            Error::InUse { what } if about == About::SubscribedEvent => Self::new(
                Kind::FailedPrecondition,
                code::TYPES_EMPTY,
                format!("{what} cannot be deleted: delete the subscription"),
            ),
            Error::InUse { what } => Self::new(
                Kind::FailedPrecondition,
                code::SINK_IN_USE,
                format!("{what} is in use: delete the subscriptions to it first"),
            ),
            Error::LimitReached { limit } => limit_reached(about, limit),
            Error::Repeated => Self::new(
                Kind::Repeated,
                code::CONFLICT,
                "the same request was made at the same time: make it again for its answer",
            ),
            Error::SinkFailed => Self::new(
                Kind::FailedPrecondition,
                code::SINK_NOT_ACTIVE,
                "the sink is failed: new subscriptions need an active one",
            ),
            Error::Closed { what } => Self::new(
                Kind::PermissionDenied,
                code::ACCOUNT_INACTIVE,
                format!("{what} is closed, for good"),
            ),
            Error::Unavailable { operation, source } => {
                let cause = source.source();
                tracing::warn!(operation, error = %source, cause, "the database did not serve a request");
                unavailable()
            }
            Error::Unattributed => {
                tracing::error!("a change was refused, for nobody was named who made it");
                Self::new(Kind::Internal, code::INTERNAL, "internal error")
            }
            Error::Unsealable { what } => {
                tracing::error!(what, "a sealed secret does not open: check `seal.keys`");
                Self::new(Kind::Internal, code::INTERNAL, "internal error")
            }
        }
    }
}

/// Not possible at the moment.
pub(crate) fn unavailable() -> Failure {
    Failure::new(
        Kind::Unavailable,
        code::UNAVAILABLE,
        "temporarily unavailable: try the same request again",
    )
}

fn not_found(about: About) -> u32 {
    match about {
        About::Sink => code::SINK_NOT_FOUND,
        About::Subscription => code::SUBSCRIPTION_NOT_FOUND,
        About::SubscribedEvent => code::TYPE_NOT_FOUND,
        About::Catalog => code::SCHEMA_NOT_FOUND,
        About::Account | About::ApiKey => code::NOT_FOUND,
    }
}

fn limit_reached(about: About, limit: u32) -> Failure {
    let (code, what) = match about {
        About::Sink => (code::SINK_LIMIT, "sinks an account may have"),
        About::Subscription => (code::SUBSCRIPTION_LIMIT, "subscriptions an account may have"),
        About::Account => (code::BAD_REQUEST, "subaccounts an account may have"),
        About::ApiKey => (code::BAD_REQUEST, "API keys an account may have"),
        _ => (code::SUBSCRIPTION_INVALID, "event types a subscription may have"),
    };
    Failure::new(Kind::LimitReached, code, format!("the {limit} {what} are there already"))
}

impl From<Failure> for tonic::Status {
    fn from(failure: Failure) -> Self {
        let details = failure.details();
        let Failure { kind, field, message, .. } = failure;
        let message = if field.is_empty() { message } else { format!("{field}: {message}") };
        Self::with_error_details(kind.grpc(), message, details)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.kind.http();
        let message = match self.field.as_str() {
            "" => self.message,
            field => format!("{field}: {}", self.message),
        };
        let more_info = match self.code {
            code::SUBSCRIPTION_LIMIT => String::new(),
            code => format!("https://www.twilio.com/docs/errors/{code}"),
        };
        let body = serde_json::json!({
            "code": self.code, "message": message, "more_info": more_info, "status": status.as_u16(),
        });
        let mut response = (status, Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds, and never too few.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        if self.kind == Kind::Unauthenticated {
            let scheme = HeaderValue::from_static("Basic realm=\"Millrace\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_status_carries_the_field_and_never_the_cause() {
        let failure = Failure::invalid(code::SINK_INVALID, "SinkConfiguration.destination", "no")
            .spelt(&[("Description", "sink.description"), ("SinkConfiguration", "sink.webhook")]);
        let status = tonic::Status::from(failure);
        let violations = status.get_details_bad_request().expect("details").field_violations;
        assert_eq!(violations[0].field, "sink.webhook.destination");
        let info = status.get_details_error_info().expect("REST's number");
        assert_eq!(info.metadata.get("code").map(String::as_str), Some("91000"));
        let full = tonic::Status::from(limit_reached(About::Sink, 100));
        assert_eq!(full.code(), tonic::Code::ResourceExhausted);
        assert!(
            full.get_details_quota_failure().is_some() && full.get_details_retry_info().is_none()
        );
        let lost = Error::Unavailable { operation: "read a sink", source: "password=1".into() };
        let status = tonic::Status::from(Failure::of_store(lost, About::Sink));
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(status.get_details_retry_info().is_some());
        assert!(!status.message().contains("password"));
    }
}
