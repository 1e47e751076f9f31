//! What a test of a sink found out on its way: steps in order, each with its time and what came of it.

use std::time::Duration;

use crate::Attempt;

/// A test of a sink.
#[derive(Clone, Debug)]
pub struct Examination {
    /// What was looked at before the event was sent, in order; after one that failed, none of those that need it.
    pub steps: Vec<Step>,
    /// The delivery of the test event.
    pub attempt: Attempt,
}

/// One step of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was done, in a word or two: `dns`, `connect`, `tls`, `assume role`.
    pub name: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// What was found, or what is wrong: for people, without secrets, at most 1 kB.
    pub result: Result<String, String>,
}
