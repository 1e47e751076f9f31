//! Sinks on the wire.

use std::{num::NonZeroU32, time::Duration};

use millrace_domain::{
    Refusal, Sink, SinkConfiguration, SinkDelivery, SinkStatus,
    sink::{
        WebhookMethod,
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

impl From<&SinkConfiguration> for v1::sink::Configuration {
    fn from(configuration: &SinkConfiguration) -> Self {
        match configuration {
            SinkConfiguration::Webhook { destination, method, batch_events } => {
                Self::Webhook(v1::WebhookConfiguration {
                    destination: destination.reveal().to_owned(),
                    method: match method {
                        WebhookMethod::Get => v1::WebhookMethod::Get.into(),
                        WebhookMethod::Post => v1::WebhookMethod::Post.into(),
                    },
                    batch_events: *batch_events,
                })
            }
            SinkConfiguration::Kinesis { arn, role_arn, external_id } => {
                Self::Kinesis(v1::KinesisConfiguration {
                    arn: arn.clone(),
                    role_arn: role_arn.clone(),
                    external_id: external_id.reveal().to_owned(),
                })
            }
            SinkConfiguration::Segment { write_key } => {
                Self::Segment(v1::SegmentConfiguration { write_key: write_key.reveal().to_owned() })
            }
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

    /// All of it.
    pub fn checked_delivery(&self) -> Result<SinkDelivery, Refusal> {
        Ok(SinkDelivery {
            paused: self.paused,
            rate_limit: self.checked_rate_limit()?,
            max_concurrency: self.checked_max_concurrency()?,
            window: self.checked_delivery_window()?,
        })
    }
}

fn unless_zero(
    number: u32,
    check: impl FnOnce(u64) -> Result<NonZeroU32, Refusal>,
) -> Result<Option<NonZeroU32>, Refusal> {
    if number == 0 { Ok(None) } else { check(number.into()).map(Some) }
}

impl TryFrom<&v1::sink::Configuration> for SinkConfiguration {
    type Error = Refusal;

    /// Reads and checks a configuration by the same rules as REST's JSON.
    fn try_from(configuration: &v1::sink::Configuration) -> Result<Self, Refusal> {
        use v1::sink::Configuration;
        let (sink_type, field, json) = match configuration {
            Configuration::Webhook(webhook) => {
                let method = match webhook.method() {
                    v1::WebhookMethod::Get => "GET",
                    v1::WebhookMethod::Post | v1::WebhookMethod::Unspecified => "POST",
                };
                let json = format!(
                    r#"{{"destination":{},"method":"{method}","batch_events":{}}}"#,
                    millrace_domain::event::quoted(&webhook.destination),
                    webhook.batch_events
                );
                ("webhook", "sink.webhook", json)
            }
            Configuration::Kinesis(_) => ("kinesis", "sink.kinesis", "{}".to_owned()),
            Configuration::Segment(_) => ("segment", "sink.segment", "{}".to_owned()),
        };
        Self::parse(sink_type, &json).map_err(|refusal| {
            let field = refusal
                .field
                .replacen("SinkConfiguration", field, 1)
                .replacen("SinkType", field, 1);
            Refusal { field, ..refusal }
        })
    }
}
