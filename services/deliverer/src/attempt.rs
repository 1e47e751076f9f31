//! One request: send a batch, and bring back what came of it.

use std::{sync::Arc, task::Poll, time::Duration};

use futures::poll;
use millrace_domain::Timestamp;
use millrace_runtime::telemetry::traces::Span;
use millrace_sinks::{Attempt, Driver, SinkSpec};
use tokio::time::Instant;

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
    /// How long the thread was busy with it before there was something to wait for: to make the request, mostly.
    pub(crate) making: Duration,
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
    let mut making = Duration::ZERO;
    let delivered = timed(driver.deliver(&request.spec, &deliveries, now_seconds), &mut making);
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
    Done { request, attempt, making, span }
}

/// Runs `future`, and says how long its first step took.
async fn timed<T>(future: impl Future<Output = T>, first_step: &mut Duration) -> T {
    let (mut future, began) = (std::pin::pin!(future), Instant::now());
    let step = poll!(&mut future);
    *first_step = began.elapsed();
    match step {
        Poll::Ready(value) => value,
        Poll::Pending => future.await,
    }
}
