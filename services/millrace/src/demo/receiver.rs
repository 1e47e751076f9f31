//! The far end of the demo: a webhook receiver that checks, counts and, for one path, refuses at first.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    routing::post,
};
use millrace_domain::Secret;
use millrace_runtime::{Tasks, server};
use serde_json::Value;
use tokio::{sync::Notify, time::timeout};

use super::expect::Plan;
use crate::client::signature::{self, Keys, Received};

/// Most faults that are kept: the first ones tell.
const FAULTS_KEPT: usize = 20;

/// Serves a path for each plan on a port of its own.
pub(super) struct Receiver {
    origin: String,
    ends: Vec<Arc<End>>,
    arrived: Arc<Notify>,
    tasks: Tasks,
}

/// One path.
struct End {
    origin: String,
    refuses: u32,
    inbox: Mutex<Inbox>,
    arrived: Arc<Notify>,
}

/// What arrived at one path.
#[derive(Clone, Default)]
pub(super) struct Inbox {
    /// What its signatures are checked with.
    pub(super) keys: Keys,
    /// Requests, the refused ones included.
    pub(super) requests: u32,
    /// Requests answered 503.
    pub(super) refused: u32,
    /// Each event by id.
    pub(super) receipts: HashMap<String, Receipt>,
    /// Wrong signatures and bodies.
    pub(super) faults: Vec<String>,
}

/// An event that arrived.
#[derive(Clone)]
pub(super) struct Receipt {
    /// When it arrived first.
    pub(super) first: Instant,
    /// How often it arrived.
    pub(super) times: usize,
    /// As it arrived last.
    pub(super) event: Value,
}

impl Receiver {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn start(plans: &[Plan]) -> anyhow::Result<Self> {
        let listener = server::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let arrived = Arc::new(Notify::new());
        let (mut routes, mut ends) = (Router::new(), Vec::new());
        for plan in plans {
            let end = Arc::new(End {
                origin: origin.clone(),
                refuses: plan.refuses,
                inbox: Mutex::default(),
                arrived: Arc::clone(&arrived),
            });
            let route = post(receive).with_state(Arc::clone(&end));
            routes = routes.route(&format!("/{}", plan.name), route);
            ends.push(end);
        }
        let (tasks, _failures) = Tasks::new();
        tasks.spawn("receive", |stopping| server::serve(listener, routes, stopping));
        Ok(Self { origin, ends, arrived, tasks })
    }

    /// The destination of a plan's sink.
    pub(super) fn url(&self, plan: &Plan) -> String {
        format!("{}/{}", self.origin, plan.name)
    }

    /// From now on, checks the signatures of a path with these keys.
    pub(super) fn trust(&self, at: usize, auth_token: Secret, signing_secret: Secret) {
        if let Some(end) = self.ends.get(at) {
            end.open().keys =
                Keys { auth_token: Some(auth_token), signing_secret: Some(signing_secret) };
        }
    }

    /// What has arrived at a path so far.
    pub(super) fn inbox(&self, at: usize) -> Inbox {
        self.ends.get(at).map(|end| end.open().clone()).unwrap_or_default()
    }

    /// How many of `ids` have arrived at a path.
    pub(super) fn arrived(&self, at: usize, ids: &HashSet<String>) -> usize {
        let Some(end) = self.ends.get(at) else { return 0 };
        let inbox = end.open();
        ids.iter().filter(|id| inbox.receipts.contains_key(*id)).count()
    }

    /// Waits for one more request, at most `longest`; tells whether it came.
    pub(super) async fn more(&self, longest: Duration) -> bool {
        timeout(longest, self.arrived.notified()).await.is_ok()
    }

    /// Stops listening.
    pub(super) async fn stop(self) {
        if self.tasks.stop(Duration::from_secs(5)).await.is_err() {
            eprintln!("the receiver did not stop in time");
        }
    }
}

