//! REST as `events/v1`, and for accounts the 2010 API, speak it: form in, JSON out, numbered errors. A face of the operations and nothing else.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode, Uri, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::time::timeout;

use crate::{
    App,
    status::{Failure, Kind, code, unavailable},
    trace::traced,
};

mod accounts;
mod answer;
mod audit;
mod auth_tokens;
mod body;
mod delivery;
mod docs;
mod events;
mod form;
mod keys;
mod listing;
mod logs;
mod mask;
pub(crate) mod openapi;
mod request;
mod schemas;
mod sink_status;
mod sinks;
mod subscribed_events;
mod subscriptions;
mod types;

/// Longest an operation may take, the body of its request (10 s at most) included; before it, as long at most it is looked up
/// who asks.
const DEADLINE: Duration = Duration::from_secs(15);

/// The routes under `/v1`, without a fallback: other services may share the port.
pub(crate) fn routes(app: Arc<App>) -> Router {
    let catalog = Router::new()
        .route("/v1/Types", get(types::list).post(types::create))
        .route("/v1/Types/{type}", get(types::fetch).post(types::update))
        .route("/v1/Schemas/{id}", get(schemas::fetch))
        .route("/v1/Schemas/{id}/Versions", get(schemas::versions).post(schemas::register))
        .route("/v1/Schemas/{id}/Versions/{version}", get(schemas::version))
        .route("/v1/Schemas/{id}/Versions/{version}/Raw", get(schemas::raw));
    let resources = Router::new()
        .route("/v1/Sinks", get(sinks::list).post(sinks::create))
        .route("/v1/Sinks/{sid}", get(sinks::fetch).post(sinks::update).delete(sinks::delete))
        .route("/v1/Sinks/{sid}/Status", get(sink_status::fetch))
        .route("/v1/Sinks/{sid}/Test", post(sinks::test))
        .route("/v1/Sinks/{sid}/Validate", post(sinks::validate))
        .route("/v1/Sinks/{sid}/Attempts", get(logs::attempts_of_sink))
        .route("/v1/Sinks/{sid}/DroppedEvents", get(logs::drops))
        .route("/v1/Sinks/{sid}/DroppedEvents/Resend", post(logs::resend))
        .route("/v1/Events/{id}/Attempts", get(logs::attempts_of_event))
        .route("/v1/Events/{id}/Explanation", get(events::explain))
        .route("/v1/Events/Match", post(events::matched))
        .route("/v1/Audit", get(audit::list))
        .route("/v1/ErrorLogs", get(logs::errors))
        .route("/v1/Subscriptions", get(subscriptions::list).post(subscriptions::create))
        .route(
            "/v1/Subscriptions/{sid}",
            get(subscriptions::fetch).post(subscriptions::update).delete(subscriptions::delete),
        )
        .route(
            "/v1/Subscriptions/{sid}/SubscribedEvents",
            get(subscribed_events::list).post(subscribed_events::create),
        )
        .route(
            "/v1/Subscriptions/{sid}/SubscribedEvents/{type}",
            get(subscribed_events::fetch)
                .post(subscribed_events::update)
                .delete(subscribed_events::delete),
        )
        .merge(accounts());
    let documents = Router::new()
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::page))
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            method_not_allowed(&method, uri.path())
        });
    let authorize = from_fn_with_state(Arc::clone(&app), request::authorize);
    resources
        .merge(catalog)
        .layer(from_fn(within_deadline))
        .layer(from_fn(traced))
        .layer(authorize)
        .merge(documents.layer(from_fn(within_deadline)).layer(from_fn(traced)))
        .with_state(app)
}

fn accounts() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/AuthTokens/Secondary", post(auth_tokens::create).delete(auth_tokens::delete))
        .route("/v1/AuthTokens/Promote", post(auth_tokens::promote))
        .route("/2010-04-01/Accounts.json", get(accounts::list).post(accounts::create))
        .route("/2010-04-01/Accounts/{account}", get(accounts::fetch).post(accounts::update))
        .route("/2010-04-01/Accounts/{account}/Keys.json", get(keys::list).post(keys::create))
        .route(
            "/2010-04-01/Accounts/{account}/Keys/{key}",
            get(keys::fetch).post(keys::update).delete(keys::delete),
        )
}

/// Answers what no service of a port knows: in gRPC's words where gRPC asked, and with 20404 otherwise.
pub(crate) async fn not_found(request: Request) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return tonic::Status::unimplemented("no such method").into_http::<axum::body::Body>();
    }
    let path = request.uri().path();
    let message = format!("The requested resource {path} was not found");
    Failure::new(Kind::NotFound, code::NOT_FOUND, message).into_response()
}

/// Refuses a method that a path has not; types and schemas have a number of their own for it.
fn method_not_allowed(method: &Method, path: &str) -> Failure {
    let of_catalogue = path.starts_with("/v1/Types") || path.starts_with("/v1/Schemas");
    let code = if of_catalogue { code::SCHEMA_METHOD } else { code::METHOD };
    let message = format!("{method} is not allowed on {path}");
    Failure::new(Kind::MethodNotAllowed, code, message)
}

async fn within_deadline(request: Request, next: Next) -> Response {
    match timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => unavailable().into_response(),
    }
}

/// 204, for a deletion.
const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;
