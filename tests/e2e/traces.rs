//! An event is one trace, from its producer through the queue to its receiver; without a collector it arrives all the same.

use millrace_proto::{
    internal::{WatchRequest, config_service_client::ConfigServiceClient},
    v1::{
        Event, ListSinksRequest, PublishRequest, publish_service_client::PublishServiceClient,
        sink_service_client::SinkServiceClient,
    },
};
use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
    tls,
};
use millrace_tests::{
    Kind, Mode, Options, Rest, Stack, TYPE, authorized, channel, cloud_event,
    collector::{Collector, Received},
    event,
};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use tonic::{Code, Request};

use crate::arrivals::{exactly, ids};

/// Spans of producers that are not ours, each of a trace of its own.
const PARENT: &str = "00f067aa0ba902b7";

fn trace(number: u8) -> String {
    format!("4bf92f3577b34da6a3ce929d0e0e47{number:02x}")
}

fn traceparent(number: u8, flags: &str) -> String {
    format!("00-{}-{PARENT}-{flags}", trace(number))
}

/// An event that says of which trace it is, as the CloudEvents extension for tracing has it.
fn traced(id: &str, traceparent: String) -> Event {
    let extensions = [("traceparent".to_owned(), traceparent)].into();
    Event { extensions, ..event(id) }
}

async fn with_collector(collector: &str) -> Stack {
    let collector = Some(collector.to_owned());
    Stack::start(Mode::Servers, Options { collector, ..Options::default() }).await
}

