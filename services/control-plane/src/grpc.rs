//! gRPC: `millrace.v1` without publishing, and `ConfigService`. A face of the operations and nothing else.

use std::{str::FromStr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    middleware::{Next, from_fn, from_fn_with_state},
};
use millrace_domain::{AccountSid, ConfigVersion};
use millrace_proto::{
    internal::config_service_server::ConfigServiceServer,
    v1::{
        account_service_server::AccountServiceServer, audit_service_server::AuditServiceServer,
        event_service_server::EventServiceServer,
        event_type_service_server::EventTypeServiceServer, log_service_server::LogServiceServer,
        quarantine_service_server::QuarantineServiceServer,
        schema_service_server::SchemaServiceServer, sink_service_server::SinkServiceServer,
        subscription_service_server::SubscriptionServiceServer,
    },
};
use prost::Message;
use tokio::time::timeout;
use tonic::{Request, Response, Status, metadata::AsciiMetadataValue, service::Routes};

use crate::{
    App,
    auth::Caller,
    commit::Committed,
    operations::{self, Takes},
    paging::{self, SIZE_DEFAULT, SIZE_MAX, Scope},
    status::{Failure, code, unavailable},
    trace::traced,
    watch::Watch,
};

mod accounts;
mod audit;
mod event_types;
mod events;
mod logs;
mod once;
mod quarantine;
mod schemas;
mod sinks;
mod subscriptions;

pub(crate) use logs::{attempt as wire_attempt, reason as wire_cause};

/// Full names of the services, for health.
pub(crate) const SERVICES: [&str; 10] = [
    "millrace.v1.AccountService",
    "millrace.v1.AuditService",
    "millrace.v1.EventService",
    "millrace.v1.EventTypeService",
    "millrace.v1.LogService",
    "millrace.v1.QuarantineService",
    "millrace.v1.SchemaService",
    "millrace.v1.SinkService",
    "millrace.v1.SubscriptionService",
    "millrace.internal.v1.ConfigService",
];

/// The metadata that names the version of the configuration a mutation made.
const VERSION_KEY: &str = "millrace-config-version";
/// Longest a call may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// The services' routes, without a fallback: other services may share the port.
pub(crate) fn routes(app: &Arc<App>, watch: Watch) -> Router {
    let face = || Face { app: Arc::clone(app) };
    Routes::new(SinkServiceServer::new(face()))
        .add_service(SubscriptionServiceServer::new(face()))
        .add_service(EventTypeServiceServer::new(face()))
        .add_service(SchemaServiceServer::new(face()))
        .add_service(LogServiceServer::new(face()))
        .add_service(AuditServiceServer::new(face()))
        .add_service(EventServiceServer::new(face()))
        .add_service(AccountServiceServer::new(face()))
        .add_service(QuarantineServiceServer::new(face()))
        .add_service(ConfigServiceServer::new(watch))
        .into_axum_router()
        .reset_fallback()
        .layer(from_fn(traced))
        .layer(from_fn_with_state(Arc::clone(app), authorize))
}

/// Looks, before a message is read, whether who asks may do this at all; tells what comes behind who it is.
async fn authorize(
    State(app): State<Arc<App>>,
    mut request: axum::extract::Request,
    next: Next,
) -> axum::response::Response {
    let authorization = request.headers().get("authorization").map(|value| value.as_bytes());
    match operations::of_grpc(request.uri().path()) {
        // No such method, or one that nobody is let into.
        None => return Status::unimplemented("no such method").into_http(),
        // Who serves it looks at it.
        Some(Takes::Internal | Takes::Nothing) => {}
        Some(takes) => {
            let known = timeout(DEADLINE, app.auth.authorize(authorization, takes)).await;
            match known.unwrap_or_else(|_| Err(unavailable())) {
                Ok(caller) => drop(request.extensions_mut().insert(caller)),
                Err(failure) => return Status::from(failure).into_http(),
            }
        }
    }
    next.run(request).await
}

/// Serves all services of `millrace.v1` that are control-plane's.
struct Face {
    app: Arc<App>,
}

impl Face {
    /// Does what is asked, within the deadline.
    async fn within<'a, T, M, F>(
        &'a self,
        request: Request<T>,
        operation: impl FnOnce(Caller, T) -> F,
    ) -> Result<Response<M>, Status>
    where
        F: Future<Output = Result<Response<M>, Failure>> + Send + 'a,
    {
        let (_, extensions, message) = request.into_parts();
        let Some(caller) = extensions.get::<Caller>().copied() else {
            return Err(operations::unlisted(std::any::type_name::<T>()).into());
        };
        let done = timeout(DEADLINE, operation(caller, message));
        done.await.unwrap_or_else(|_| Err(unavailable())).map_err(Status::from)
    }
}

/// The answer to a mutation.
fn committed<T, M>(done: Committed<T>, message: impl FnOnce(T) -> M) -> Response<M> {
    let version: ConfigVersion = done.version;
    let mut response = Response::new(message(done.value));
    let value = version.to_string().parse::<AsciiMetadataValue>().expect("hex digits and a number");
    response.metadata_mut().insert(VERSION_KEY, value);
    response
}

/// Reads a SID that must be there.
fn sid<S: FromStr>(field: &str, text: &str) -> Result<S, Failure>
where
    S::Err: ToString,
{
    text.parse().map_err(|error: S::Err| {
        Failure::invalid(code::BAD_REQUEST, field, format!("is not a SID: {}", error.to_string()))
    })
}

/// Reads a SID that may be empty.
fn optional_sid<S: FromStr>(field: &str, text: &str) -> Result<Option<S>, Failure>
where
    S::Err: ToString,
{
    if text.is_empty() { Ok(None) } else { sid(field, text).map(Some) }
}

/// A message inside a request that must be there.
fn required<T>(field: &str, message: Option<T>) -> Result<T, Failure> {
    message.ok_or_else(|| Failure::invalid(code::BAD_REQUEST, field, "is required"))
}

/// What a page token is good for: one list of one account, and a request that is the same but for its page.
fn scope(list: &str, account: Option<AccountSid>, rest: &impl Message) -> Scope {
    Scope::of(list, account, &rest.encode_to_vec())
}

/// Which page is asked for.
struct Asked<K> {
    scope: Scope,
    size: u32,
    after: Option<K>,
}

impl<K: FromStr + ToString> Asked<K> {
    fn read(scope: Scope, page_size: i32, page_token: &str) -> Result<Self, Failure> {
        let size = match u32::try_from(page_size) {
            Ok(0) => SIZE_DEFAULT,
            Ok(size) if size <= SIZE_MAX => size,
            _ => {
                let message = format!("must be from 1 to {SIZE_MAX}, or 0 for {SIZE_DEFAULT}");
                return Err(Failure::invalid(code::PAGING, "page_size", message));
            }
        };
        let after = match page_token {
            "" => None,
            token => Some(scope.key(token).ok_or_else(|| {
                let message = "is not a token that this list gave for this request";
                Failure::invalid(code::PAGING, "page_token", message)
            })?),
        };
        Ok(Self { scope, size, after })
    }

    /// Cuts the rows to the page, and gives the token of the next.
    fn next<T>(&self, rows: &mut Vec<T>, key: impl Fn(&T) -> K) -> String {
        let more = paging::cut(rows, self.size);
        rows.last().filter(|_| more).map(|row| self.scope.token(&key(row))).unwrap_or_default()
    }
}
