//! Segment sources: events as Track calls, in batches, by the HTTP Tracking API.
//!
//! Segment answers 200 to nearly everything, also to what it drops later. So what it would drop is found here and refused with a
//! report: an event over 32 kB. Everything else that it asks for, a message id and somebody the event is about, is made
//! (<https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/>).

mod track;

use std::{fmt::Write as _, sync::Arc};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use millrace_domain::{
    SinkConfiguration,
    outcome::{Outcome, Reason},
    sink::SegmentRegion,
};
use tokio::time::Instant;

use crate::{
    Attempt, BatchLimits, Delivery, Driver, Examination, SinkSpec,
    http::{Body, HttpClient, Rendered, SetupError, Verdict, head},
};

/// Most bytes of a request.
const REQUEST_BYTES: usize = 500_000;
/// Most bytes of one call of a batch.
const CALL_BYTES: usize = 32 * 1024;
/// Most events of a request. Segment takes 2,500; this many fit with room for what a call has and its event has not.
const REQUEST_EVENTS: usize = 500;
/// Most bytes by which a call is longer than its event; a test holds it.
const CALL_GROWTH: usize = 400;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What every call of a batch has in its context besides.
const END: &str = concat!(
    r#"],"context":{"library":{"name":"millrace","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}}"#
);

/// Where Segment's API is.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    /// For workspaces in the US, without `/v1/batch`.
    pub endpoint: String,
    /// For workspaces in the EU.
    pub endpoint_eu: String,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            endpoint: "https://api.segment.io".to_owned(),
            endpoint_eu: "https://events.eu1.segmentapis.com".to_owned(),
        }
    }
}

/// Delivers to Segment sources.
pub(crate) struct Segment {
    http: Arc<HttpClient>,
    us: Uri,
    eu: Uri,
}

impl Segment {
    /// A driver that sends to these endpoints.
    ///
    /// # Errors
    /// [`SetupError::Endpoint`] if one is no URL.
    pub(crate) fn new(http: Arc<HttpClient>, options: &SegmentOptions) -> Result<Self, SetupError> {
        let (us, eu) = (batch_of(&options.endpoint)?, batch_of(&options.endpoint_eu)?);
        Ok(Self { http, us, eu })
    }

    /// Renders the calls of a batch; `None` in place of a request: no event of it can be sent.
    fn render(&self, sink: &SinkSpec, batch: &[Delivery]) -> Result<Calls, String> {
        let SinkConfiguration::Segment { write_key, region } = &sink.configuration else {
            return Err("this is not a Segment source".to_owned());
        };
        let mut body = String::with_capacity(batch.iter().map(|it| it.event.len() + 128).sum());
        body.push_str(r#"{"batch":["#);
        let refused: Vec<_> = batch.iter().map(|it| add(&mut body, it, sink).err()).collect();
        let credentials = format!("{}:", write_key.reveal());
        let secrets =
            vec![write_key.reveal().to_owned(), BASE64_STANDARD.encode(credentials.as_bytes())];
        if refused.iter().all(Option::is_some) {
            return Ok(Calls { rendered: None, refused });
        }
        body.push_str(END);
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(AUTHORIZATION, head::basic(credentials.as_bytes()));
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(USER_AGENT, head::USER_AGENT_VALUE);
        let mut request = Request::new(Full::new(Body::of(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = match region {
            SegmentRegion::Us => self.us.clone(),
            SegmentRegion::Eu => self.eu.clone(),
        };
        *request.headers_mut() = headers;
        Ok(Calls { rendered: Some(Rendered { request, secrets }), refused })
    }
}

/// A batch that is rendered.
struct Calls {
    rendered: Option<Rendered>,
    /// Why an event is not in it, one for each event.
    refused: Vec<Option<String>>,
}

impl Calls {
    /// The outcomes of all events: what was refused here is given up, the rest became `sent`.
    fn outcomes(&self, sent: &Outcome) -> Vec<Outcome> {
        let discarded = Outcome::Discard { reason: Reason::Configuration };
        let outcome = |refused: &Option<String>| match refused {
            Some(_) => discarded.clone(),
            None => sent.clone(),
        };
        self.refused.iter().map(outcome).collect()
    }

    /// What was refused first, and how much was.
    fn complaint(&self) -> Option<String> {
        let mut refused = self.refused.iter().flatten();
        let first = refused.next()?;
        let more = refused.count();
        let mut text = first.clone();
        if more > 0 {
            write!(text, ", and {more} more like it").expect("a String takes any text");
        }
        Some(text)
    }
}

#[async_trait]
impl Driver for Segment {
    fn limits(&self, _: &SinkSpec) -> BatchLimits {
        let growth = REQUEST_EVENTS * CALL_GROWTH + END.len() + 16;
        BatchLimits { events: REQUEST_EVENTS, bytes: REQUEST_BYTES - growth }
    }

    async fn deliver(&self, sink: &SinkSpec, batch: &[Delivery], now_seconds: i64) -> Attempt {
        let started = Instant::now();
        let mut calls = match self.render(sink, batch) {
            Ok(calls) => calls,
            Err(detail) => return Verdict::unusable(detail).for_all(batch, started),
        };
        let verdict = match calls.rendered.take() {
            Some(Rendered { request, secrets }) => {
                mend(Verdict::of(self.http.send(request).await, &secrets, now_seconds))
            }
            None => Verdict::unusable(String::new()),
        };
        Attempt {
            outcomes: calls.outcomes(&verdict.outcome),
            http_status: verdict.http_status,
            duration: started.elapsed(),
            detail: match (calls.complaint(), &verdict.outcome) {
                (Some(complaint), Outcome::Delivered | Outcome::Discard { .. }) => complaint,
                _ => verdict.detail,
            },
        }
    }

    async fn examine(&self, sink: &SinkSpec, event: &Delivery, now_seconds: i64) -> Examination {
        let batch = std::slice::from_ref(event);
        let rendered = self.render(sink, batch).ok().and_then(|calls| calls.rendered);
        let steps = match &rendered {
            Some(it) => self.http.look(it.request.uri(), &it.secrets).await,
            None => Vec::new(),
        };
        Examination { steps, attempt: self.deliver(sink, batch, now_seconds).await }
    }
}

/// Adds the call of an event to a batch, or nothing.
fn add(body: &mut String, delivery: &Delivery, sink: &SinkSpec) -> Result<(), String> {
    let before = body.len();
    if !body.ends_with('[') {
        body.push(',');
    }
    let start = body.len();
    let rendered = track::render(body, delivery, &sink.identities);
    let refused = match rendered {
        Ok(()) if body.len() - start <= CALL_BYTES => return Ok(()),
        Ok(()) => format!(
            "the event is longer than the {CALL_BYTES} bytes that Segment takes of one: it would answer 200 and drop it"
        ),
        Err(text) => text,
    };
    body.truncate(before);
    Err(refused)
}

/// A key that Segment does not know is for the sink's owner to mend: the events wait for it.
fn mend(verdict: Verdict) -> Verdict {
    match verdict.http_status {
        Some(401 | 403) => Verdict {
            outcome: Outcome::Retry { reason: Reason::Setup, after: None },
            detail: format!("Segment does not take the write key: {}", verdict.detail),
            ..verdict
        },
        _ => verdict,
    }
}

fn batch_of(endpoint: &str) -> Result<Uri, SetupError> {
    let url = format!("{}/v1/batch", endpoint.trim_end_matches('/'));
    Uri::try_from(url).map_err(|_| SetupError::Endpoint(endpoint.to_owned()))
}
