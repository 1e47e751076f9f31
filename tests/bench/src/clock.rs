//! The clock that all processes of a run share.

use nix::time::{ClockId, clock_gettime};

/// Microseconds by the machine's monotonic clock: the same in every process.
pub(crate) fn now_micros() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    let (seconds, nanos) = (now.tv_sec(), now.tv_nsec());
    u64::try_from(seconds * 1_000_000 + nanos / 1_000).expect("time since the machine started")
}
