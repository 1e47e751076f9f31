//! Checks what a webhook request is signed with, from the published rules and not with the code that signs:
//! `X-Twilio-Signature` (Twilio, "Webhooks security"; error 57012) and Standard Webhooks 1.0.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderMap;
use millrace_domain::Secret;
use ring::{digest, hmac};
use url::Url;

/// Header of the one signature.
const TWILIO_HEADER: &str = "x-twilio-signature";
/// Query parameter that carries the hash of a body.
const BODY_HASH: &str = "bodySHA256";

/// What a receiver needs to know to check a request.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// Key of `X-Twilio-Signature`: the account's auth token. `None`: not checked.
    pub(crate) auth_token: Option<Secret>,
    /// Key of Standard Webhooks: the sink's `whsec_…`. `None`: not checked.
    pub(crate) signing_secret: Option<Secret>,
}

/// A request as it was received.
pub(crate) struct Received<'a> {
    /// The URL as it was requested, query included.
    pub(crate) url: &'a str,
    /// Its headers.
    pub(crate) headers: &'a HeaderMap,
    /// The raw body, empty for GET.
    pub(crate) body: &'a [u8],
}

/// What one check found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which check.
    pub(crate) check: &'static str,
    /// The exact bytes that the signature is over.
    pub(crate) signed: Vec<u8>,
    /// What is wrong; `None`: the signature is right.
    pub(crate) problem: Option<String>,
}

/// Makes every check there is a key for.
pub(crate) fn check(request: &Received<'_>, keys: &Keys) -> Vec<Finding> {
    let twilio = keys.auth_token.as_ref().map(|token| check_twilio(request, token));
    let standard = keys.signing_secret.as_ref().map(|secret| check_standard(request, secret));
    twilio.into_iter().chain(standard).collect()
}

/// The problems of a request in one sentence; `None`: it is right.
pub(crate) fn problems(findings: &[Finding]) -> Option<String> {
    let told: Vec<String> = findings
        .iter()
        .filter_map(|f| f.problem.as_ref().map(|problem| format!("{}: {problem}", f.check)))
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// The hash of a body as the query carries it.
pub(crate) fn body_hash(body: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, body);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds the hash of a body to a URL that has none, as the sender does.
pub(crate) fn with_body_hash(url: &str, body: &[u8]) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{BODY_HASH}={}", body_hash(body))
}

/// The hash of a body that a URL carries.
pub(crate) fn hash_in(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.query_pairs().find(|(name, _)| name == BODY_HASH).map(|(_, value)| value.into_owned())
}

fn check_twilio(request: &Received<'_>, token: &Secret) -> Finding {
    let urls = signable(request.url);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.reveal().as_bytes());
    let given = header(request.headers, TWILIO_HEADER);
    let tag = given.and_then(|text| BASE64_STANDARD.decode(text).ok());
    let right = tag
        .and_then(|tag| urls.iter().find(|url| hmac::verify(&key, url.as_bytes(), &tag).is_ok()));
    let problem = match given {
        None => Some("the header is missing".to_owned()),
        Some(given) if right.is_none() => Some(format!(
            "wrong signature `{given}`: is this the account's auth token, and the URL exactly as the sink has it?"
        )),
        Some(_) => wrong_hash(request),
    };
    let signed = right.or_else(|| urls.first()).cloned().unwrap_or_default().into_bytes();
    Finding { check: "X-Twilio-Signature", signed, problem }
}

/// What is wrong with the hash of the body, if anything; a GET has no body and needs none.
fn wrong_hash(request: &Received<'_>) -> Option<String> {
    let (expected, given) = (body_hash(request.body), hash_in(request.url));
    match given {
        None if request.body.is_empty() => None,
        None => Some(format!("the URL has no `{BODY_HASH}`, so the body is not signed")),
        Some(given) if given.eq_ignore_ascii_case(&expected) => None,
        Some(given) => Some(format!(
            "the body is not the one that was signed: its SHA-256 is {expected}, `{BODY_HASH}` says {given}"
        )),
    }
}

/// The URL as it may have been signed: without userinfo and fragment, and with or without the default port,
/// which Twilio's own validators accept either way.
fn signable(url: &str) -> Vec<String> {
    let url = url.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    let mut urls = vec![format!("{scheme}://{host}{path}")];
    match host.strip_suffix(default) {
        Some(bare) => urls.push(format!("{scheme}://{bare}{path}")),
        None if !has_port => urls.push(format!("{scheme}://{host}{default}{path}")),
        None => {}
    }
    urls
}

fn check_standard(request: &Received<'_>, secret: &Secret) -> Finding {
    let id = header(request.headers, "webhook-id").unwrap_or_default();
    let timestamp = header(request.headers, "webhook-timestamp").unwrap_or_default();
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(request.body);
    let problem = standard_problem(request.headers, secret, &signed);
    Finding { check: "webhook-signature", signed, problem }
}

