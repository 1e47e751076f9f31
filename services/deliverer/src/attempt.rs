//! One request: send a batch, and bring back what came of it.

use std::sync::Arc;

use millrace_domain::Timestamp;
use millrace_sinks::{Attempt, Driver, SinkSpec};
use tokio::sync::OwnedSemaphorePermit;

use crate::parcel::Parcel;

/// A request that has ended.
pub(crate) struct Done {
    pub(crate) parcels: Vec<Parcel>,
    pub(crate) spec: Arc<SinkSpec>,
    pub(crate) started: Timestamp,
    pub(crate) attempt: Attempt,
}

/// Sends `parcels` in one request. Dropped, it abandons the request, and its parcels are parked.
pub(crate) async fn send(
    driver: Arc<dyn Driver>,
    spec: Arc<SinkSpec>,
    parcels: Vec<Parcel>,
    started: Timestamp,
    place: OwnedSemaphorePermit,
) -> Done {
    let deliveries: Vec<_> = parcels.iter().map(Parcel::delivery).collect();
    let attempt = driver.deliver(&spec, &deliveries, started.as_millis().div_euclid(1_000)).await;
    drop(place);
    debug_assert_eq!(
        attempt.outcomes.len(),
        parcels.len(),
        "a driver gives one outcome for each event"
    );
    Done { parcels, spec, started, attempt }
}
