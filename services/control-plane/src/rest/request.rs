//! What is read off a request: who asks, the form, the query, the path, and the URL that the caller knows us by.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, MatchedPath, Path, Request, State},
    http::{HeaderMap, header, request::Parts, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use millrace_domain::{AccountSid, KeyAccess};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{DEADLINE, body, form::Fields, method_not_allowed};
use crate::{
    App,
    auth::Caller,
    operations::{self, Listed, Takes},
    status::{About, Failure, Kind, code, unavailable},
};

/// The header by which a platform key names the account it acts for.
pub(super) const ACCOUNT_HEADER: &str = "Millrace-Account-Sid";

/// Looks, before anything else is read, whether who asks may do this at all; tells what comes behind who it is.
pub(super) async fn authorize(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let takes = match operations::of_rest(request.method(), path.unwrap_or_default()) {
        Listed::Takes(takes) => takes,
        Listed::Allows(methods) => {
            let refused = method_not_allowed(request.method(), request.uri().path());
            return ([(header::ALLOW, methods)], refused).into_response();
        }
        Listed::Nowhere => {
            let operation = format!("{} {}", request.method(), request.uri().path());
            return operations::unlisted(&operation).into_response();
        }
    };
    if takes != Takes::Nothing {
        let known = timeout(DEADLINE, caller(&app, takes, request.headers())).await;
        match known.unwrap_or_else(|_| Err(unavailable())) {
            Ok(caller) => request.extensions_mut().insert(caller),
            Err(failure) => return failure.into_response(),
        };
    }
    next.run(request).await
}

/// Who asks; a platform key that names an account acts as that account.
async fn caller(app: &App, takes: Takes, headers: &HeaderMap) -> Result<Caller, Failure> {
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let caller = app.auth.authorize(authorization, takes).await?;
    let Some(named) = headers.get(ACCOUNT_HEADER) else { return Ok(caller) };
    let sid = named.to_str().ok().and_then(|sid| sid.parse::<AccountSid>().ok());
    let sid = sid.ok_or_else(|| {
        let message = "must be `AC` followed by 32 hex digits";
        Failure::invalid(code::BAD_REQUEST, ACCOUNT_HEADER, message)
    })?;
    let account = caller.account(ACCOUNT_HEADER, Some(sid))?;
    if caller != Caller::Platform {
        return Ok(caller);
    }
    let found = app.store.account(account).await;
    found.map_err(|error| Failure::of_store(error, About::Account).at(ACCOUNT_HEADER))?;
    Ok(Caller::Account(account, KeyAccess::Main))
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| {
            let (method, path) = (&parts.method, parts.uri.path());
            operations::unlisted(&format!("{method} {path}"))
        })
    }
}

/// The form in the body.
pub(super) struct Form(pub(super) Fields);

impl FromRequest<Arc<App>> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body).await?;
        if !bytes.is_empty() {
            check_content_type(&parts.headers)?;
        }
        Fields::parse(&bytes).map(Self)
    }
}

/// An event in the body, in the CloudEvents JSON format; whether it is one is not looked at here.
pub(super) struct EventBody(pub(super) Bytes);

impl FromRequest<Arc<App>> for EventBody {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let value = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let known = ["application/cloudevents+json", "application/json"];
        if !known.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
            let message = "must be `application/cloudevents+json` or `application/json`";
            let kind = Kind::UnsupportedMediaType;
            return Err(Failure::new(kind, code::BAD_REQUEST, message).at("Content-Type"));
        }
        body::read(&parts.headers, body).await.map(Self)
    }
}

/// The query.
pub(super) struct Query(pub(super) Fields);

impl FromRequestParts<Arc<App>> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        Fields::parse(parts.uri.query().unwrap_or_default().as_bytes()).map(Self)
    }
}

/// The variable segments of the path. What does not decode names nothing.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for At<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let path = Path::<T>::from_request_parts(parts, app).await;
        path.map(|Path(segments)| Self(segments)).map_err(|_| {
            let message = format!("The requested resource {} was not found", parts.uri.path());
            Failure::new(Kind::NotFound, code::NOT_FOUND, message)
        })
    }
}

/// What absolute URLs start with: `control_plane.public_url`, or else `http` and the host that the caller asked.
pub(super) struct Base(pub(super) String);

impl FromRequestParts<Arc<App>> for Base {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        if let Some(url) = &app.site.public_url {
            return Ok(Self(url.clone()));
        }
        // HTTP/2 has the host in the URI, HTTP/1.1 in a header.
        let asked = parts.uri.authority().cloned();
        let host = asked.or_else(|| host_in(&parts.headers)).ok_or_else(|| {
            let message = "must name the host that was asked, once";
            Failure::invalid(code::BAD_REQUEST, "Host", message)
        })?;
        Ok(Self(format!("http://{host}")))
    }
}

/// The host of an HTTP/1.1 request, if it is one: it becomes part of URLs.
fn host_in(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none())?;
    Authority::try_from(host.as_bytes()).ok().filter(|host| !host.as_str().contains('@'))
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(());
    }
    let message = match essence {
        "" => "must be `application/x-www-form-urlencoded`".to_owned(),
        other => format!("must be `application/x-www-form-urlencoded`, not `{other}`"),
    };
    Err(Failure::new(Kind::UnsupportedMediaType, code::BAD_REQUEST, message).at("Content-Type"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_is_a_host_becomes_part_of_a_url() {
        let host = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::HOST, HeaderValue::from_static(value));
            }
            host_in(&headers)
        };
        for right in ["a.example", "a.example:8080", "127.0.0.1:80", "[::1]:8080"] {
            assert_eq!(host(&[right]).expect("a host").as_str(), right);
        }
        for wrong in ["", "a b", "a\"b", "a/b", "a?b", "u@a.example", "a<b>"] {
            assert_eq!(host(&[wrong]), None, "{wrong}");
        }
        assert_eq!((host(&[]), host(&["a", "b"])), (None, None));
    }
}
