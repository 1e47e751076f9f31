//! What a sink asks of delivery, as parameters and as fields: `Paused`, `RateLimit`, `MaxConcurrency`, `DeliveryWindow` and
//! `Headers` extend `events/v1`. An empty value asks for nothing; an answer has only what is set.

use std::{num::NonZeroU32, time::Duration};

use millrace_domain::{
    Refusal, SinkDelivery, SinkUpdate,
    sink::{
        Headers,
        delivery::{check_delivery_window, check_max_concurrency, check_rate_limit},
    },
};
use serde_json::{Map, Value};

use super::{form::Fields, mask::MASK};
use crate::status::{Failure, code};

/// The settings of a new sink.
pub(super) fn settings(form: &Fields) -> Result<SinkDelivery, Failure> {
    let SinkUpdate { paused, rate_limit, max_concurrency, window, .. } = update(form)?;
    Ok(SinkDelivery {
        paused: paused.unwrap_or_default(),
        rate_limit: rate_limit.flatten(),
        max_concurrency: max_concurrency.flatten(),
        window: window.flatten(),
    })
}

/// The settings that a form names, and nothing else of a sink.
pub(super) fn update(form: &Fields) -> Result<SinkUpdate, Failure> {
    Ok(SinkUpdate {
        paused: given(form, "Paused", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Refusal::invalid("Paused", "must be `true` or `false`")),
        })?
        .map(Option::unwrap_or_default),
        rate_limit: number(form, "RateLimit", check_rate_limit)?,
        max_concurrency: number(form, "MaxConcurrency", check_max_concurrency)?,
        window: given(form, "DeliveryWindow", window)?,
        ..SinkUpdate::default()
    })
}

/// The headers that a form names: a JSON object, all of them; empty: none.
pub(super) fn headers(form: &Fields) -> Result<Option<Headers>, Failure> {
    let headers = form.one("Headers")?.map(Headers::parse).transpose();
    let headers = headers.map_err(|refusal| Failure::refused(code::SINK_INVALID, refusal))?;
    let masked = headers.iter().flat_map(Headers::iter).find(|(_, value)| value.reveal() == MASK);
    if let Some((name, _)) = masked {
        let message = "has the mask of a value: give the value itself, or leave `Headers` out";
        return Err(Failure::invalid(code::SINK_INVALID, format!("Headers.{name}"), message));
    }
    Ok(headers)
}

/// Adds the names of headers to the JSON of a sink. Their values are secret: gRPC shows them.
pub(super) fn show_headers(headers: &Headers, sink: &mut Value) {
    if !headers.is_empty() {
        let masked = headers.iter().map(|(name, _)| (name.to_owned(), MASK.into()));
        sink["headers"] = Value::Object(masked.collect::<Map<_, _>>());
    }
}

/// Adds what is set to the JSON of a sink.
pub(super) fn show(delivery: &SinkDelivery, sink: &mut Value) {
    let SinkDelivery { paused, rate_limit, max_concurrency, window } = *delivery;
    let fields = [
        ("paused", paused.then_some(Value::Bool(true))),
        ("rate_limit", rate_limit.map(|limit| limit.get().into())),
        ("max_concurrency", max_concurrency.map(|limit| limit.get().into())),
        ("delivery_window", window.map(|window| window.as_secs().into())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            sink[name] = value;
        }
    }
}

/// A parameter: `None` is not given, `Some(None)` given and empty.
fn given<T>(
    form: &Fields,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, Refusal>,
) -> Result<Option<Option<T>>, Failure> {
    let value = match form.one(name)? {
        None => return Ok(None),
        Some("") => return Ok(Some(None)),
        Some(text) => read(text),
    };
    let value = value.map_err(|refusal| Failure::refused(code::SINK_INVALID, refusal))?;
    Ok(Some(Some(value)))
}

fn number(
    form: &Fields,
    name: &str,
    check: impl FnOnce(u64) -> Result<NonZeroU32, Refusal>,
) -> Result<Option<Option<NonZeroU32>>, Failure> {
    // What is no number is refused as 0 is: by the bounds.
    given(form, name, |text| check(text.parse().unwrap_or(0)))
}

/// A number of seconds, or text such as `15m`.
fn window(text: &str) -> Result<Duration, Refusal> {
    let read = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    let message = "must be a number of seconds, or a duration such as `15m`";
    check_delivery_window(read.ok_or_else(|| Refusal::invalid("DeliveryWindow", message))?)
}
