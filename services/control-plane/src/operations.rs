//! Every operation there is, and what a caller needs for it: the one table that both faces go by.
//!
//! What stands in no table is not served, before its handler hears of it: a new operation fails until somebody has said here
//! who may do it. Which account's resources an operation then reaches is the operation's business: what the caller may not see
//! does not exist.

use axum::http::Method;
use millrace_domain::account::Right;

use crate::status::{Failure, Kind, code};

/// What an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is for everybody.
    Nothing,
    /// Credentials of an account that are good for this, or a platform key.
    Right(Right),
    /// A platform key.
    Platform,
    /// The token that services know each other by; who serves it looks at it.
    Internal,
}

const READ: Takes = Takes::Right(Right::Read);
const WRITE: Takes = Takes::Right(Right::Write);
const MANAGE: Takes = Takes::Right(Right::Manage);

/// Method, path and need of every operation of REST.
pub const REST: &[(&str, &str, Takes)] = &[
    ("GET", "/v1/Types", READ),
    ("POST", "/v1/Types", Takes::Platform),
    ("GET", "/v1/Types/{type}", READ),
    ("POST", "/v1/Types/{type}", Takes::Platform),
    ("GET", "/v1/Schemas/{id}", READ),
    ("GET", "/v1/Schemas/{id}/Versions", READ),
    ("POST", "/v1/Schemas/{id}/Versions", Takes::Platform),
    ("GET", "/v1/Schemas/{id}/Versions/{version}", READ),
    ("GET", "/v1/Schemas/{id}/Versions/{version}/Raw", Takes::Nothing),
    ("GET", "/v1/Sinks", READ),
    ("POST", "/v1/Sinks", WRITE),
    ("GET", "/v1/Sinks/{sid}", READ),
    ("POST", "/v1/Sinks/{sid}", WRITE),
    ("DELETE", "/v1/Sinks/{sid}", WRITE),
    ("GET", "/v1/Sinks/{sid}/Status", READ),
    ("POST", "/v1/Sinks/{sid}/Test", WRITE),
    ("POST", "/v1/Sinks/{sid}/Validate", WRITE),
    ("GET", "/v1/Sinks/{sid}/Attempts", READ),
    ("GET", "/v1/Sinks/{sid}/DroppedEvents", READ),
    ("POST", "/v1/Sinks/{sid}/DroppedEvents/Resend", WRITE),
    ("GET", "/v1/Events/{id}/Attempts", READ),
    ("GET", "/v1/Events/{id}/Explanation", READ),
    ("POST", "/v1/Events/Match", READ),
    ("GET", "/v1/Audit", MANAGE),
    ("GET", "/v1/ErrorLogs", READ),
    ("GET", "/v1/Subscriptions", READ),
    ("POST", "/v1/Subscriptions", WRITE),
    ("GET", "/v1/Subscriptions/{sid}", READ),
    ("POST", "/v1/Subscriptions/{sid}", WRITE),
    ("DELETE", "/v1/Subscriptions/{sid}", WRITE),
    ("GET", "/v1/Subscriptions/{sid}/SubscribedEvents", READ),
    ("POST", "/v1/Subscriptions/{sid}/SubscribedEvents", WRITE),
    ("GET", "/v1/Subscriptions/{sid}/SubscribedEvents/{type}", READ),
    ("POST", "/v1/Subscriptions/{sid}/SubscribedEvents/{type}", WRITE),
    ("DELETE", "/v1/Subscriptions/{sid}/SubscribedEvents/{type}", WRITE),
    ("POST", "/v1/AuthTokens/Secondary", MANAGE),
    ("DELETE", "/v1/AuthTokens/Secondary", MANAGE),
    ("POST", "/v1/AuthTokens/Promote", MANAGE),
    ("GET", "/2010-04-01/Accounts.json", MANAGE),
    ("POST", "/2010-04-01/Accounts.json", MANAGE),
    ("GET", "/2010-04-01/Accounts/{account}", MANAGE),
    ("POST", "/2010-04-01/Accounts/{account}", MANAGE),
    ("GET", "/2010-04-01/Accounts/{account}/Keys.json", MANAGE),
    ("POST", "/2010-04-01/Accounts/{account}/Keys.json", MANAGE),
    ("GET", "/2010-04-01/Accounts/{account}/Keys/{key}", MANAGE),
    ("POST", "/2010-04-01/Accounts/{account}/Keys/{key}", MANAGE),
    ("DELETE", "/2010-04-01/Accounts/{account}/Keys/{key}", MANAGE),
];

