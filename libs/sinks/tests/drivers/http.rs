//! Webhooks and receivers of CloudEvents, as peers of the suite.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use millrace_domain::{
    Secret, SinkConfiguration, SinkType,
    sink::{CloudEventsMode, Headers, WebhookMethod},
};
use millrace_sinks::{
    Driver, Drivers, SinkSpec,
    conformance::{self, Behaviour, Peer, SECRET},
};
use millrace_testkit::receiver::{Answer, Receiver, Request};
use serde_json::json;

use crate::{options, spec};

const PATH: &str = "/events";

/// A receiver, and a sink that leads to it.
struct Http {
    receiver: Receiver,
    driver: Arc<dyn Driver>,
    sink: SinkSpec,
    /// What it says not to have taken.
    but: Mutex<BTreeSet<String>>,
}

impl Http {
    async fn new(
        deadline: Duration,
        configuration: impl FnOnce(Secret) -> SinkConfiguration,
    ) -> Self {
        let receiver = Receiver::start().await;
        let url = receiver.url(PATH).replacen("://", &format!("://u:{SECRET}@"), 1);
        let header = [("X-Api-Key".to_owned(), SECRET.to_owned())];
        let headers = Headers::checked(header).expect("a header");
        let sink = SinkSpec { headers, ..spec(configuration(Secret::new(url))) };
        let drivers = Drivers::new(&options(deadline)).expect("usable options");
        let driver = Arc::clone(drivers.of(sink.configuration.sink_type()));
        Self { receiver, driver, sink, but: Mutex::default() }
    }
}

/// An answer that repeats what came, credentials included.
fn echo(request: &Request) -> Answer {
    let head: Vec<_> = request.headers.iter().map(|(name, it)| format!("{name}: {it}")).collect();
    Answer::status(500).body(format!("{} {}", request.target, head.join("\n")))
}

/// What another Millrace answers that does not take some.
fn in_part(request: &Request, but: &BTreeSet<String>) -> Answer {
    let result = |id: &String| match but.contains(id) {
        false => json!({"id": id, "status": "accepted", "sinks": 1}),
        true => {
            json!({"id": id, "status": "rejected", "code": "invalid_argument", "message": "no"})
        }
    };
    let results: Vec<_> = request.ids.iter().map(result).collect();
    Answer::status(207).body(json!({ "results": results }).to_string())
}

#[async_trait]
impl Peer for Http {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.driver)
    }

    fn sink(&self) -> SinkSpec {
        self.sink.clone()
    }

    async fn behave(&self, behaviour: Behaviour) -> bool {
        let always = |answer: Answer| self.receiver.judge(PATH, move |_| answer.clone());
        match behaviour {
            Behaviour::Takes => always(Answer::ok()),
            Behaviour::Throttles => always(Answer::status(429).header("retry-after", "7")),
            Behaviour::Fails => always(Answer::status(503).body("not now")),
            Behaviour::Hangs => always(Answer::hang()),
            Behaviour::Echoes => self.receiver.judge(PATH, echo),
            Behaviour::TakesAllBut(but) => {
                if self.sink.configuration.sink_type() != SinkType::CloudEvents {
                    return false;
                }
                self.but.lock().expect("no panic").clone_from(&but);
                self.receiver.judge(PATH, move |request| in_part(request, &but));
            }
        }
        true
    }

    async fn taken(&self) -> Vec<String> {
        let but = self.but.lock().expect("no panic").clone();
        let accepted = self.receiver.requests().into_iter().filter(Request::was_accepted);
        accepted.flat_map(|request| request.ids).filter(|id| !but.contains(id)).collect()
    }

    async fn requests(&self) -> Option<usize> {
        let requests = self.receiver.requests();
        Some(requests.iter().filter(|request| request.method != "OPTIONS").count())
    }
}

#[tokio::test]
async fn a_webhook_that_is_batched_passes() {
    conformance::run(|deadline| {
        Http::new(deadline, |destination| SinkConfiguration::Webhook {
            destination,
            method: WebhookMethod::Post,
            batch_events: true,
        })
    })
    .await;
}

#[tokio::test]
async fn a_webhook_by_query_passes() {
    conformance::run(|deadline| {
        Http::new(deadline, |destination| SinkConfiguration::Webhook {
            destination,
            method: WebhookMethod::Get,
            batch_events: false,
        })
    })
    .await;
}

#[tokio::test]
async fn batched_cloudevents_pass() {
    conformance::run(|deadline| {
        Http::new(deadline, |destination| SinkConfiguration::CloudEvents {
            destination,
            mode: CloudEventsMode::Structured,
            batch_events: true,
        })
    })
    .await;
}

#[tokio::test]
async fn structured_cloudevents_pass() {
    conformance::run(|deadline| {
        Http::new(deadline, |destination| SinkConfiguration::CloudEvents {
            destination,
            mode: CloudEventsMode::Structured,
            batch_events: false,
        })
    })
    .await;
}

#[tokio::test]
async fn binary_cloudevents_pass() {
    conformance::run(|deadline| {
        Http::new(deadline, |destination| SinkConfiguration::CloudEvents {
            destination,
            mode: CloudEventsMode::Binary,
            batch_events: false,
        })
    })
    .await;
}
