//! One request: send a batch, and bring back what came of it.

use std::sync::Arc;

use millrace_domain::Timestamp;
use millrace_runtime::telemetry::traces::Span;
use millrace_sinks::{Attempt, Driver, SinkSpec};

use crate::{budget::Place, parcel::Parcel, trace};

/// A request to send.
pub(crate) struct Request {
    pub(crate) parcels: Vec<Parcel>,
    pub(crate) spec: Arc<SinkSpec>,
    pub(crate) started: Timestamp,
    /// It finds out whether the sink is back.
    pub(crate) probe: bool,
    /// It is of the backlog: counts as one of its requests for as long as it is there.
    pub(crate) drains: Option<Arc<()>>,
}

/// A request that has ended.
pub(crate) struct Done {
    pub(crate) request: Request,
    pub(crate) attempt: Attempt,
    /// What was recorded of it, ended.
    pub(crate) span: Option<Span>,
}

/// Sends a request. Dropped, it abandons it, and its parcels are parked.
pub(crate) async fn send(driver: Arc<dyn Driver>, request: Request, place: Place) -> Done {
    let mut deliveries: Vec<_> = request.parcels.iter().map(Parcel::delivery).collect();
    let now_seconds = request.started.as_millis().div_euclid(1_000);
    let span = trace::begin(&request);
    // A request is traced by the first of its events that is traced at all.
    if let (Some(span), Some(first)) = (&span, deliveries.first_mut()) {
        first.traceparent = span.traceparent();
    }
    let delivered = driver.deliver(&request.spec, &deliveries, now_seconds);
    let attempt = match &span {
        None => delivered.await,
        Some(span) => {
            let attempt = span.run(delivered).await;
            trace::end(span, &attempt);
            attempt
        }
    };
    drop(place);
    debug_assert_eq!(
        attempt.outcomes.len(),
        request.parcels.len(),
        "a driver gives one outcome for each event"
    );
    Done { request, attempt, span }
}
