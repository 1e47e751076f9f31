//! What bounds the memory that settlements take while they park: an event is copied for each sink it is parked for, then
//! compressed, then sent, and every partition has a settler.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of events that are being parked at once; several times as much memory is taken meanwhile.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one permit.
const GRAIN: usize = 1024;

/// Room to park, of the process.
#[derive(Debug)]
pub(crate) struct ParkingRoom(Semaphore);

impl Default for ParkingRoom {
    fn default() -> Self {
        Self(Semaphore::new(MAX_BYTES / GRAIN))
    }
}

impl ParkingRoom {
    /// Waits for room to park `bytes`; who needs more than there is gets all of it.
    pub(crate) async fn take(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let permits = bytes.div_ceil(GRAIN).min(MAX_BYTES / GRAIN);
        self.0.acquire_many(u32::try_from(permits).ok()?).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_too_much_waits_and_what_parks_nothing_does_not() {
        let room = ParkingRoom::default();
        let all = room.take(100 * MAX_BYTES).await.expect("never closed");
        assert!(room.take(1).now_or_never().is_none());
        assert!(room.take(0).now_or_never().is_some());
        drop(all);
        assert!(room.take(1).now_or_never().is_some());
    }
}
