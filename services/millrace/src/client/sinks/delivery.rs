//! What a sink asks of delivery, as arguments and as fields.

use std::{num::NonZeroU32, time::Duration};

use millrace_domain::{
    Refusal,
    sink::delivery::{check_delivery_window, check_max_concurrency, check_rate_limit},
};
use millrace_proto::{v1, wire_duration};

/// The limits of a sink; `none` takes one away.
#[derive(clap::Args)]
pub(super) struct LimitsArgs {
    /// Deliver at most so many events a second, 1 to 100,000; `none`: as fast as the sink takes them.
    #[arg(long, value_name = "EVENTS", value_parser = rate_limit)]
    rate_limit: Option<Setting<NonZeroU32>>,
    /// Have at most so many requests open at once, 1 to 1,000; `none`: the operator's bound.
    #[arg(long, value_name = "REQUESTS", value_parser = max_concurrency)]
    max_concurrency: Option<Setting<NonZeroU32>>,
    /// Try delivery of an event for so long, from `1m` to `7d`; `none`: the operator's window.
    #[arg(long, value_name = "DURATION", value_parser = delivery_window)]
    delivery_window: Option<Setting<Duration>>,
}

/// A value, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setting<T>(Option<T>);

impl LimitsArgs {
    /// Puts what is given into `sink`; tells which fields that were.
    pub(super) fn apply(&self, sink: &mut v1::Sink) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if let Some(Setting(limit)) = self.rate_limit {
            sink.rate_limit = limit.map_or(0, NonZeroU32::get);
            changed.push("rate_limit");
        }
        if let Some(Setting(limit)) = self.max_concurrency {
            sink.max_concurrency = limit.map_or(0, NonZeroU32::get);
            changed.push("max_concurrency");
        }
        if let Some(Setting(window)) = self.delivery_window {
            sink.delivery_window = window.map(wire_duration);
            changed.push("delivery_window");
        }
        changed
    }
}

/// What is set of a sink, as names and words.
pub(super) fn fields(sink: &v1::Sink) -> Vec<(&'static str, String)> {
    let window = sink.delivery_window.map(|window| Duration::try_from(window).unwrap_or_default());
    let fields = [
        ("paused", sink.paused.then(|| "yes: its events are kept for their window".to_owned())),
        ("rate limit", set(sink.rate_limit).map(|limit| format!("{limit} events/s"))),
        ("max concurrency", set(sink.max_concurrency).map(|limit| format!("{limit} requests"))),
        ("delivery window", window.map(|window| humantime::format_duration(window).to_string())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn set(number: u32) -> Option<u32> {
    Some(number).filter(|number| *number > 0)
}

fn rate_limit(text: &str) -> Result<Setting<NonZeroU32>, String> {
    number(text, check_rate_limit)
}

fn max_concurrency(text: &str) -> Result<Setting<NonZeroU32>, String> {
    number(text, check_max_concurrency)
}

fn number(
    text: &str,
    check: impl FnOnce(u64) -> Result<NonZeroU32, Refusal>,
) -> Result<Setting<NonZeroU32>, String> {
    if text == "none" {
        return Ok(Setting(None));
    }
    // What is no number is refused as 0 is: by the bounds.
    check(text.parse().unwrap_or(0)).map(|limit| Setting(Some(limit))).map_err(|r| r.message)
}

fn delivery_window(text: &str) -> Result<Setting<Duration>, String> {
    if text == "none" {
        return Ok(Setting(None));
    }
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    check_delivery_window(window).map(|window| Setting(Some(window))).map_err(|r| r.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_within_its_bounds_or_none() {
        assert_eq!(rate_limit("5"), Ok(Setting(NonZeroU32::new(5))));
        assert_eq!(rate_limit("none"), Ok(Setting(None)));
        assert_eq!(delivery_window("7d"), Ok(Setting(Some(Duration::from_secs(604_800)))));
        for wrong in ["0", "-1", "x", "1001"] {
            assert!(max_concurrency(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "1", "59s", "8d"] {
            assert!(delivery_window(wrong).is_err(), "{wrong}");
        }
    }
}
