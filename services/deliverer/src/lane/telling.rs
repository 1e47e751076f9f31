//! What a lane tells control-plane: of requests, and of turns in its sink's health.

use millrace_domain::{Timestamp, breaker::Gate, outcome::Outcome};
use millrace_proto::internal::SinkTurn;
use millrace_sinks::{Attempt, SinkSpec};

use super::run::Runner;
use crate::{config::AttemptLog, parcel::Parcel, report};

/// A request that ended, after the lane learned from it.
pub(super) struct Told<'a> {
    pub(super) spec: &'a SinkSpec,
    pub(super) attempt: &'a Attempt,
    pub(super) started: Timestamp,
    pub(super) parcels: &'a [Parcel],
    /// Whether the breaker was closed before.
    pub(super) was_closed: bool,
}

impl Runner {
    /// Whether the breaker lets everything through.
    pub(super) fn is_closed(&self) -> bool {
        self.breaker.gate(self.tenure.cx.clock.now()) == Gate::Closed
    }

    /// Tells of a request, and of the turn it was, if it was one.
    pub(super) fn tell(&mut self, told: &Told<'_>) {
        let delivered =
            told.attempt.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Delivered));
        // A delivery after failures, or the first of a lane, ends what the log says of the sink: it is always told.
        let news = !delivered || !std::mem::replace(&mut self.delivers, true);
        self.delivers = delivered;
        match self.tenure.cx.logs.of(told.spec.account) {
            AttemptLog::All => self.tell_of_request(told),
            AttemptLog::Failures if news => self.tell_of_request(told),
            AttemptLog::Failures | AttemptLog::None => {}
        }
        let Some(turn) = self.turn_of(told, delivered) else { return };
        let now = self.tenure.cx.clock.now();
        self.tenure.report_turn(report::of_turn(told.spec, turn, now, told.attempt));
    }

    /// The turn that a request was. A 410 is one once, until something is delivered or the sink becomes another, and not where
    /// it answers what tells of turns.
    fn turn_of(&mut self, told: &Told<'_>, delivered: bool) -> Option<SinkTurn> {
        let configuration = &told.spec.configuration;
        let was_gone = self.gone.as_ref() == Some(configuration);
        let itself = told.parcels.iter().all(|parcel| report::is_about_itself(parcel.event_type()));
        let gone = told.attempt.http_status == Some(410) && !itself;
        if delivered {
            self.gone = None;
        } else if gone && !was_gone {
            self.gone = Some(configuration.clone());
        }
        match (told.was_closed, self.is_closed()) {
            (true, false) => Some(SinkTurn::Failing),
            _ if gone => (!was_gone).then_some(SinkTurn::Gone),
            (false, true) => Some(SinkTurn::Recovered),
            _ => (delivered && was_gone).then_some(SinkTurn::Recovered),
        }
    }

    fn tell_of_request(&self, told: &Told<'_>) {
        let parcels = told.parcels;
        let request = report::Request {
            account: told.spec.account,
            sink: told.spec.sid,
            started: told.started,
            event_ids: parcels.iter().map(|parcel| parcel.id().to_owned()).collect(),
            attempt: parcels.first().map_or(1, |parcel| parcel.attempts.saturating_add(1)),
            about_itself: parcels.iter().any(|parcel| report::is_about_itself(parcel.event_type())),
        };
        self.tenure.report(report::of(request, told.attempt));
    }
}
