//! One request: send a batch, and bring back what came of it.

use std::sync::Arc;

use millrace_domain::Timestamp;
use millrace_sinks::{Attempt, Driver, SinkSpec};

use crate::{budget::Place, parcel::Parcel};

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
}

/// Sends a request. Dropped, it abandons it, and its parcels are parked.
pub(crate) async fn send(driver: Arc<dyn Driver>, request: Request, place: Place) -> Done {
    let deliveries: Vec<_> = request.parcels.iter().map(Parcel::delivery).collect();
    let now_seconds = request.started.as_millis().div_euclid(1_000);
    let attempt = driver.deliver(&request.spec, &deliveries, now_seconds).await;
    drop(place);
    debug_assert_eq!(
        attempt.outcomes.len(),
        request.parcels.len(),
        "a driver gives one outcome for each event"
    );
    Done { request, attempt }
}
