//! New values for some of what a sink is.

use std::{num::NonZeroU32, time::Duration};

use super::{Headers, Sink, SinkConfiguration, SinkStatus};
use crate::Timestamp;

/// New values of a sink; what is `None` stays as it is, `Some(None)` unsets a setting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkUpdate {
    /// Checked by [`super::check_description`].
    pub description: Option<String>,
    /// Where events go from now on. Of the type that the sink has, which never changes.
    pub configuration: Option<SinkConfiguration>,
    /// What its requests carry from now on, all of it.
    pub headers: Option<Headers>,
    /// Whether nothing is sent.
    pub paused: Option<bool>,
    /// Events a second.
    pub rate_limit: Option<Option<NonZeroU32>>,
    /// Requests at once.
    pub max_concurrency: Option<Option<NonZeroU32>>,
    /// How long delivery of an event is tried.
    pub window: Option<Option<Duration>>,
}

impl SinkUpdate {
    /// Puts the new values into `sink`. Any update, even of nothing, clears the status failed: somebody looked after it.
    pub fn apply(&self, sink: &mut Sink, now: Timestamp) {
        let Self {
            description,
            configuration,
            headers,
            paused,
            rate_limit,
            max_concurrency,
            window,
        } = self;
        set(&mut sink.description, description.as_ref());
        set(&mut sink.configuration, configuration.as_ref());
        set(&mut sink.headers, headers.as_ref());
        set(&mut sink.delivery.paused, paused.as_ref());
        set(&mut sink.delivery.rate_limit, rate_limit.as_ref());
        set(&mut sink.delivery.max_concurrency, max_concurrency.as_ref());
        set(&mut sink.delivery.window, window.as_ref());
        if sink.status == SinkStatus::Failed {
            sink.status = SinkStatus::Active;
        }
        sink.updated = now;
    }
}

fn set<T: Clone>(place: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        place.clone_from(new);
    }
}
