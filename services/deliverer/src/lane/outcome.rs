//! What a lane makes of the outcomes of a request: for the sink's health, and for each event.

use std::time::Duration;

use millrace_domain::{
    Timestamp,
    breaker::Gate,
    outcome::{Outcome, Reason},
};
use millrace_proto::internal::DropReason;
use millrace_sinks::Attempt;
use tokio::time::Instant;

use super::run::Runner;

use crate::{metrics, parcel::Parcel};

/// How often at most a sink's refusals are logged.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

impl Runner {
    /// Learns from a request how the sink is: breaker, concurrency, pause. One request counts once, however many events it had;
    /// while the breaker is not closed, only a `probe` counts for it.
    pub(super) fn learn(&mut self, attempt: &Attempt, probe: bool) {
        let now = self.tenure.cx.clock.now();
        let failed = attempt.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Retry { reason, after } if reason.feeds_breaker() => Some(*after),
            _ => None,
        });
        // A sink that took some of a batch is there: what it did not take waits for itself alone.
        let took_some = attempt.outcomes.contains(&Outcome::Delivered);
        let sick = failed.filter(|_| !took_some);
        let asked = attempt.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Retry { reason, after } => after
                .or((*reason == Reason::Throttled).then_some(self.tenure.cx.delivery.backoff_base)),
            _ => None,
        });
        let pause = asked.max();
        self.paused_until = pause.map(|pause| now.plus(pause)).max(self.paused_until);
        let was_closed = self.breaker.gate(now) == Gate::Closed;
        match sick {
            Some(after) => {
                self.pace.concurrency.failed();
                self.breaker.failed(now, fastrand::f64(), after, probe);
                if was_closed && self.breaker.gate(now) != Gate::Closed {
                    tracing::info!(sink.sid = %self.lane.sink, detail = attempt.detail, "the sink keeps failing: its events wait in its backlog");
                }
            }
            // Any answer but "slow down", a refusal included, shows that the sink is there; so does that one to a probe.
            None => {
                if probe || attempt.outcomes.iter().any(|o| !matches!(o, Outcome::Retry { .. })) {
                    self.breaker.succeeded(probe);
                }
                self.answered(was_closed, probe, pause.is_some() || failed.is_some());
            }
        }
        self.tenure.remember(self.lane.sink, self.breaker.state());
        self.tell_of_discards(attempt);
    }

    /// Logs that a sink refuses events for good: once a minute, so that a sink that refuses everything fills no disk.
    fn tell_of_discards(&mut self, attempt: &Attempt) {
        let discards =
            attempt.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Discard { .. }));
        let told = self.discards_told.is_some_and(|told| told.elapsed() < TELL_INTERVAL);
        if discards && !told {
            self.discards_told = Some(Instant::now());
            tracing::info!(sink.sid = %self.lane.sink, status = attempt.http_status, detail = attempt.detail, "the sink refuses events for good: they are dropped");
        }
    }

    /// Takes it from an answer how many requests the sink takes at once.
    fn answered(&mut self, was_closed: bool, probe: bool, asked_to_wait: bool) {
        if !was_closed && probe {
            tracing::info!(sink.sid = %self.lane.sink, "the sink answers again");
            self.probed.clear();
            self.pace.concurrency.restart();
        } else if asked_to_wait {
            self.pace.concurrency.failed();
        } else if was_closed {
            self.pace.concurrency.succeeded();
        }
    }

    /// Accounts for each event of a request.
    pub(super) fn account(&mut self, outcomes: Vec<Outcome>, parcels: Vec<Parcel>) {
        let now = self.tenure.cx.clock.now();
        let open = self.breaker.gate(now) != Gate::Closed;
        for (parcel, outcome) in parcels.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Delivered => {
                    metrics::delivered(now.since(parcel.accepted));
                    parcel.delivered();
                }
                Outcome::Discard { reason } => {
                    let (why, label) = match reason {
                        Reason::Configuration | Reason::Stream => {
                            (DropReason::Undeliverable, "undeliverable")
                        }
                        _ => (DropReason::Rejected, "rejected"),
                    };
                    metrics::dropped(label);
                    parcel.give_up(why, reason.code());
                }
                // Waits for the sink: dropped, the parcel is parked.
                Outcome::Retry { .. } if open => drop(parcel),
                Outcome::Retry { after, .. } => self.delay(parcel, now, after),
            }
        }
    }

    fn delay(&self, parcel: Parcel, now: Timestamp, after: Option<Duration>) {
        let wait = self.tenure.cx.delivery.backoff().delay(
            parcel.attempts.saturating_add(1),
            fastrand::f64(),
            after,
        );
        parcel.delay(now.plus(wait));
    }
}
