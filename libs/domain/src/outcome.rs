//! What became of an event in an attempt: one taxonomy for all types of sink.

use std::time::Duration;

/// What became of one event in one attempt. What a sink answers is data, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sink has it.
    Delivered,
    /// Not now; worth another try within the window.
    Retry {
        /// Why.
        reason: Reason,
        /// The least wait the sink asked for (`Retry-After`).
        after: Option<Duration>,
    },
    /// Never: the sink refused this event for good.
    Discard {
        /// Why.
        reason: Reason,
    },
}

/// Why an attempt did not deliver. The codes are Event Streams' error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The sink asked to slow down (429): says nothing about its health.
    Throttled,
    /// Another answer that is worth a retry (5xx, 408, 425, 3xx).
    Refused,
    /// Another 4xx.
    Rejected,
    /// No connection: DNS, refused, reset, TLS, or the address guard.
    Connect,
    /// No complete answer before the deadline.
    Timeout,
    /// The request could not be made from the sink's configuration.
    Configuration,
    /// The sink takes nothing as it is set up (permissions, a stream or a key that is not there): its owner can mend it.
    Setup,
    /// The sink failed to write what it was given.
    Write,
    /// The sink's role cannot be assumed.
    AssumeRole,
    /// The shards of the sink's stream cannot be listed.
    Shards,
    /// The name or region of the sink's stream cannot be told.
    Stream,
}

impl Reason {
    /// The error code of Twilio's dictionary (<https://www.twilio.com/docs/api/errors>).
    pub fn code(self) -> u32 {
        match self {
            Self::Throttled => 91302,
            Self::Refused => 91306,
            Self::Rejected => 91305,
            Self::Connect => 91307,
            Self::Timeout => 91308,
            Self::Configuration => 91303,
            Self::Setup => 91300,
            Self::Write => 93101,
            Self::AssumeRole => 93102,
            Self::Shards => 93103,
            Self::Stream => 93104,
        }
    }

    /// What the owner of a sink can do about it, as a sentence.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Throttled => {
                "The sink asks to slow down: raise its limits, or set `RateLimit` of the sink."
            }
            Self::Refused => {
                "The sink answered that it cannot take events now: look at its own logs."
            }
            Self::Rejected => {
                "The sink refuses such events for good: check its URL, what it expects, and its credentials."
            }
            Self::Connect => {
                "There is no connection: check the host's name, its port, its firewall and its certificate."
            }
            Self::Timeout => {
                "The answer came too late: have the sink answer first and work afterwards."
            }
            Self::Configuration => {
                "No request can be made of this configuration and event: correct the configuration."
            }
            Self::Setup => {
                "The sink takes nothing as it is set up: check its key, its permissions and that it exists."
            }
            Self::Write => "The sink failed to write: look at the state of the service behind it.",
            Self::AssumeRole => {
                "The role cannot be assumed: check its trust policy, its external id, and whom it trusts."
            }
            Self::Shards => {
                "The shards of the stream cannot be listed: let the role do `kinesis:ListShards`."
            }
            Self::Stream => "The stream's ARN names no region or stream: correct it.",
        }
    }

    /// Whether a failure for this reason counts against the sink's health.
    pub fn feeds_breaker(self) -> bool {
        !matches!(self, Self::Throttled | Self::Rejected | Self::Configuration | Self::Stream)
    }
}

/// Classifies an HTTP answer by its status; `after` is its `Retry-After`.
pub fn of_status(status: u16, after: Option<Duration>) -> Outcome {
    match status {
        200..=299 => Outcome::Delivered,
        429 => Outcome::Retry { reason: Reason::Throttled, after },
        408 | 425 | 300..=399 | 500..=599 => Outcome::Retry { reason: Reason::Refused, after },
        400..=499 => Outcome::Discard { reason: Reason::Rejected },
        _ => Outcome::Retry { reason: Reason::Refused, after },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_delivers_and_only_other_4xx_discards() {
        for status in 100..=999 {
            let outcome = of_status(status, None);
            let retried = matches!(outcome, Outcome::Retry { .. });
            match status {
                200..=299 => assert_eq!(outcome, Outcome::Delivered),
                408 | 425 | 429 => assert!(retried, "{status}"),
                400..=499 => assert_eq!(outcome, Outcome::Discard { reason: Reason::Rejected }),
                _ => assert!(retried, "{status}"),
            }
        }
    }

    #[test]
    fn throttling_does_not_feed_the_breaker() {
        assert!(!Reason::Throttled.feeds_breaker());
        assert!(
            Reason::Refused.feeds_breaker()
                && Reason::Timeout.feeds_breaker()
                && Reason::Connect.feeds_breaker()
        );
    }
}
