//! Counts what became of the events, and says it.

use std::{fmt, time::Duration};

use millrace_domain::Refusal;
use serde_json::{Value, json};

use super::{Answered, Kept};

/// Most rejections that are kept for the summary in JSON; all are counted, and told as they come.
const REJECTIONS_KEPT: usize = 1_000;

/// An event, or a line that is none, that was not kept.
#[derive(Debug)]
pub(super) struct Rejection {
    /// Where it stands in the input.
    pub(super) line: u64,
    id: String,
    refusal: Refusal,
}

impl Rejection {
    /// Notes a refusal.
    pub(super) fn of(line: u64, id: &str, refusal: &Refusal) -> Self {
        Self { line, id: id.to_owned(), refusal: refusal.clone() }
    }

    fn to_json(&self) -> Value {
        json!({
            "line": self.line,
            "id": Some(&self.id).filter(|id| !id.is_empty()),
            "code": self.refusal.code.as_str(),
            "field": self.refusal.field,
            "message": self.refusal.message,
        })
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: rejected", self.line)?;
        if !self.id.is_empty() {
            write!(f, " `{}`", self.id)?;
        }
        if self.refusal.field.is_empty() {
            write!(f, ": {}", self.refusal.message)
        } else {
            write!(f, ": {}: {}", self.refusal.field, self.refusal.message)
        }
    }
}

/// What became of all events so far.
#[derive(Default)]
pub(super) struct Tally {
    accepted: usize,
    matched: usize,
    duplicates: usize,
    rejected: usize,
    rejections: Vec<Rejection>,
    last_line: u64,
}

impl Tally {
    /// Counts a batch.
    pub(super) fn add(&mut self, answered: Answered) {
        for kept in answered.deliveries.iter().filter_map(|it| it.outcome.as_ref().ok()) {
            match kept {
                Kept::For(sinks) => {
                    self.accepted += 1;
                    self.matched += usize::from(*sinks > 0);
                }
                Kept::Already => self.duplicates += 1,
            }
        }
        self.rejected += answered.rejections.len();
        let room = REJECTIONS_KEPT.saturating_sub(self.rejections.len());
        self.rejections.extend(answered.rejections.into_iter().take(room));
        self.last_line = self.last_line.max(answered.line);
    }

    /// How many were not kept.
    pub(super) fn rejected(&self) -> usize {
        self.rejected
    }

    /// The last line that was read.
    pub(super) fn last_line(&self) -> u64 {
        self.last_line
    }

    /// The summary for people.
    pub(super) fn to_text(&self, elapsed: Duration) -> String {
        format!(
            "{} accepted ({} of them matched a sink), {}{} rejected; {:.1} s, {} events/s",
            self.accepted,
            self.matched,
            match self.duplicates {
                0 => String::new(),
                duplicates => format!("{duplicates} known already, "),
            },
            self.rejected,
            elapsed.as_secs_f64(),
            rate(self.accepted, elapsed)
        )
    }

    /// The summary for programs.
    pub(super) fn to_json(&self, elapsed: Duration) -> Value {
        json!({
            "accepted": self.accepted,
            "matched": self.matched,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "rejections": self.rejections.iter().map(Rejection::to_json).collect::<Vec<_>>(),
            "seconds": elapsed.as_secs_f64(),
            "events_per_second": rate(self.accepted, elapsed),
        })
    }
}

/// Events a second, whole ones.
pub(super) fn rate(events: usize, elapsed: Duration) -> u128 {
    let events = u128::try_from(events).unwrap_or(u128::MAX);
    events.saturating_mul(1_000_000) / elapsed.as_micros().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::publish::Delivery;

    #[test]
    fn counts_what_was_kept_matched_and_refused() {
        let refusal = Refusal::not_found("type", "is not registered");
        let delivery = |id: &str, outcome| Delivery { id: id.to_owned(), outcome };
        let mut tally = Tally::default();
        tally.add(Answered {
            deliveries: vec![
                delivery("a", Ok(Kept::For(2))),
                delivery("b", Ok(Kept::For(0))),
                delivery("c", Err(refusal.clone())),
            ],
            rejections: vec![Rejection::of(3, "c", &refusal)],
            line: 3,
            bytes: 0,
        });
        let text = tally.to_text(Duration::from_secs(2));
        assert_eq!(text, "2 accepted (1 of them matched a sink), 1 rejected; 2.0 s, 1 events/s");
        let json = tally.to_json(Duration::from_secs(2));
        assert_eq!(json["rejections"][0]["line"], 3);
        assert_eq!(json["rejections"][0]["code"], "not_found");
        assert_eq!(
            tally.rejections[0].to_string(),
            "line 3: rejected `c`: type: is not registered"
        );
    }
}