fn standard_problem(headers: &HeaderMap, secret: &Secret, signed: &[u8]) -> Option<String> {
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        if header(headers, name).is_none_or(str::is_empty) {
            return Some(format!("the header `{name}` is missing"));
        }
    }
    let decoded = secret.reveal().strip_prefix("whsec_").map(|text| BASE64_STANDARD.decode(text));
    let Some(Ok(bytes)) = decoded else {
        return Some(
            "the signing secret must be `whsec_` and Base64; `millrace sinks get` shows it"
                .to_owned(),
        );
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let given = header(headers, "webhook-signature").unwrap_or_default();
    // Several signatures stand side by side while a secret is being replaced.
    let right = given
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|signature| BASE64_STANDARD.decode(signature).ok())
        .any(|tag| hmac::verify(&key, signed, &tag).is_ok());
    (!right).then(|| format!("wrong signature `{given}`: is this the sink's signing secret?"))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const BODY: &str = r#"[{"specversion":"1.0","type":"com.twilio.eventstreams.test-event","source":"Sink","id":"AC00000000000000000000000000000001","dataschema":"https://events-schemas.twilio.com/EventStreams.TestSink/1.json","datacontenttype":"application/json","time":"2026-01-02T03:04:05.678Z","data":{"test_id":"95001c1e-5b8e-45f5-830d-f9cbf1d16420"}}]"#;
    const HASH: &str = "2cd3b41907907a9340b805101562746c7bc58620c2828497c99f576dd09b1c1c";

    fn twilio(url: &str, signature: &str, body: &str) -> Finding {
        let mut headers = HeaderMap::new();
        headers.insert(TWILIO_HEADER, signature.parse().expect("a header"));
        let request = Received { url, headers: &headers, body: body.as_bytes() };
        let keys = Keys { auth_token: Some(Secret::new(TOKEN)), signing_secret: None };
        check(&request, &keys).remove(0)
    }

    // Vectors computed with the validator of Twilio's own Python library.
    #[test]
    fn accepts_what_twilio_signs() {
        for (url, signature) in [
            ("https://sink.example.com/events", "ZIRiia/NUSJXXqYRdwLxT0AbsCs="),
            ("https://sink.example.com/events?a=1", "R/GxSyTIMPGsbqbRhUg88kF0QfE="),
        ] {
            let url = with_body_hash(url, BODY.as_bytes());
            assert!(url.ends_with(HASH));
            assert_eq!(twilio(&url, signature, BODY).problem, None);
        }
    }

    #[test]
    fn accepts_the_default_port_and_userinfo_either_way() {
        for host in ["sink.example.com:443", "user:pass@sink.example.com", "u@sink.example.com:443"]
        {
            let url = format!("https://{host}/events?bodySHA256={HASH}#part");
            let finding = twilio(&url, "ZIRiia/NUSJXXqYRdwLxT0AbsCs=", BODY);
            assert_eq!(finding.problem, None, "{host}");
            assert!(!finding.signed.contains(&b'@') && !finding.signed.contains(&b'#'));
        }
        let other = format!("https://sink.example.com:8443/events?bodySHA256={HASH}");
        assert!(twilio(&other, "ZIRiia/NUSJXXqYRdwLxT0AbsCs=", BODY).problem.is_some());
    }

    #[test]
    fn tells_a_changed_body_from_a_changed_url_and_a_missing_hash() {
        let url = format!("https://sink.example.com/events?bodySHA256={HASH}");
        let signature = "ZIRiia/NUSJXXqYRdwLxT0AbsCs=";
        let problem =
            |url: &str, body: &str| twilio(url, signature, body).problem.unwrap_or_default();
        assert!(problem(&url, &format!("{BODY} ")).contains("the body is not the one"));
        assert!(problem(&url.replace("events", "event"), BODY).contains("wrong signature"));
        let token = Secret::new(TOKEN);
        let bare = "https://sink.example.com/events";
        let signed = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.reveal().as_bytes()),
            bare.as_bytes(),
        );
        let unhashed = twilio(bare, &BASE64_STANDARD.encode(signed), BODY);
        assert!(unhashed.problem.unwrap_or_default().contains("not signed"));
    }

    fn standard(id: &str, signature: &str, secret: &str, body: &str) -> Finding {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", id),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", signature),
        ] {
            headers.insert(name, value.parse().expect("a header"));
        }
        let request =
            Received { url: "https://a.example", headers: &headers, body: body.as_bytes() };
        let keys = Keys { auth_token: None, signing_secret: Some(Secret::new(secret)) };
        check(&request, &keys).remove(0)
    }

    // The vector of the Standard Webhooks reference libraries.
    #[test]
    fn accepts_what_standard_webhooks_signs_and_nothing_else() {
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let body = r#"{"test": 2432232314}"#;
        let finding = standard(id, right, secret, body);
        assert_eq!(finding.problem, None);
        assert_eq!(
            String::from_utf8(finding.signed).expect("UTF-8"),
            format!("{id}.1614265330.{body}")
        );
        let rotated = format!("v1,AAAA {right}");
        assert_eq!(standard(id, &rotated, secret, body).problem, None);
        for (id, signature, secret, body) in [
            ("msg_other", right, secret, body),
            (id, "v1,AAAA", secret, body),
            (id, right, "whsec_AAAA", body),
            (id, right, "plain", body),
            (id, right, secret, "{}"),
        ] {
            assert!(standard(id, signature, secret, body).problem.is_some());
        }
    }

    #[test]
    fn a_request_without_signatures_is_wrong_twice() {
        let keys = Keys {
            auth_token: Some(Secret::new(TOKEN)),
            signing_secret: Some(Secret::new("whsec_AAAA")),
        };
        let request =
            Received { url: "https://a.example", headers: &HeaderMap::new(), body: b"[]" };
        let problems = problems(&check(&request, &keys)).expect("problems");
        assert_eq!(
            problems,
            "X-Twilio-Signature: the header is missing; webhook-signature: the header `webhook-id` is missing"
        );
    }
}
