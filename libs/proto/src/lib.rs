//! The wire: `millrace.v1` for everybody, `millrace.internal.v1` between the services, and the way from
//! and to the domain. A conversion that refuses names the field.

mod account;
pub mod codec;
mod event;
mod explanation;
mod log;
mod schema;
mod sink;
mod subscription;

pub use event::{event_from_wire, rejection};
pub use explanation::{explanation_json, matching_json};
pub use log::time_from_wire;

/// The public API.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("millrace.v1");
}

/// What the services tell each other.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod internal {
    pub use self::v1::*;

    /// As deep as its package, for the paths from it to `millrace.v1`.
    mod v1 {
        tonic::include_proto!("millrace.internal.v1");
    }
}

/// Every descriptor, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));

/// Makes the wire's duration; one that is longer than it can hold becomes its longest.
pub fn wire_duration(duration: std::time::Duration) -> prost_types::Duration {
    duration.try_into().unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 999_999_999 })
}

/// Makes the wire's time.
pub fn wire_time(time: millrace_domain::Timestamp) -> prost_types::Timestamp {
    let millis = time.as_millis();
    prost_types::Timestamp {
        seconds: millis.div_euclid(1_000),
        nanos: i32::try_from(millis.rem_euclid(1_000) * 1_000_000).expect("less than 10⁹"),
    }
}
