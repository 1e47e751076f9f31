//! No answer without a body: what the routes refuse without a word, such as a method that a path does not have, is explained
//! in REST's words; a head that is too large is refused before any route sees it. gRPC's answers stay as they are.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderValue, Request, StatusCode, header},
    response::Response,
    routing::future::RouteFuture,
};
use futures::{
    FutureExt,
    future::{Either, Map, Ready, ready},
};
use tower::Service;

/// Largest head of a request: names and values of its headers.
const HEADERS_MAX_BYTES: usize = 64 * 1024;
/// Longest path with its query.
const TARGET_MAX_BYTES: usize = 32 * 1024;

/// Routes whose every answer says what is wrong.
#[derive(Clone, Debug)]
pub(super) struct Complete(pub(super) Router);

type Answered = Result<Response, Infallible>;

impl<B> Service<Request<B>> for Complete
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Answered>, Map<RouteFuture<Infallible>, fn(Answered) -> Answered>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match too_large(&request) {
            Some(status) => Either::Left(ready(Ok(explained(status)))),
            None => Either::Right(self.0.call(request).map(complete as fn(Answered) -> Answered)),
        }
    }
}

fn too_large<B>(request: &Request<B>) -> Option<StatusCode> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > TARGET_MAX_BYTES {
        return Some(StatusCode::URI_TOO_LONG);
    }
    (size(request.headers()) > HEADERS_MAX_BYTES)
        .then_some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Adds what an answer lacks.
fn complete(answered: Answered) -> Answered {
    answered.map(|response| {
        let status = response.status();
        let wrong = status.is_client_error() || status.is_server_error();
        if !wrong || response.body().size_hint().exact() != Some(0) {
            return response;
        }
        let (mut head, _) = response.into_parts();
        let added = explained(status);
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            head.headers.remove(name);
        }
        head.headers.extend(added.headers().clone());
        Response::from_parts(head, added.into_body())
    })
}

/// A refusal in the four keys of Twilio's REST APIs (<https://www.twilio.com/docs/usage/twilios-response>).
fn explained(status: StatusCode) -> Response {
    let (code, message) = match status {
        StatusCode::UNAUTHORIZED => (20003, "credentials are required"),
        StatusCode::FORBIDDEN => (20403, "not for this caller"),
        StatusCode::NOT_FOUND => (20404, "The requested resource was not found"),
        StatusCode::METHOD_NOT_ALLOWED => (20004, "the method is not allowed here"),
        StatusCode::PAYLOAD_TOO_LARGE => (20001, "the body is too large"),
        StatusCode::URI_TOO_LONG => (20001, "the path and its query are longer than 32 kB"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            (20001, "the content type is not read here: what is at this path speaks gRPC")
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (20001, "the headers are larger than 64 kB"),
        StatusCode::TOO_MANY_REQUESTS => (20429, "too many requests: try the same one again later"),
        StatusCode::SERVICE_UNAVAILABLE => (20503, "temporarily unavailable: try again"),
        status if status.is_server_error() => (20500, "internal error"),
        _ => (20001, "bad request"),
    };
    let body = serde_json::json!({
        "code": code, "message": message, "status": status.as_u16(),
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use axum::{http::Method, routing::get};

    use super::*;

    async fn answer(method: Method, target: &str, header: usize) -> (u16, String) {
        let routes = Router::new()
            .route("/plain", get(|| async { "said" }))
            .route("/refused", get(|| async { (StatusCode::NOT_FOUND, "said") }))
            .route("/empty", get(|| async { StatusCode::NO_CONTENT }));
        let request = Request::builder().method(method).uri(target).header("x", "y".repeat(header));
        let request = request.body(Body::empty()).expect("a request");
        let Ok(response) = Complete(routes).call(request).await;
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn what_is_refused_without_a_word_is_explained_and_the_rest_stays() {
        assert_eq!(answer(Method::GET, "/plain", 0).await, (200, "said".to_owned()));
        assert_eq!(answer(Method::GET, "/refused", 0).await, (404, "said".to_owned()));
        assert_eq!(answer(Method::GET, "/empty", 0).await, (204, String::new()));
        let long = format!("/plain?{}", "q".repeat(TARGET_MAX_BYTES));
        for (method, target, header, status, code) in [
            (Method::GET, "/none", 0, 404, 20404),
            (Method::DELETE, "/plain", 0, 405, 20004),
            (Method::GET, "/plain", HEADERS_MAX_BYTES, 431, 20001),
            (Method::GET, &long, 0, 414, 20001),
        ] {
            let (told, body) = answer(method, target, header).await;
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(
                (told, &body["code"], &body["status"]),
                (status, &code.into(), &status.into())
            );
            assert!(body["message"].is_string() && body["more_info"].is_string(), "{body}");
        }
    }
}
