//! What a router counts and times.

use std::time::Duration;

use metrics::{counter, histogram};

use crate::publish::{Outcome, PublishResult};

/// Counts the results of a publish, and how long it took on `face`.
pub(crate) fn published(face: &'static str, results: &[PublishResult], took: Duration) {
    histogram!("millrace_publish_seconds", "face" => face).record(took);
    let mut unmatched = 0_u64;
    let mut by_result: Vec<(&'static str, u64)> = Vec::new();
    for result in results {
        let word = match &result.outcome {
            Outcome::Accepted { sinks } => {
                unmatched += u64::from(*sinks == 0);
                "accepted"
            }
            Outcome::Rejected(refusal) => refusal.code.as_str(),
        };
        match by_result.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => by_result.push((word, 1)),
        }
    }
    for (result, count) in by_result {
        counter!("millrace_published_events_total", "result" => result).increment(count);
    }
    if unmatched > 0 {
        counter!("millrace_unmatched_events_total").increment(unmatched);
    }
}

/// Counts a chunk that was appended.
#[expect(clippy::cast_precision_loss, reason = "a histogram takes floats; a chunk is small")]
pub(crate) fn appended(events: usize, bytes: usize) {
    histogram!("millrace_chunk_events").record(events as f64);
    histogram!("millrace_chunk_bytes").record(bytes as f64);
}