/// Waits until a collector has so many spans of a trace, in the order that they began in.
async fn spans(collector: &Collector, trace: &str, count: usize) -> Vec<Received> {
    let what = format!("{count} spans of {trace}");
    let mut spans = eventually(&what, || async {
        let spans = collector.of_trace(trace);
        (spans.len() >= count).then_some(spans)
    })
    .await;
    spans.sort_by_key(|received| received.span.start_time_unix_nano);
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

#[tokio::test]
async fn an_event_is_one_trace_from_its_producer_to_its_receiver() {
    let collector = Collector::start().await;
    let mut stack = with_collector(collector.url()).await;
    let receiver = Receiver::start().await;
    let sink = stack.subscribed(&receiver, "/all").await;
    receiver.answers("/all", [Answer::status(503), Answer::ok()]);
    stack.publish([traced("1", traceparent(1, "01"))]).await;
    exactly(&receiver, "/all", &ids(["1"])).await;

    let spans = spans(&collector, &trace(1), 3).await;
    let [published, failed, delivered] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_eq!(
        (published.parent().as_str(), published.service.as_str()),
        (PARENT, "millrace-router")
    );
    assert_eq!(published.span.kind(), SpanKind::Producer);
    assert_eq!(published.text("cloudevents.event_id"), "1");
    for (attempt, number) in [(failed, "1"), (delivered, "2")] {
        assert_eq!(attempt.parent(), published.id(), "both attempts are of what was queued");
        assert_eq!(attempt.service, "millrace-deliverer");
        assert_eq!(
            (attempt.span.kind(), attempt.span.name.as_str()),
            (SpanKind::Client, "POST webhook")
        );
        assert_eq!(attempt.text("millrace.attempt"), number);
        assert_eq!(attempt.text("http.request.method"), "POST");
        assert_eq!(attempt.text("server.address"), "127.0.0.1");
        assert_eq!(attempt.text("millrace.sink.sid"), sink.sid);
    }
    let outcome = |span: &Received| {
        let status = span.span.status.as_ref().map(|status| status.code());
        (span.text("http.response.status_code"), span.text("millrace.outcome"), status)
    };
    assert_eq!(outcome(failed), ("503".into(), "retry".into(), Some(StatusCode::Error)));
    assert_eq!(outcome(delivered), ("200".into(), "delivered".into(), Some(StatusCode::Unset)));
    let seen: Vec<_> = receiver.requests_to("/all").iter().map(heard).collect();
    assert_eq!(seen, [failed.traceparent(), delivered.traceparent()]);

    // What a process has not exported yet when it is told to end is exported before it does.
    stack.publish([traced("2", traceparent(2, "01"))]).await;
    exactly(&receiver, "/all", &ids(["1", "2"])).await;
    stack.process(Kind::Router(0)).terminate().await;
    stack.process(Kind::Deliverer(0)).terminate().await;
    assert_eq!(collector.of_trace(&trace(2)).len(), 2);
}

fn heard(request: &millrace_testkit::receiver::Request) -> String {
    request.header("traceparent").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_trace_of_a_request_is_that_of_its_events_and_a_batch_links_those_of_others() {
    let collector = Collector::start().await;
    let stack = with_collector(collector.url()).await;
    let receiver = Receiver::start().await;
    let sink = stack.sink(&receiver, "/batched", true).await;
    stack.subscribe(&sink, &[TYPE]).await;

    let headers =
        [("content-type", "application/cloudevents+json"), ("traceparent", &*traceparent(3, "01"))];
    let answer = stack.publisher(0).post(&headers, cloud_event(TYPE, "1").to_string()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    exactly(&receiver, "/batched", &ids(["1"])).await;
    let of_request = spans(&collector, &trace(3), 2).await;
    let [served, attempt] = of_request.as_slice() else { panic!("{of_request:#?}") };
    assert_eq!(
        (served.span.kind(), served.span.name.as_str()),
        (SpanKind::Server, "POST /v1/Events")
    );
    assert_eq!((served.parent().as_str(), attempt.parent()), (PARENT, served.id()));
    assert_eq!(served.text("http.response.status_code"), "202");
    assert!(attempt.span.links.is_empty(), "there is nothing else in it");

    // Whether events that are published together are sent together is chance.
    for round in 0..20 {
        let number = 16 + round * 4;
        let [unsampled, one, other, none] = ["a", "b", "c", "d"].map(|it| format!("{it}-{round}"));
        let several = [
            traced(&unsampled, traceparent(number, "00")),
            traced(&one, traceparent(number + 1, "01")),
            traced(&other, traceparent(number + 2, "01")),
            event(&none),
        ];
        stack.publish(several).await;
        receiver.until("they come", |receiver| receiver.has_accepted(&none)).await;
        let requests = receiver.requests_to("/batched");
        let Some(whole) = requests.iter().find(|it| it.ids == [&*unsampled, &one, &other, &none])
        else {
            continue;
        };
        let first = spans(&collector, &trace(number + 1), 2).await;
        let second = spans(&collector, &trace(number + 2), 1).await;
        let links: Vec<_> = first[1].span.links.iter().map(|link| link.span_id.clone()).collect();
        assert_eq!(links, [second[0].span.span_id.clone()], "{first:#?}");
        assert_eq!(first[1].text("messaging.batch.message_count"), "4");
        assert_eq!(heard(whole), first[1].traceparent());
        assert!(collector.of_trace(&trace(number)).is_empty(), "its producer records nothing");
        return;
    }
    panic!("no batch was sent whole");
}

#[tokio::test]
async fn what_its_producer_does_not_record_costs_no_span_and_is_passed_on() {
    let collector = Collector::start().await;
    let mut stack = with_collector(collector.url()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    stack.publish([traced("1", traceparent(7, "00")), event("2")]).await;
    exactly(&receiver, "/all", &ids(["1", "2"])).await;
    let requests = receiver.requests_to("/all");
    let of = |id: &str| {
        let request = requests.iter().find(|it| it.ids.iter().any(|it| it == id));
        request.expect("it came").header("traceparent").map(str::to_owned)
    };
    assert_eq!((of("1"), of("2")), (Some(traceparent(7, "00")), None));
    stack.process(Kind::Router(0)).terminate().await;
    stack.process(Kind::Deliverer(0)).terminate().await;
    assert!(collector.all().is_empty(), "{:#?}", collector.all());
}

#[tokio::test]
async fn millrace_dev_exports_every_trace_whole() {
    let collector = Collector::start().await;
    let options = Options { collector: Some(collector.url().to_owned()), ..Options::default() };
    let mut stack = Stack::start(Mode::Embedded, options).await;
    let receiver = Receiver::start().await;
    let sink = stack.subscribed(&receiver, "/all").await;
    stack.publish([event("1")]).await;
    exactly(&receiver, "/all", &ids(["1"])).await;
    stack.process(Kind::Router(0)).terminate().await;
    let all = collector.all();
    let attempt = all.iter().find(|it| it.span.name == "POST webhook").expect("it is there");
    // Others were published too, to see whether it serves.
    let published = all.iter().find(|it| it.id() == attempt.parent()).expect("it is there");
    assert_eq!(published.span.name, "millrace.v1.PublishService/Publish");
    assert_eq!(
        (published.parent(), &published.span.trace_id),
        (String::new(), &attempt.span.trace_id)
    );
    assert_eq!(heard(&receiver.requests_to("/all")[0]), attempt.traceparent());
    let created = all.iter().filter(|it| it.span.kind() == SpanKind::Server);
    let created: Vec<&str> = created.map(|it| &*it.span.name).collect();
    assert!(
        created.iter().any(|it| it.ends_with("Sinks") || it.ends_with("CreateSink")),
        "{created:?}"
    );
    assert!(all.iter().all(|it| it.service == "millrace-dev"), "{all:#?}");
    assert!(
        !format!("{all:?}").contains(&stack.identity.auth_token)
            && attempt.text("millrace.sink.sid") == sink.sid
    );
}

#[tokio::test]
async fn a_request_to_control_plane_is_part_of_its_callers_trace_and_names_nothing_of_an_account() {
    let collector = Collector::start().await;
    let stack = with_collector(collector.url()).await;
    let of = |number: u8, flags: &str| {
        stack.rest().with_header("traceparent", &traceparent(number, flags))
    };
    let fetched = of(10, "01").get("/v1/Sinks/DG00000000000000000000000000000001").await;
    assert_eq!(fetched.status, 404, "{fetched:?}");
    assert_eq!(of(11, "00").get("/v1/Sinks").await.status, 200);
    let fetched = spans(&collector, &trace(10), 1).await.remove(0);
    assert_eq!((fetched.parent().as_str(), &*fetched.service), (PARENT, "millrace-control-plane"));
    assert_eq!(
        (fetched.span.kind(), &*fetched.span.name),
        (SpanKind::Server, "GET /v1/Sinks/{sid}")
    );
    assert_eq!(fetched.text("http.route"), "/v1/Sinks/{sid}");
    assert_eq!(fetched.text("http.response.status_code"), "404");
    let status = fetched.span.status.as_ref().map(|status| status.code());
    assert_eq!(status, Some(StatusCode::Unset), "what a caller did wrong is no failure");
    assert!(!format!("{fetched:?}").contains("DG0000"), "{fetched:?}");
    assert!(collector.of_trace(&trace(11)).is_empty(), "its caller records nothing");
}

/// A request whose caller records its trace.
fn recorded<T>(mut request: Request<T>, number: u8) -> Request<T> {
    let value = traceparent(number, "01").parse().expect("ASCII");
    request.metadata_mut().insert("traceparent", value);
    request
}

#[tokio::test]
async fn who_has_no_credentials_has_nothing_recorded() {
    let collector = Collector::start().await;
    let stack = with_collector(collector.url()).await;
    let wrong = Some("Basic QUMxOng=");
    let rest = |kind: Kind, authorization: Option<&str>| {
        let caller = Rest::new(&stack.url(kind), authorization);
        caller.with_header("traceparent", &traceparent(20, "01"))
    };
    for authorization in [None, wrong] {
        for path in ["/v1/Sinks", "/2010-04-01/Accounts.json"] {
            let refused = rest(Kind::ControlPlane, authorization).get(path).await;
            assert_eq!(refused.status, 401, "{path}: {refused:?}");
        }
        let refused = rest(Kind::Router(0), authorization).post("/v1/Events", &[]).await;
        assert_eq!(refused.status, 401, "{refused:?}");
    }
    let raw = "/v1/Schemas/Messaging.MessageStatus/Versions/9/Raw";
    for (path, status) in [("/openapi.json", 200), (raw, 404), ("/v1/Nothing", 404)] {
        let answer = rest(Kind::ControlPlane, None).get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    assert_eq!(rest(Kind::ControlPlane, None).delete("/v1/Sinks").await.status, 405);

    let control_plane = channel(&stack.url(Kind::ControlPlane));
    let mut sinks = SinkServiceClient::new(control_plane.clone());
    let refused = sinks.list_sinks(recorded(Request::new(ListSinksRequest::default()), 20)).await;
    assert_eq!(refused.expect_err("nobody").code(), Code::Unauthenticated);
    let mut configuration = ConfigServiceClient::new(control_plane);
    let refused = configuration.watch(recorded(Request::new(WatchRequest::default()), 20)).await;
    assert_eq!(refused.expect_err("nobody").code(), Code::Unauthenticated);
    let mut router = PublishServiceClient::new(channel(&stack.url(Kind::Router(0))));
    let refused = router.publish(recorded(Request::new(PublishRequest::default()), 20)).await;
    assert_eq!(refused.expect_err("nobody").code(), Code::Unauthenticated);

    // Spans of a process are exported in their order: were there any of those before, they would be there now.
    let known = stack.identity.basic();
    let rest = stack.rest().with_header("traceparent", &traceparent(21, "01"));
    assert_eq!(rest.get("/v1/Sinks").await.status, 200);
    let asked = recorded(authorized(ListSinksRequest::default(), &known), 22);
    sinks.list_sinks(asked).await.expect("a known caller");
    let publish = PublishRequest { events: vec![event("1")], ..PublishRequest::default() };
    router.publish(recorded(authorized(publish, &known), 23)).await.expect("a known caller");
    for (number, name) in [
        (21, "GET /v1/Sinks"),
        (22, "millrace.v1.SinkService/ListSinks"),
        (23, "millrace.v1.PublishService/Publish"),
    ] {
        let span = spans(&collector, &trace(number), 1).await.remove(0);
        assert_eq!((span.parent().as_str(), &*span.span.name), (PARENT, name));
    }
    assert_eq!(collector.all().len(), 3, "{:#?}", collector.all());
}

/// Processes that trust a certificate to vouch for the collector.
async fn trusting(collector: &Collector, certificate: &str) -> (Stack, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), certificate).expect("written");
    let (collector, collector_ca) =
        (Some(collector.url().to_owned()), Some(file.path().to_owned()));
    let options = Options { collector, collector_ca, ..Options::default() };
    (Stack::start(Mode::Servers, options).await, file)
}

#[tokio::test]
async fn traces_go_over_tls_to_a_collector_whose_authority_is_in_a_file() {
    let collector = Collector::start_tls().await;
    let (stack, _file) = trusting(&collector, &tls::pem(&tls::authority())).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    stack.publish([traced("1", traceparent(12, "01"))]).await;
    let all = spans(&collector, &trace(12), 2).await;
    assert_eq!(all[1].parent(), all[0].id());
}

#[tokio::test]
async fn a_collector_that_nobody_trusted_vouches_for_gets_nothing_and_the_log_says_why() {
    let collector = Collector::start_tls().await;
    // Of somebody else: an authority that did not sign it.
    let (stack, _file) = trusting(&collector, &tls::pem(&tls::certificate())).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    stack.publish([traced("1", traceparent(13, "01"))]).await;
    exactly(&receiver, "/all", &ids(["1"])).await;
    let told = eventually("it is told", || async {
        let log = stack.process_ref(Kind::Router(0)).log();
        let mut lines = log.lines();
        lines.find(|it| it.contains("the collector does not take traces")).map(str::to_owned)
    });
    let told: serde_json::Value = serde_json::from_str(&told.await).expect("JSON");
    let why = told["error"].as_str().expect("a text");
    assert!(why.contains("invalid peer certificate"), "{why}");
    assert!(collector.all().is_empty(), "{:#?}", collector.all());
}

#[tokio::test]
async fn a_log_line_tells_the_trace_that_it_is_of() {
    let collector = Collector::start().await;
    let mut stack = with_collector(collector.url()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/picky").await;
    receiver.answer("/picky", Answer::status(404));
    stack.publish([traced("1", traceparent(8, "01"))]).await;
    let attempt = spans(&collector, &trace(8), 2).await.remove(1);
    let log = stack.process(Kind::Deliverer(0)).log();
    let line = log.lines().find(|line| line.contains("refuses events for good"));
    let line: serde_json::Value = serde_json::from_str(line.expect("it is told")).expect("JSON");
    assert_eq!((&line["trace_id"], &line["span_id"]), (&trace(8).into(), &attempt.id().into()));
    let first: serde_json::Value =
        serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first.get("trace_id"), None, "{first}");
}

#[tokio::test]
async fn without_its_collector_everything_is_delivered_and_the_process_ends() {
    // Nobody listens there.
    let mut stack = with_collector("http://127.0.0.1:9").await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    let names: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    stack.publish(names.iter().map(|name| traced(name, traceparent(9, "01")))).await;
    exactly(&receiver, "/all", &names.iter().cloned().collect()).await;
    assert_eq!(receiver.duplicates(), 0);
    for kind in [Kind::Router(0), Kind::Deliverer(0)] {
        eventually("what is not exported is counted", || async {
            let metrics = stack.process_ref(kind).metrics().await;
            let lost = metrics.lines().filter(|it| it.starts_with("millrace_trace_spans_total{"));
            let lost = lost.filter(|it| it.contains("failed") || it.contains("dropped"));
            let lost: u64 = lost.filter_map(|it| it.rsplit(' ').next()?.parse::<u64>().ok()).sum();
            (lost >= 1).then_some(())
        })
        .await;
    }
    stack.process(Kind::Router(0)).terminate().await;
    stack.process(Kind::Deliverer(0)).terminate().await;
}