impl Inbox {
    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_KEPT {
            self.faults.push(fault);
        }
    }

    /// Counts the events of a request that is taken.
    fn take(&mut self, body: &[u8], now: Instant) {
        let Ok(Value::Array(events)) = serde_json::from_slice(body) else {
            return self.fault("a body is not a JSON array".to_owned());
        };
        for event in events {
            let Some(id) = event["id"].as_str().map(str::to_owned) else {
                self.fault("an event has no id".to_owned());
                continue;
            };
            let first = Receipt { first: now, times: 0, event: Value::Null };
            let receipt = self.receipts.entry(id).or_insert(first);
            receipt.times += 1;
            receipt.event = event;
        }
    }
}

impl End {
    fn open(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks a request, and decides its answer.
    fn answer(&self, uri: &Uri, headers: &HeaderMap, body: &[u8], now: Instant) -> StatusCode {
        let mut inbox = self.open();
        inbox.requests += 1;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.origin);
        let findings = signature::check(&Received { url: &url, headers, body }, &inbox.keys);
        let problem = match findings.len() {
            2 => signature::problems(&findings),
            _ => Some("a request came before there was a subscription".to_owned()),
        };
        if let Some(problem) = problem {
            inbox.fault(problem);
            return StatusCode::FORBIDDEN;
        }
        if inbox.refused < self.refuses {
            inbox.refused += 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        inbox.take(body, now);
        StatusCode::NO_CONTENT
    }
}

async fn receive(
    State(end): State<Arc<End>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let status = end.answer(&uri, &headers, &body, Instant::now());
    end.arrived.notify_one();
    status
}

#[cfg(test)]
mod tests {
    use millrace_domain::{secret::hex, signature as signer};

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn end(refuses: u32) -> End {
        let keys = Keys {
            auth_token: Some(Secret::new("token")),
            signing_secret: Some(Secret::new(SECRET)),
        };
        let inbox = Mutex::new(Inbox { keys, ..Inbox::default() });
        End { origin: "http://a.example".to_owned(), refuses, inbox, arrived: Arc::default() }
    }

    fn send(end: &End, body: &str, signed: &str) -> StatusCode {
        let hash = hex(&signer::body_hash([signed.as_bytes()]));
        let url = signer::before_body_hash("http://a.example/x") + &hash;
        let twilio = signer::TwilioKey::new(&Secret::new("token")).sign(&url);
        let standard = signer::StandardWebhooksKey::new(&Secret::new(SECRET))
            .expect("well-formed")
            .sign("msg_1", 7, [signed.as_bytes()]);
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-twilio-signature", twilio.as_str()),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "7"),
            ("webhook-signature", standard.as_str()),
        ] {
            headers.insert(name, value.parse().expect("a header"));
        }
        let path: Uri = url.strip_prefix("http://a.example").expect("it").parse().expect("a URI");
        end.answer(&path, &headers, body.as_bytes(), Instant::now())
    }

    #[test]
    fn takes_what_is_signed_and_counts_by_id() {
        let (end, body) = (end(0), r#"[{"id":"a"},{"id":"b"}]"#);
        assert_eq!(send(&end, body, body), StatusCode::NO_CONTENT);
        assert_eq!(send(&end, r#"[{"id":"a"}]"#, r#"[{"id":"a"}]"#), StatusCode::NO_CONTENT);
        let inbox = end.open();
        assert_eq!((inbox.receipts["a"].times, inbox.receipts["b"].times), (2, 1));
        assert!(inbox.faults.is_empty(), "{:?}", inbox.faults);
    }

    #[test]
    fn a_wrong_signature_is_a_fault_and_delivers_nothing() {
        let end = end(0);
        assert_eq!(send(&end, r#"[{"id":"a"}]"#, r#"[{"id":"b"}]"#), StatusCode::FORBIDDEN);
        let inbox = end.open();
        assert!(inbox.receipts.is_empty());
        assert!(inbox.faults[0].contains("the body is not the one"), "{:?}", inbox.faults);
    }

    #[test]
    fn refuses_the_first_requests_and_counts_them() {
        let (end, body) = (end(2), r#"[{"id":"a"}]"#);
        for _ in 0..2 {
            assert_eq!(send(&end, body, body), StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(send(&end, body, body), StatusCode::NO_CONTENT);
        let inbox = end.open();
        assert_eq!((inbox.refused, inbox.requests, inbox.receipts["a"].times), (2, 3, 1));
    }
}
