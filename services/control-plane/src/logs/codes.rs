//! What the error codes of deliveries mean (<https://www.twilio.com/docs/api/errors>).

/// An error code, as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// `ERROR` or `WARNING`.
    pub(crate) level: &'static str,
    /// The older code of the same problem.
    pub(crate) legacy: u32,
    /// For people.
    pub(crate) message: &'static str,
}

/// What `code` means.
pub(crate) fn of(code: u32) -> Meaning {
    let (level, legacy, message) = match code {
        91302 => ("WARNING", 93101, "Delivery is throttled: the destination asks to slow down"),
        91303 => ("ERROR", 93104, "No request can be made of the event or the sink"),
        91304 => ("WARNING", 93101, "Delivery is delayed by a passing condition"),
        91305 => ("ERROR", 93101, "The destination refused the event with a 4xx status"),
        91306 => ("ERROR", 93101, "The destination answered with an error of its own"),
        91307 => ("ERROR", 93101, "The destination cannot be connected to"),
        91308 => ("ERROR", 93101, "The destination did not answer in time"),
        _ => ("ERROR", 93101, "Unable to deliver events to sink"),
    };
    Meaning { level, legacy, message }
}
