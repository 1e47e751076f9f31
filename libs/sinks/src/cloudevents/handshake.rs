//! The abuse-protection handshake: `OPTIONS` with `WebHook-Request-Origin`, and what the receiver says to it.
//!
//! A receiver that names origins and not ours has refused: it gets nothing, its events wait for their window. One that does not
//! speak the handshake says nothing, and gets its events, as a webhook would: most receivers do not know it. What is said holds
//! for an hour.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderName, Method, Request, header::USER_AGENT};
use http_body_util::Full;
use millrace_domain::SinkSid;
use tokio::time::Instant;

use crate::{
    SinkSpec,
    http::{Answer, Body, Exchange, HttpClient, Rendered, head},
    words::clean_text,
};

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
const ALLOWED_RATE: &str = "webhook-allowed-rate";
/// How long an answer holds.
const HOLDS: Duration = Duration::from_secs(3_600);
/// Answers that are kept: more than a process has sinks of this type that deliver at once. Beyond, it is asked more often.
const KEPT: usize = 10_000;

/// What a receiver says to being sent events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    /// It wants them.
    Given(String),
    /// It does not speak the handshake.
    Silent(String),
    /// It does not want them.
    Refused(String),
}

/// Asks receivers, and remembers what they say.
pub(super) struct Handshakes {
    http: Arc<HttpClient>,
    origin: String,
    known: Mutex<HashMap<SinkSid, Known>>,
}

struct Known {
    destination: String,
    until: Instant,
    consent: Consent,
}

impl Handshakes {
    pub(super) fn new(http: Arc<HttpClient>, origin: &str) -> Self {
        Self { http, origin: origin.to_owned(), known: Mutex::default() }
    }

    /// What the receiver of a request said within the hour; else asks it, which takes half of the time until `end` at most.
    pub(super) async fn consent(
        &self,
        sink: &SinkSpec,
        rendered: &Rendered,
        end: Instant,
    ) -> Consent {
        match self.remembered(sink.sid, &rendered.request.uri().to_string()) {
            Some(consent) => consent,
            None => self.ask_anew(sink, rendered, end).await,
        }
    }

    fn remembered(&self, sink: SinkSid, destination: &str) -> Option<Consent> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&sink)?;
        let holds = known.until > Instant::now() && known.destination == destination;
        holds.then(|| known.consent.clone())
    }

    /// Asks the receiver of a request. A refusal is asked again at the next attempt: its owner may have mended it.
    pub(super) async fn ask_anew(
        &self,
        sink: &SinkSpec,
        rendered: &Rendered,
        end: Instant,
    ) -> Consent {
        let destination = rendered.request.uri().to_string();
        // A receiver that takes events and leaves this unanswered gets them in the other half.
        let now = Instant::now();
        let answered_by = now + end.saturating_duration_since(now) / 2;
        let consent = match self.http.send_until(answered_by, self.question(rendered)).await {
            Exchange::Answered(answer) | Exchange::CutShort(answer, _) => {
                self.understood(&answer, &rendered.secrets)
            }
            // Without an answer there is nothing to remember: the delivery will tell what is wrong.
            Exchange::Failed(_) => return Consent::Silent("no answer to the handshake".to_owned()),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.clear();
        }
        if matches!(consent, Consent::Refused(_)) {
            known.remove(&sink.sid);
        } else {
            let until = Instant::now() + HOLDS;
            known.insert(sink.sid, Known { destination, until, consent: consent.clone() });
        }
        consent
    }

    fn question(&self, rendered: &Rendered) -> Request<Full<Body>> {
        let mut headers = HeaderMap::with_capacity(8);
        for (name, value) in rendered.request.headers() {
            if !name.as_str().starts_with("ce-") && !name.as_str().starts_with("content-") {
                headers.insert(name.clone(), value.clone());
            }
        }
        headers.insert(USER_AGENT, head::USER_AGENT_VALUE);
        let origin = self.origin.parse().expect("an origin is checked to be visible ASCII");
        headers.insert(REQUEST_ORIGIN, origin);
        let mut request = Request::new(Full::new(Body::default()));
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = rendered.request.uri().clone();
        *request.headers_mut() = headers;
        request
    }

    fn understood(&self, answer: &Answer, secrets: &[String]) -> Consent {
        let said = |name: &str| {
            let value = answer.headers.get(name)?;
            Some(clean_text(value.as_bytes(), secrets))
        };
        let Some(allowed) = said(ALLOWED_ORIGIN) else {
            return Consent::Silent(format!(
                "{} and no word about origins: taken as not knowing the handshake",
                answer.status.as_u16()
            ));
        };
        let mut origins = allowed.split(',').map(str::trim);
        if !origins.any(|origin| origin == "*" || origin.eq_ignore_ascii_case(&self.origin)) {
            return Consent::Refused(format!(
                "the receiver takes events from `{allowed}` and not from `{}`",
                self.origin
            ));
        }
        Consent::Given(match said(ALLOWED_RATE) {
            Some(rate) if rate != "*" => format!("allowed, {rate} requests a minute"),
            _ => "allowed".to_owned(),
        })
    }
}
