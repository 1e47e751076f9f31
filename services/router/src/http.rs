//! The HTTP face: CloudEvents over HTTP at `POST /v1/Events`, structured, batched and binary
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>).

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Extension, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    middleware::map_request,
    response::{IntoResponse, Response},
    routing::post,
};
use millrace_domain::{Refusal, RefusalCode, event::CloudEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    intake::{Charge, Intake},
    metrics,
    publish::{Batch, EVENTS_MAX, Outcome, PublishResult, Publisher},
    status::{Problem, retry_later},
    trace,
};

mod binary;
mod body;

/// The parameter that asks that events be left out that are known.
const DEDUPLICATE: &str = "deduplicate";

/// The routes of this face.
pub(crate) fn routes(publisher: Arc<Publisher>, intake: Intake) -> Router {
    let events = post(events).fallback(|| async { Problem::Method });
    let metered = map_request(move |request| {
        let request = intake.meter(request).map(Body::new);
        async move { request }
    });
    Router::new().route("/v1/Events", events.layer(metered)).with_state(publisher)
}

async fn events(
    State(publisher): State<Arc<Publisher>>,
    Extension(charge): Extension<Charge>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let opened = match publisher.open(&headers).await {
        Ok(mut opened) => {
            opened.trace(&trace::HTTP);
            opened
        }
        Err(problem) => {
            // Who may publish is to read when to come back.
            if problem.come_back().is_some() {
                body::forget(&headers, body, &charge).await;
            }
            return Err(problem);
        }
    };
    let mode = Mode::of(&headers)?;
    let deduplicate = deduplicate(query.as_deref())?;
    let body = body::read(&headers, body, &charge).await?;
    let mut batch = publisher.batch(&opened, "accountsid", deduplicate, 1);
    let traced = opened.enter();
    mode.gather(&headers, &body, &mut batch)?;
    drop(traced);
    let results = publisher.publish(batch, charge).await;
    metrics::published("http", &results, started.elapsed());
    trace::tell(opened.span(), &results);
    let answer = answer(&results);
    if let Some(span) = opened.span() {
        span.set("http.response.status_code", i64::from(answer.status().as_u16()));
    }
    Ok(answer)
}

/// Whether the query asks that events be left out that are known; other parameters are not ours.
fn deduplicate(query: Option<&str>) -> Result<bool, Problem> {
    let parameters = query.unwrap_or_default().split('&');
    let mut values = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (name == DEDUPLICATE).then_some(value)
    });
    match (values.next(), values.next()) {
        (None, _) | (Some("false"), None) => Ok(false),
        (Some("true"), None) => Ok(true),
        _ => {
            Err(Problem::Refused(Refusal::invalid(DEDUPLICATE, "must be `true` or `false`, once")))
        }
    }
}

/// How a request carries its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The body is one event.
    Structured,
    /// The body is an array of events.
    Batched,
    /// Plain JSON without a word of CloudEvents in the headers: an event or an array of them.
    Plain,
    /// The headers are the attributes, the body is the data.
    Binary,
}

impl Mode {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let encoding = headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(Problem::MediaType(
                "content-encoding",
                "is not read: send the body as it is, not compressed",
            ));
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let attributes = || headers.keys().any(|name| name.as_str().starts_with("ce-"));
        match essence.to_ascii_lowercase().as_str() {
            "application/cloudevents+json" => Ok(Self::Structured),
            "application/cloudevents-batch+json" => Ok(Self::Batched),
            _ if attributes() => Ok(Self::Binary),
            "application/json" => Ok(Self::Plain),
            _ => Err(Problem::MediaType(
                "content-type",
                "must be `application/cloudevents+json`, `application/cloudevents-batch+json`, or `application/json` with `ce-` headers",
            )),
        }
    }

    fn gather(
        self,
        headers: &HeaderMap,
        body: &[u8],
        batch: &mut Batch<'_>,
    ) -> Result<(), Problem> {
        match self {
            Self::Binary => match binary::event(headers, body) {
                Ok(event) => batch.add(event, None),
                Err((id, refusal)) => batch.refuse(id, refusal),
            },
            Self::Structured => add(batch, body),
            Self::Plain if body.trim_ascii_start().first() != Some(&b'[') => add(batch, body),
            Self::Plain | Self::Batched => {
                for event in array(body)? {
                    add(batch, event.get().as_bytes());
                }
            }
        }
        Ok(())
    }
}

fn add(batch: &mut Batch<'_>, json: &[u8]) {
    match CloudEvent::parse(json) {
        Ok(event) => batch.add(event, None),
        Err(refusal) => batch.refuse(id_of(json), refusal),
    }
}

/// The id of what is no event, so that its producer knows it again; empty: none to be found.
fn id_of(json: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Identified {
        id: String,
    }
    serde_json::from_slice::<Identified>(json).map(|event| event.id).unwrap_or_default()
}

