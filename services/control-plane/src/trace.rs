//! The span of a request: named by its operation, never by its path, in which an account's things are named.
//!
//! It begins once credentials are checked: who has none cannot have us record anything, and whom we let in without asking has no
//! say in it.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::Response,
};
use millrace_runtime::telemetry::traces::{self, Kind, Span, Start};

use crate::{
    auth::Caller,
    operations::{self, Takes},
};

/// Serves a request within its span, if its trace is sampled. Stands behind `authorize`, before the deadline.
pub(crate) async fn traced(request: Request, next: Next) -> Response {
    let Some(span) = begin(&request) else { return next.run(request).await };
    let response = span.run(next.run(request)).await;
    end(&span, &response);
    response
}

/// Names are those of <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/> and
/// <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>.
fn begin(request: &Request) -> Option<Span> {
    if !traces::are_on() {
        return None;
    }
    let (headers, path) = (request.headers(), request.uri().path());
    let is_known = request.extensions().get::<Caller>().is_some();
    let parent = if is_known { text(headers, "traceparent") } else { "" };
    let start = |name: String| {
        let (kind, links) = (Kind::Server, Vec::new());
        Span::begin(Start { name: name.into(), kind, parent, links })
    };
    let is_grpc = text(headers, header::CONTENT_TYPE.as_str()).starts_with("application/grpc");
    if is_grpc && let Some(takes) = operations::of_grpc(path) {
        // Whether it is a service of ours that asks is looked up later.
        if takes == Takes::Internal {
            return None;
        }
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let span = start(format!("{service}/{method}"))?;
        span.set("rpc.system", "grpc");
        span.set("rpc.service", service.to_owned());
        span.set("rpc.method", method.to_owned());
        return Some(span);
    }
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let method = known(request.method());
    let span = start(format!("{method} {route}"))?;
    span.set("http.request.method", method);
    span.set("http.route", route.to_owned());
    Some(span)
}

/// The method of a request; whatever a caller invents is one, or there would be no end of names.
fn known(method: &Method) -> &'static str {
    let of_http = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    of_http.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// Says what was answered: of what went wrong, only what is ours is a failure.
fn end(span: &Span, response: &Response) {
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    let refused = text(response.headers(), "grpc-status").parse::<i64>().ok();
    if let Some(code) = refused {
        span.set("rpc.grpc.status_code", code);
    }
    // https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ counts these as failures of a server: UNKNOWN, DEADLINE_EXCEEDED,
    // UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
    match refused.filter(|code| [2, 4, 12, 13, 14, 15].contains(code)) {
        Some(code) => span.fail(code.to_string()),
        None if status.is_server_error() => span.fail(status.as_str().to_owned()),
        None => {}
    }
    span.end();
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
