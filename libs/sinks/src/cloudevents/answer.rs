//! The results of a batch that another Millrace took in part: one for each event, in order.

use millrace_domain::outcome::{Outcome, Reason};
use serde::Deserialize;

use crate::{Delivery, http::Exchange};

#[derive(Deserialize)]
struct Results {
    results: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    id: String,
    status: String,
    #[serde(default)]
    code: String,
}

/// What became of each event; `None`: the answer is not of that kind, and its status counts for all.
pub(super) fn results(exchange: &Exchange, batch: &[Delivery]) -> Option<Vec<Outcome>> {
    let Exchange::Answered(answer) = exchange else { return None };
    if !matches!(answer.status.as_u16(), 207 | 400) {
        return None;
    }
    let Results { results } = serde_json::from_slice(&answer.body).ok()?;
    let same = results.len() == batch.len()
        && results.iter().zip(batch).all(|(told, sent)| told.id == sent.id);
    same.then(|| results.iter().map(outcome).collect())
}

fn outcome(told: &Told) -> Outcome {
    match (told.status.as_str(), told.code.as_str()) {
        ("accepted" | "duplicate", _) => Outcome::Delivered,
        (_, "resource_exhausted") => Outcome::Retry { reason: Reason::Throttled, after: None },
        (_, "unavailable") => Outcome::Retry { reason: Reason::Refused, after: None },
        _ => Outcome::Discard { reason: Reason::Rejected },
    }
}
