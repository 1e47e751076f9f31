//! Sinks on the wire.

mod configuration;

use std::{num::NonZeroU32, time::Duration};

use millrace_domain::{
    Refusal, Sink, SinkDelivery, SinkStatus,
    sink::{
        Headers,
        delivery::{check_delivery_window, check_max_concurrency, check_rate_limit},
    },
};

use crate::{v1, wire_duration, wire_time};

impl From<SinkStatus> for v1::SinkStatus {
    fn from(status: SinkStatus) -> Self {
        match status {
            SinkStatus::Initialized => Self::Initialized,
            SinkStatus::Validating => Self::Validating,
            SinkStatus::Active => Self::Active,
            SinkStatus::Failed => Self::Failed,
        }
    }
}

impl v1::SinkStatus {
    /// The domain's status; `None` for unspecified.
    pub fn to_domain(self) -> Option<SinkStatus> {
        match self {
            Self::Unspecified => None,
            Self::Initialized => Some(SinkStatus::Initialized),
            Self::Validating => Some(SinkStatus::Validating),
            Self::Active => Some(SinkStatus::Active),
            Self::Failed => Some(SinkStatus::Failed),
        }
    }
}

impl From<&Sink> for v1::Sink {
    fn from(sink: &Sink) -> Self {
        Self {
            sid: sink.sid.to_string(),
            account_sid: sink.account.to_string(),
            description: sink.description.clone(),
            configuration: Some((&sink.configuration).into()),
            status: v1::SinkStatus::from(sink.status).into(),
            signing_secret: sink.signing_secret.reveal().to_owned(),
            create_time: Some(wire_time(sink.created)),
            update_time: Some(wire_time(sink.updated)),
            paused: sink.delivery.paused,
            rate_limit: sink.delivery.rate_limit.map_or(0, NonZeroU32::get),
            max_concurrency: sink.delivery.max_concurrency.map_or(0, NonZeroU32::get),
            delivery_window: sink.delivery.window.map(wire_duration),
            headers: wire_headers(&sink.headers),
        }
    }
}

/// What a sink asks of delivery; a refusal spells its field as REST does.
impl v1::Sink {
    /// Events a second.
    pub fn checked_rate_limit(&self) -> Result<Option<NonZeroU32>, Refusal> {
        unless_zero(self.rate_limit, check_rate_limit)
    }

    /// Requests at once.
    pub fn checked_max_concurrency(&self) -> Result<Option<NonZeroU32>, Refusal> {
        unless_zero(self.max_concurrency, check_max_concurrency)
    }

    /// How long delivery of an event is tried.
    pub fn checked_delivery_window(&self) -> Result<Option<Duration>, Refusal> {
        // A negative one becomes zero, which is out of bounds too.
        let window = self.delivery_window.map(|window| window.try_into().unwrap_or_default());
        window.map(check_delivery_window).transpose()
    }

    /// What its requests carry besides.
    pub fn checked_headers(&self) -> Result<Headers, Refusal> {
        Headers::checked(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())))
    }

    /// All of what it asks of delivery, headers apart.
    pub fn checked_delivery(&self) -> Result<SinkDelivery, Refusal> {
        Ok(SinkDelivery {
            paused: self.paused,
            rate_limit: self.checked_rate_limit()?,
            max_concurrency: self.checked_max_concurrency()?,
            window: self.checked_delivery_window()?,
        })
    }
}

fn wire_headers(headers: &Headers) -> std::collections::BTreeMap<String, String> {
    headers.iter().map(|(name, value)| (name.to_owned(), value.reveal().to_owned())).collect()
}

fn unless_zero(
    number: u32,
    check: impl FnOnce(u64) -> Result<NonZeroU32, Refusal>,
) -> Result<Option<NonZeroU32>, Refusal> {
    if number == 0 { Ok(None) } else { check(number.into()).map(Some) }
}
