//! How a sink asks to be delivered to: whether at all, how fast, how many requests at once, for how long.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Refusal;

/// Highest rate limit, in events a second.
pub const RATE_LIMIT_MAX: u32 = 100_000;
/// Most requests at once that a sink may ask for.
pub const MAX_CONCURRENCY_MAX: u32 = 1_000;
/// Shortest delivery window of a sink.
pub const DELIVERY_WINDOW_MIN: Duration = Duration::from_secs(60);
/// Longest delivery window of a sink.
pub const DELIVERY_WINDOW_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a sink asks to be delivered to. The default asks for nothing: what the operator set applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkDelivery {
    /// Nothing is sent; events are kept for their window.
    pub paused: bool,
    /// Events a second, from 1 to [`RATE_LIMIT_MAX`]; `None`: as fast as it takes them.
    pub rate_limit: Option<NonZeroU32>,
    /// Requests at once, from 1 to [`MAX_CONCURRENCY_MAX`]; `None`: the operator's bound.
    pub max_concurrency: Option<NonZeroU32>,
    /// How long delivery of an event is tried, in whole seconds from [`DELIVERY_WINDOW_MIN`] to
    /// [`DELIVERY_WINDOW_MAX`]; `None`: the operator's window.
    #[serde(rename = "window_seconds", with = "seconds")]
    pub window: Option<Duration>,
}

/// Checks a rate limit, in events a second.
///
/// # Errors
/// A [`Refusal`] of field `RateLimit`.
pub fn check_rate_limit(events: u64) -> Result<NonZeroU32, Refusal> {
    within(events, RATE_LIMIT_MAX).ok_or_else(|| {
        let message = format!("must be a number of events a second, from 1 to {RATE_LIMIT_MAX}");
        Refusal::invalid("RateLimit", message)
    })
}

/// Checks a number of requests at once.
///
/// # Errors
/// A [`Refusal`] of field `MaxConcurrency`.
pub fn check_max_concurrency(requests: u64) -> Result<NonZeroU32, Refusal> {
    within(requests, MAX_CONCURRENCY_MAX).ok_or_else(|| {
        let message =
            format!("must be a number of requests at once, from 1 to {MAX_CONCURRENCY_MAX}");
        Refusal::invalid("MaxConcurrency", message)
    })
}

/// Checks a delivery window: whole seconds, from [`DELIVERY_WINDOW_MIN`] to [`DELIVERY_WINDOW_MAX`].
///
/// # Errors
/// A [`Refusal`] of field `DeliveryWindow`.
pub fn check_delivery_window(window: Duration) -> Result<Duration, Refusal> {
    let whole = window.subsec_nanos() == 0;
    if whole && (DELIVERY_WINDOW_MIN..=DELIVERY_WINDOW_MAX).contains(&window) {
        return Ok(window);
    }
    let message = "must be from 1 minute to 7 days, in whole seconds";
    Err(Refusal::invalid("DeliveryWindow", message))
}

fn within(number: u64, max: u32) -> Option<NonZeroU32> {
    u32::try_from(number).ok().filter(|number| *number <= max).and_then(NonZeroU32::new)
}

/// A window as JSON: a number of seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde gives the field by reference")]
    pub(super) fn serialize<S: Serializer>(
        window: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        window.map(|window| window.as_secs()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(from)?.map(Duration::from_secs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_within_the_bounds_and_names_the_field_of_the_rest() {
        assert_eq!(check_rate_limit(1).map(NonZeroU32::get), Ok(1));
        assert_eq!(check_rate_limit(100_000).map(NonZeroU32::get), Ok(100_000));
        for wrong in [0, 100_001, u64::from(u32::MAX) + 2] {
            assert_eq!(check_rate_limit(wrong).expect_err("out of bounds").field, "RateLimit");
        }
        assert_eq!(check_max_concurrency(1_000).map(NonZeroU32::get), Ok(1_000));
        for wrong in [0, 1_001] {
            let refusal = check_max_concurrency(wrong).expect_err("out of bounds");
            assert_eq!(refusal.field, "MaxConcurrency");
        }
        for right in [DELIVERY_WINDOW_MIN, DELIVERY_WINDOW_MAX] {
            assert_eq!(check_delivery_window(right), Ok(right));
        }
        let wrong = [
            Duration::ZERO,
            Duration::from_secs(59),
            Duration::from_millis(60_500),
            DELIVERY_WINDOW_MAX + Duration::from_secs(1),
        ];
        for wrong in wrong {
            let refusal = check_delivery_window(wrong).expect_err("out of bounds");
            assert_eq!(refusal.field, "DeliveryWindow", "{wrong:?}");
        }
    }

    #[test]
    fn reads_what_was_stored_before_a_setting_existed() {
        let read = |json: &str| serde_json::from_str::<SinkDelivery>(json).expect("readable");
        assert_eq!(read("{}"), SinkDelivery::default());
        assert_eq!(read(r#"{"paused":true}"#), SinkDelivery { paused: true, ..read("{}") });
        let window = Some(DELIVERY_WINDOW_MIN);
        let delivery = SinkDelivery { window, ..SinkDelivery::default() };
        let json = serde_json::to_value(delivery).expect("JSON");
        assert_eq!(json["window_seconds"], 60);
        assert_eq!(read(&json.to_string()), delivery);
    }
}