fn array(body: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let events = serde_json::from_slice::<Vec<&RawValue>>(body).map_err(|error| {
        Problem::Refused(Refusal::invalid("", format!("is not a JSON array of events: {error}")))
    })?;
    if events.len() > EVENTS_MAX {
        let count = events.len();
        return Err(Problem::Refused(Refusal::too_large(
            "",
            format!("a publish has at most {EVENTS_MAX} events; this one has {count}"),
        )));
    }
    Ok(events)
}

/// The body of an answer.
#[derive(Serialize)]
struct Results<'a> {
    results: Vec<ResultBody<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum ResultBody<'a> {
    Accepted { id: &'a str, sinks: u32 },
    Duplicate { id: &'a str },
    Rejected { id: Option<&'a str>, code: &'static str, field: &'a str, message: &'a str },
}

impl<'a> From<&'a PublishResult> for ResultBody<'a> {
    fn from(result: &'a PublishResult) -> Self {
        match &result.outcome {
            Outcome::Accepted { sinks } => Self::Accepted { id: &result.id, sinks: *sinks },
            Outcome::Duplicate => Self::Duplicate { id: &result.id },
            Outcome::Rejected(refusal) => Self::Rejected {
                id: (!result.id.is_empty()).then_some(&*result.id),
                code: refusal.code.as_str(),
                field: &refusal.field,
                message: &refusal.message,
            },
        }
    }
}

fn answer(results: &[PublishResult]) -> Response {
    let (status, come_back) = roll_up(results);
    let body = Results { results: results.iter().map(ResultBody::from).collect() };
    let mut response = (status, Json(body)).into_response();
    if come_back {
        retry_later(&mut response);
    }
    response
}

/// One status for all results, and whether to come back. Of several reasons, one that may pass is told first: the same
/// request may then be sent again.
fn roll_up(results: &[PublishResult]) -> (StatusCode, bool) {
    let refusals: Vec<RefusalCode> = results
        .iter()
        .filter_map(|result| match &result.outcome {
            Outcome::Accepted { .. } | Outcome::Duplicate => None,
            Outcome::Rejected(refusal) => Some(refusal.code),
        })
        .collect();
    let full = refusals.contains(&RefusalCode::ResourceExhausted);
    let unavailable = refusals.contains(&RefusalCode::Unavailable);
    let status = if refusals.is_empty() {
        StatusCode::ACCEPTED
    } else if refusals.len() < results.len() {
        StatusCode::MULTI_STATUS
    } else if unavailable {
        StatusCode::SERVICE_UNAVAILABLE
    } else if full {
        StatusCode::TOO_MANY_REQUESTS
    } else if refusals.iter().all(|code| *code == RefusalCode::TooLarge) {
        StatusCode::PAYLOAD_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    };
    (status, full || unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rolled(codes: &[Option<RefusalCode>]) -> (u16, bool) {
        let outcome = |code: &Option<RefusalCode>| match code {
            None => Outcome::Accepted { sinks: 1 },
            Some(code) => Outcome::Rejected(Refusal { code: *code, ..Refusal::invalid("", "") }),
        };
        let results: Vec<PublishResult> = codes
            .iter()
            .map(|code| PublishResult { id: String::new(), outcome: outcome(code) })
            .collect();
        let (status, come_back) = roll_up(&results);
        (status.as_u16(), come_back)
    }

    #[test]
    fn one_status_says_whether_all_some_or_none_are_accepted() {
        use RefusalCode::{InvalidArgument, ResourceExhausted, TooLarge, Unavailable};
        assert_eq!(rolled(&[]), (202, false));
        assert_eq!(rolled(&[None, None]), (202, false));
        assert_eq!(rolled(&[None, Some(InvalidArgument)]), (207, false));
        assert_eq!(rolled(&[None, Some(ResourceExhausted)]), (207, true));
        assert_eq!(rolled(&[Some(InvalidArgument), Some(TooLarge)]), (400, false));
        assert_eq!(rolled(&[Some(TooLarge)]), (413, false));
        assert_eq!(rolled(&[Some(ResourceExhausted), Some(InvalidArgument)]), (429, true));
        assert_eq!(rolled(&[Some(ResourceExhausted), Some(Unavailable)]), (503, true));
    }

    #[test]
    fn the_content_type_says_how_events_are_carried() {
        let mode = |content_type: &'static str, attribute: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().expect("a header"));
            if attribute {
                headers.insert("ce-id", "1".parse().expect("a header"));
            }
            Mode::of(&headers).ok()
        };
        assert_eq!(
            mode("application/cloudevents+json; charset=utf-8", true),
            Some(Mode::Structured)
        );
        assert_eq!(mode("Application/CloudEvents-Batch+JSON", false), Some(Mode::Batched));
        assert_eq!(mode("application/json", false), Some(Mode::Plain));
        assert_eq!(mode("application/json", true), Some(Mode::Binary));
        assert_eq!(mode("text/plain", true), Some(Mode::Binary));
        assert_eq!(mode("text/plain", false), None);
        assert!(Mode::of(&HeaderMap::new()).is_err());
    }
}
