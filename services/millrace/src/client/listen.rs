//! `millrace listen`: a receiver for a developer's machine. Checks the signatures, prints events as they arrive.

use std::{borrow::Cow, collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, StatusCode, Uri, header::HOST},
};
use millrace_domain::Secret;
use millrace_runtime::{CancellationToken, server, signal};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use url::Url;

use crate::client::{
    connection::{secret, signing_secret},
    output::{self, OutputArgs},
    signature::{self, Keys, Received},
};

/// Largest body taken, in bytes: a largest event and then some.
const BODY_MAX_BYTES: usize = 2 * 1024 * 1024;
/// Oldest request taken, as Standard Webhooks recommends against replays.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Receive events: check the signatures of each request, print its events, answer 204 (403 if a signature is wrong).
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListenArgs {
    /// Where to listen; any path is taken.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    listen: String,
    /// The scheme and host that the sink's URL has, where a proxy or tunnel stands in between [default: http and the Host header].
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
    /// The account's auth token, to check X-Twilio-Signature with.
    #[arg(long, value_name = "TOKEN", env = "MILLRACE__CLIENT__AUTH_TOKEN", hide_env_values = true, value_parser = secret)]
    auth_token: Option<Secret>,
    /// The sink's signing secret, to check webhook-signature with.
    #[arg(long, value_name = "whsec_…", env = "MILLRACE__CLIENT__SIGNING_SECRET", hide_env_values = true, value_parser = signing_secret)]
    signing_secret: Option<Secret>,
    #[command(flatten)]
    output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  millrace listen
  millrace listen --listen 127.0.0.1:4000 --auth-token 0123… --signing-secret whsec_… --json | jq .data
Make a sink for it: millrace sinks create --webhook http://127.0.0.1:4000/events --description 'my laptop'";

/// Serves until Ctrl-C.
pub(crate) async fn run(args: ListenArgs) -> anyhow::Result<ExitCode> {
    let listener = server::bind(&args.listen).await?;
    let keys = Keys { auth_token: args.auth_token, signing_secret: args.signing_secret };
    eprintln!("listening on http://{} ({}); Ctrl-C ends", listener.local_addr()?, checks(&keys));
    let origin = args.public_url.map(|url| url.origin().ascii_serialization());
    let stopping = CancellationToken::new();
    let json = args.output.json;
    let receiver = Receiver { keys, origin, json, stopping: stopping.clone() };
    let routes = Router::new()
        .fallback(receive)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .with_state(Arc::new(receiver));
    let mut serving = std::pin::pin!(server::serve(listener, routes, stopping.clone()));
    tokio::select! {
        // Ends by itself only when nobody reads what is printed; there is no signal to lose then.
        served = &mut serving => served?,
        // Only the wait for the signal ended: serving goes on below, to answer what is open.
        signalled = signal::stop_requested() => {
            signalled?;
            stopping.cancel();
            serving.await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn checks(keys: &Keys) -> &'static str {
    match (&keys.auth_token, &keys.signing_secret) {
        (Some(_), Some(_)) => "both signatures are checked",
        (Some(_), None) => {
            "X-Twilio-Signature is checked; --signing-secret checks webhook-signature"
        }
        (None, Some(_)) => "webhook-signature is checked; --auth-token checks X-Twilio-Signature",
        (None, None) => "signatures are NOT checked: give --auth-token and --signing-secret",
    }
}

struct Receiver {
    keys: Keys,
    /// Scheme and host of the sink's URL, if not those of the request.
    origin: Option<String>,
    json: bool,
    stopping: CancellationToken,
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let url = receiver.url_of(&uri, &headers);
    let request = Received { url: &url, headers: &headers, body: &body };
    if let Some(problem) = receiver.problem(&request) {
        eprintln!("refused a request to {} (403): {problem}", uri.path());
        return (StatusCode::FORBIDDEN, format!("{problem}\n"));
    }
    let events = match events_of(&method, &url, &body) {
        Ok(events) => events,
        Err(problem) => {
            eprintln!("refused a request to {} (400): {problem}", uri.path());
            return (StatusCode::BAD_REQUEST, format!("{problem}\n"));
        }
    };
    for event in &events {
        let line =
            if receiver.json { event.get().replace(['\n', '\r'], " ") } else { one_line(event) };
        if output::line(&line).is_err() {
            // Nobody reads on: end, and let the sender keep what was not printed.
            receiver.stopping.cancel();
            return (StatusCode::SERVICE_UNAVAILABLE, String::new());
        }
    }
    (StatusCode::NO_CONTENT, String::new())
}

impl Receiver {
    /// The URL as the sender knows it.
    fn url_of(&self, uri: &Uri, headers: &HeaderMap) -> String {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        match &self.origin {
            Some(origin) => format!("{origin}{path}"),
            None => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok());
                let host = host.or_else(|| uri.authority().map(|a| a.as_str())).unwrap_or_default();
                format!("http://{host}{path}")
            }
        }
    }

    fn problem(&self, request: &Received<'_>) -> Option<String> {
        let findings = signature::check(request, &self.keys);
        let now = millrace_runtime::clock::now_millis() / 1_000;
        signature::problems(&findings)
            .or_else(|| self.keys.signing_secret.as_ref().and_then(|_| stale(request.headers, now)))
    }
}

/// What is wrong with the age of a request, if anything.
fn stale(headers: &HeaderMap, now: i64) -> Option<String> {
    let text = headers.get("webhook-timestamp").and_then(|value| value.to_str().ok());
    match text.and_then(|text| text.parse::<i64>().ok()) {
        None => Some("`webhook-timestamp` is no time in seconds".to_owned()),
        Some(sent) if now.abs_diff(sent) > TOLERANCE.as_secs() => Some(format!(
            "`webhook-timestamp` is {} s off this machine's clock",
            now.abs_diff(sent)
        )),
        Some(_) => None,
    }
}

/// The events of a request: the array of a POST, or the query of a GET.
///
/// They stay as they were sent: nesting and numbers beyond what serde_json reads are JSON all the same.
fn events_of(method: &Method, url: &str, body: &[u8]) -> Result<Vec<Box<RawValue>>, String> {
    if method == Method::GET {
        let url = Url::parse(url).map_err(|error| format!("the URL is malformed: {error}"))?;
        let mut event: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
        for (name, value) in url.query_pairs() {
            let json = if name == "data" { serde_json::from_str(&value).ok() } else { None };
            let value = json.map_or_else(|| to_raw_value(&value), Ok);
            event.insert(name.into_owned(), value.map_err(|error| error.to_string())?);
        }
        return Ok(vec![to_raw_value(&event).map_err(|error| error.to_string())?]);
    }
    let body: Box<RawValue> =
        serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
    match body.get().as_bytes().first() {
        Some(b'{') => Ok(vec![body]),
        Some(b'[') => serde_json::from_str(body.get())
            .map_err(|error| format!("the body is not an array of events: {error}")),
        _ => Err("the body is neither an array of events nor an event".to_owned()),
    }
}

/// What a line shows of an event.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shown<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

fn one_line(event: &RawValue) -> String {
    let shown = serde_json::from_str::<Shown<'_>>(event.get()).unwrap_or_default();
    let text = [shown.time, shown.r#type, shown.id, shown.source];
    text.map(|text| if text.is_empty() { Cow::Borrowed("-") } else { text }).join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_array_of_a_post_and_the_query_of_a_get() {
        let post = events_of(&Method::POST, "http://a/", br#"[{"id":"1"},{"id":"2"}]"#);
        assert_eq!(post.map(|events| events.len()), Ok(2));
        let url = "http://a/x?id=EZ1&type=com.example.a&data=%7B%22n%22%3A1%7D";
        let get = events_of(&Method::GET, url, b"").expect("an event").remove(0);
        assert_eq!(get.get(), r#"{"data":{"n":1},"id":"EZ1","type":"com.example.a"}"#);
        assert!(events_of(&Method::POST, "http://a/", b"7").is_err());
        assert!(events_of(&Method::POST, "http://a/", b"{").is_err());
    }

    #[test]
    fn takes_what_millrace_takes() {
        let deep = format!("{}1e400{}", "[".repeat(1_000), "]".repeat(1_000));
        let body = format!(r#"[{{"id":"EZ1","type":"a","data":{{"n":{deep}}}}}]"#);
        let events = events_of(&Method::POST, "http://a/", body.as_bytes()).expect("events");
        assert_eq!(one_line(&events[0]), "-  a  EZ1  -");
    }

    #[test]
    fn an_event_is_one_line() {
        let event = serde_json::json!({"id": "EZ1", "type": "com.example.a", "source": "/a"});
        let event = to_raw_value(&event).expect("JSON");
        assert_eq!(one_line(&event), "-  com.example.a  EZ1  /a");
    }

    #[test]
    fn a_request_from_another_time_is_stale() {
        let mut headers = HeaderMap::new();
        assert!(stale(&headers, 1_000).is_some());
        headers.insert("webhook-timestamp", "1000".parse().expect("a header"));
        assert_eq!(stale(&headers, 1_300), None);
        assert!(stale(&headers, 1_301).is_some() && stale(&headers, 600).is_some());
    }

    #[test]
    fn the_url_is_the_senders() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "127.0.0.1:4000".parse().expect("a header"));
        let uri: Uri = "/a?b=c".parse().expect("a URI");
        let stopping = CancellationToken::new();
        let mut receiver = Receiver { keys: Keys::default(), origin: None, json: false, stopping };
        assert_eq!(receiver.url_of(&uri, &headers), "http://127.0.0.1:4000/a?b=c");
        receiver.origin = Some("https://tunnel.example".to_owned());
        assert_eq!(receiver.url_of(&uri, &headers), "https://tunnel.example/a?b=c");
    }
}