/// Full name and need of every method of gRPC.
pub const GRPC: &[(&str, Takes)] = &[
    ("/millrace.v1.AccountService/CreateAccount", MANAGE),
    ("/millrace.v1.AccountService/GetAccount", MANAGE),
    ("/millrace.v1.AccountService/ListAccounts", MANAGE),
    ("/millrace.v1.AccountService/UpdateAccount", MANAGE),
    ("/millrace.v1.AccountService/CreateApiKey", MANAGE),
    ("/millrace.v1.AccountService/GetApiKey", MANAGE),
    ("/millrace.v1.AccountService/ListApiKeys", MANAGE),
    ("/millrace.v1.AccountService/UpdateApiKey", MANAGE),
    ("/millrace.v1.AccountService/DeleteApiKey", MANAGE),
    ("/millrace.v1.AccountService/CreateSecondaryAuthToken", MANAGE),
    ("/millrace.v1.AccountService/DeleteSecondaryAuthToken", MANAGE),
    ("/millrace.v1.AccountService/PromoteSecondaryAuthToken", MANAGE),
    ("/millrace.v1.AuditService/ListAuditEntries", MANAGE),
    ("/millrace.v1.EventService/ExplainEvent", READ),
    ("/millrace.v1.EventService/MatchEvent", READ),
    ("/millrace.v1.EventTypeService/CreateEventType", Takes::Platform),
    ("/millrace.v1.EventTypeService/GetEventType", READ),
    ("/millrace.v1.EventTypeService/UpdateEventType", Takes::Platform),
    ("/millrace.v1.EventTypeService/ListEventTypes", READ),
    ("/millrace.v1.LogService/ListAttempts", READ),
    ("/millrace.v1.LogService/ListErrorLogs", READ),
    ("/millrace.v1.LogService/ListDroppedEvents", READ),
    ("/millrace.v1.LogService/ResendDroppedEvents", WRITE),
    ("/millrace.v1.QuarantineService/ListQuarantinedChunks", Takes::Platform),
    ("/millrace.v1.QuarantineService/GetQuarantinedChunk", Takes::Platform),
    ("/millrace.v1.QuarantineService/RedriveQuarantinedChunks", Takes::Platform),
    ("/millrace.v1.QuarantineService/DiscardQuarantinedChunks", Takes::Platform),
    ("/millrace.v1.SchemaService/GetSchema", READ),
    ("/millrace.v1.SchemaService/GetSchemaVersion", READ),
    ("/millrace.v1.SchemaService/RegisterSchemaVersion", Takes::Platform),
    ("/millrace.v1.SchemaService/ListSchemaVersions", READ),
    ("/millrace.v1.SinkService/CreateSink", WRITE),
    ("/millrace.v1.SinkService/GetSink", READ),
    ("/millrace.v1.SinkService/GetSinkStatus", READ),
    ("/millrace.v1.SinkService/TestSink", WRITE),
    ("/millrace.v1.SinkService/ListSinks", READ),
    ("/millrace.v1.SinkService/UpdateSink", WRITE),
    ("/millrace.v1.SinkService/DeleteSink", WRITE),
    ("/millrace.v1.SubscriptionService/CreateSubscription", WRITE),
    ("/millrace.v1.SubscriptionService/GetSubscription", READ),
    ("/millrace.v1.SubscriptionService/ListSubscriptions", READ),
    ("/millrace.v1.SubscriptionService/UpdateSubscription", WRITE),
    ("/millrace.v1.SubscriptionService/DeleteSubscription", WRITE),
    ("/millrace.v1.SubscriptionService/AddSubscribedEvent", WRITE),
    ("/millrace.v1.SubscriptionService/UpdateSubscribedEvent", WRITE),
    ("/millrace.v1.SubscriptionService/RemoveSubscribedEvent", WRITE),
    ("/millrace.internal.v1.ConfigService/Watch", Takes::Internal),
];

/// What the table says of a request over REST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// It is an operation.
    Takes(Takes),
    /// The path has other methods: these.
    Allows(String),
    /// The path is in no table.
    Nowhere,
}

/// Looks up an operation of REST by the path it was routed by.
pub(crate) fn of_rest(method: &Method, path: &str) -> Listed {
    // Whoever may GET may HEAD.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for (has, _, takes) in REST.iter().filter(|(_, listed, _)| *listed == path) {
        if *has == method.as_str() {
            return Listed::Takes(*takes);
        }
        allowed.push(if *has == "GET" { "GET,HEAD" } else { *has });
    }
    if allowed.is_empty() { Listed::Nowhere } else { Listed::Allows(allowed.join(",")) }
}

/// What a method of gRPC takes; `None`: it is in no table.
pub(crate) fn of_grpc(path: &str) -> Option<Takes> {
    GRPC.iter().find(|(p, _)| *p == path).map(|(_, takes)| *takes)
}

/// What an operation answers that is in no table.
pub(crate) fn unlisted(operation: &str) -> Failure {
    tracing::error!(operation, "an operation has no entry in `operations.rs`: nobody is let in");
    Failure::new(Kind::Internal, code::INTERNAL, "internal error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_nobodys() {
        assert_eq!(of_rest(&Method::GET, "/v1/Sinks"), Listed::Takes(READ));
        assert_eq!(of_rest(&Method::HEAD, "/v1/Sinks"), Listed::Takes(READ));
        assert_eq!(of_rest(&Method::POST, "/v1/Types"), Listed::Takes(Takes::Platform));
        let allows = |allowed: &str| Listed::Allows(allowed.to_owned());
        assert_eq!(of_rest(&Method::PUT, "/v1/Sinks"), allows("GET,HEAD,POST"));
        assert_eq!(of_rest(&Method::HEAD, "/v1/Sinks/{sid}/Test"), allows("POST"));
        for nowhere in ["/v1/Sinks/{sid}/Secrets", "/v1/Sinks/", "/v1/sinks", ""] {
            assert_eq!(of_rest(&Method::GET, nowhere), Listed::Nowhere, "{nowhere}");
        }
        assert_eq!(of_grpc("/millrace.v1.SinkService/GetSink"), Some(READ));
        for nowhere in
            ["/millrace.v1.SinkService/GetSecrets", "/millrace.v1.SinkService/getSink", ""]
        {
            assert_eq!(of_grpc(nowhere), None, "{nowhere}");
        }
    }
}
