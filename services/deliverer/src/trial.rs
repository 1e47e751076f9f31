//! A test of a sink: one event, at once and once, beside everything that waits for it.

use std::{sync::Arc, time::Duration};

use millrace_domain::{Secret, outcome::Outcome};
use millrace_proto::{internal::TestSinkRequest, v1, wire_duration};
use millrace_sinks::{Attempt, Delivery, Examination, Step};
use millrace_watch::LiveSink;
use tokio::time::timeout;

use crate::{context::Context, standing};

/// Longest a test takes, whatever the deadline of deliveries: somebody waits for it.
const LONGEST: Duration = Duration::from_secs(12);

/// Sends the event; `None`: the sink cannot be read.
pub(crate) async fn run(cx: &Context, asked: TestSinkRequest) -> Option<v1::SinkTest> {
    let sink = LiveSink::of_wire(&asked.sink?)?;
    let identities = cx.watch.current().map(|it| Arc::clone(it.identities())).unwrap_or_default();
    let spec = standing::spec(&sink, Secret::new(asked.auth_token), identities);
    let event = Delivery {
        id: asked.event_id,
        account: Some(spec.account),
        traceparent: String::new(),
        event: asked.event,
        hash: None,
    };
    let driver = cx.drivers.of(spec.configuration.sink_type());
    let now_seconds = cx.clock.now().as_millis().div_euclid(1_000);
    Some(match timeout(LONGEST, driver.examine(&spec, &event, now_seconds)).await {
        Ok(examination) => told(examination),
        Err(_) => v1::SinkTest {
            error_code: millrace_domain::outcome::Reason::Timeout.code(),
            detail: format!("the test did not end within {LONGEST:?}"),
            latency: Some(wire_duration(LONGEST)),
            remedy: millrace_domain::outcome::Reason::Timeout.remedy().to_owned(),
            ..v1::SinkTest::default()
        },
    })
}

fn told(examination: Examination) -> v1::SinkTest {
    let Examination { steps, attempt } = examination;
    let Attempt { outcomes, http_status, duration, detail } = attempt;
    let reason = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Delivered => None,
        Outcome::Retry { reason, .. } | Outcome::Discard { reason } => Some(*reason),
    });
    v1::SinkTest {
        delivered: reason.is_none(),
        steps: steps.into_iter().map(step).collect(),
        http_status: http_status.map_or(0, u32::from),
        error_code: reason.map_or(0, |reason| reason.code()),
        detail,
        latency: Some(wire_duration(duration)),
        remedy: reason.map(|reason| reason.remedy().to_owned()).unwrap_or_default(),
        test_id: String::new(),
    }
}

fn step(step: Step) -> v1::SinkTestStep {
    let Step { name, duration, result } = step;
    let ok = result.is_ok();
    v1::SinkTestStep {
        name: name.to_owned(),
        ok,
        detail: result.unwrap_or_else(|wrong| wrong),
        duration: Some(wire_duration(duration)),
    }
}
