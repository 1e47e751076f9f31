//! What the head of every request has that an account chose the URL of: credentials, headers of its own, the trace.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, USER_AGENT},
};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::{Delivery, SinkSpec};

/// Who asks.
pub(crate) const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("Millrace/", env!("CARGO_PKG_VERSION")));
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Puts into `headers` what [`fixed`] does, and the trace of `batch`. Gives what of it is secret: no text for people may show
/// it.
///
/// # Errors
/// A text for people: a header that cannot be sent.
pub(crate) fn put(
    headers: &mut HeaderMap,
    url: &mut Url,
    sink: &SinkSpec,
    batch: &[Delivery],
) -> Result<Vec<String>, String> {
    let secrets = fixed(headers, url, sink)?;
    put_trace(headers, batch);
    Ok(secrets)
}

/// Puts into `headers` what all requests to the sink have: what the account asked for, and who asks; takes the userinfo out of
/// `url`. Gives what of it is secret.
///
/// # Errors
/// A text for people: a header that cannot be sent.
pub(crate) fn fixed(
    headers: &mut HeaderMap,
    url: &mut Url,
    sink: &SinkSpec,
) -> Result<Vec<String>, String> {
    let mut secrets = take_userinfo(url, headers)?;
    put_own(sink, headers, &mut secrets)?;
    headers.insert(USER_AGENT, USER_AGENT_VALUE);
    Ok(secrets)
}

/// Puts into `headers` the trace of the first event that has one.
pub(crate) fn put_trace(headers: &mut HeaderMap, batch: &[Delivery]) {
    let traced = batch.iter().find(|delivery| !delivery.traceparent.is_empty());
    if let Some(value) = traced.and_then(|it| HeaderValue::from_str(&it.traceparent).ok()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// `Authorization: Basic …`, marked as a secret.
pub(crate) fn basic(credentials: &[u8]) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode(credentials);
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .expect("Base64 is made of visible characters");
    value.set_sensitive(true);
    value
}

/// Moves `user:password@` from `url` to an `Authorization` header, and returns what is secret of it.
fn take_userinfo(url: &mut Url, headers: &mut HeaderMap) -> Result<Vec<String>, String> {
    let (user, password) = (url.username().to_owned(), url.password().map(str::to_owned));
    if user.is_empty() && password.is_none() {
        return Ok(Vec::new());
    }
    let cannot_have = |()| "the destination has no host".to_owned();
    url.set_username("").map_err(cannot_have)?;
    url.set_password(None).map_err(cannot_have)?;
    let password = password.unwrap_or_default();
    let mut credentials = percent_decode_str(&user).collect::<Vec<_>>();
    credentials.push(b':');
    credentials.extend(percent_decode_str(&password));
    headers.insert(AUTHORIZATION, basic(&credentials));
    // Services that take a key for a user name leave the password empty.
    let secret = if password.is_empty() { user } else { password };
    let decoded = percent_decode_str(&secret).decode_utf8_lossy().into_owned();
    Ok(vec![BASE64_STANDARD.encode(&credentials), decoded, secret])
}

/// Adds what the account wants its requests to carry; an `Authorization` of these wins over that of the URL.
fn put_own(
    sink: &SinkSpec,
    headers: &mut HeaderMap,
    secrets: &mut Vec<String>,
) -> Result<(), String> {
    for (name, value) in sink.headers.iter() {
        let unusable = || format!("the header `{name}` cannot be sent");
        let key = HeaderName::try_from(name).map_err(|_| unusable())?;
        let mut sent = HeaderValue::try_from(value.reveal()).map_err(|_| unusable())?;
        sent.set_sensitive(true);
        headers.insert(key, sent);
        secrets.push(value.reveal().to_owned());
    }
    Ok(())
}
