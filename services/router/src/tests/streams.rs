//! `PublishStream`, over real connections.

use std::collections::BTreeMap;

use futures::StreamExt;
use millrace_proto::{
    internal::{ConfigSchemaVersion, Resource, resource::Resource as Kind},
    v1::{PublishStreamRequest, PublishStreamResponse},
};
use millrace_watch::Configuration;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::*;

/// An open stream: what is sent into it, and what it answers.
struct Open {
    batches: mpsc::Sender<PublishStreamRequest>,
    answers: Streaming<PublishStreamResponse>,
}

impl Open {
    async fn at(router: &Fixture, authorization: &str) -> Result<Self, Status> {
        let (batches, mut sent) = mpsc::channel(1);
        let sent = futures::stream::poll_fn(move |context| sent.poll_recv(context));
        let mut request = Request::new(sent);
        request.metadata_mut().insert("authorization", authorization.parse().expect("a value"));
        let mut client = router.grpc().max_decoding_message_size(16 * 1024 * 1024);
        let answers = client.publish_stream(request).await?.into_inner();
        Ok(Self { batches, answers })
    }

    async fn send(&self, batch: u64, events: Vec<Event>) {
        let batch = PublishStreamRequest { batch, events, deduplicate: false };
        self.batches.send(batch).await.expect("the stream takes it");
    }

    async fn answer(&mut self) -> (u64, Vec<&'static str>) {
        let answer = self.answers.message().await.expect("no error").expect("an answer");
        (answer.batch, answer.results.into_iter().map(word).collect())
    }

    /// What the stream ends with, its answers read.
    async fn end(mut self) -> Option<Status> {
        while let Some(answer) = self.answers.next().await {
            if let Err(status) = answer {
                return Some(status);
            }
        }
        None
    }
}

async fn tried(router: &Fixture, times: usize) {
    eventually("the queue is asked", || async {
        (router.queue.tried.load(Ordering::SeqCst) >= times).then_some(())
    })
    .await;
}

async fn behind_a_gate() -> Fixture {
    Fixture::on(Fickle::shut(8).await, Watch::fixed(fixture::configuration()), |_| {}).await
}

#[tokio::test]
async fn each_batch_is_answered_by_its_number() {
    let router = Fixture::start().await;
    let mut open = Open::at(&router, &own()).await.expect("open");
    let bad = Event { source: String::new(), ..paid("2") };
    open.send(7, vec![paid("1"), bad, paid("3")]).await;
    open.send(5, vec![]).await;
    open.send(6, vec![paid("4")]).await;
    let mut answers = BTreeMap::new();
    for _ in 0..3 {
        let (batch, words) = open.answer().await;
        answers.insert(batch, words);
    }
    let expected =
        [(5, vec![]), (6, vec!["accepted"]), (7, vec!["accepted", "rejected", "accepted"])];
    assert_eq!(answers, expected.into());
    let Open { batches, answers } = open;
    drop(batches);
    let (batches, _unused) = mpsc::channel(1);
    assert!(Open { batches, answers }.end().await.is_none(), "it ends when its client does");
}

#[tokio::test]
async fn a_batch_does_not_wait_for_the_one_before() {
    let router = behind_a_gate().await;
    let mut open = Open::at(&router, "Bearer platform").await.expect("open");
    let of = |account: millrace_domain::AccountSid| Event {
        account_sid: account.to_string(),
        ..paid("1")
    };
    open.send(1, vec![of(ACCOUNT)]).await;
    tried(&router, 1).await;
    open.send(2, vec![of(OTHER)]).await;
    tried(&router, 2).await;
    let unwatched = Event { r#type: "com.example.unwatched".to_owned(), ..of(OTHER) };
    open.send(3, vec![unwatched]).await;
    assert_eq!(open.answer().await, (3, vec!["accepted"]), "those before are not written yet");
    router.queue.gate.close();
    let mut rest = [open.answer().await.0, open.answer().await.0];
    rest.sort_unstable();
    assert_eq!(rest, [1, 2]);
}

/// The configuration of the fixture with a version 3 of `Checked`, which takes long to compile.
fn with_a_slow_schema() -> Configuration {
    let patterns: serde_json::Map<_, _> = (0..20)
        .map(|n| (format!("p{n}"), json!({"pattern": format!("^[\\p{{L}}{n}]{{1,2}}$")})))
        .collect();
    let document = json!({"properties": patterns}).to_string();
    let version = ConfigSchemaVersion {
        schema_id: "Checked".to_owned(),
        version: 3,
        dataschema: "https://s/Checked/3".to_owned(),
        document: document.clone(),
        schema: document,
        ..ConfigSchemaVersion::default()
    };
    let mut configuration = fixture::configuration();
    let version = Resource { resource: Some(Kind::SchemaVersion(version)) };
    configuration.apply(vec![version], &[]);
    configuration
}

#[tokio::test]
async fn batches_are_queued_in_their_order_while_a_schema_is_compiled() {
    let watch = Watch::fixed(with_a_slow_schema());
    let router = Fixture::on(Fickle::open(8).await, watch, |_| {}).await;
    let mut open = Open::at(&router, &own()).await.expect("open");
    let checked = Event { r#type: "com.example.checked".to_owned(), ..paid("checked") };
    open.send(0, vec![paid("0"), checked, paid("1")]).await;
    for batch in 1..10 {
        open.send(batch, vec![paid(&(batch + 1).to_string())]).await;
    }
    for _ in 0..10 {
        let (batch, words) = open.answer().await;
        assert!(words.iter().all(|word| *word == "accepted"), "{batch}: {words:?}");
    }
    let expected: Vec<String> = (0..=10).map(|n| n.to_string()).collect();
    assert_eq!(router.queue.ids().await.concat(), expected);
}

#[tokio::test]
async fn batches_in_work_are_bounded() {
    let router = behind_a_gate().await;
    let mut open = Open::at(&router, &own()).await.expect("open");
    open.send(0, vec![paid("0")]).await;
    tried(&router, 1).await;
    for batch in 1..40 {
        open.send(batch, vec![paid(&batch.to_string())]).await;
    }
    router.queue.gate.add_permits(2);
    tried(&router, 3).await;
    router.queue.gate.close();
    for _ in 0..40 {
        assert_eq!(open.answer().await.1, ["accepted"]);
    }
    let sizes: Vec<usize> = router.queue.ids().await.iter().map(Vec::len).collect();
    assert!(sizes[1] <= 15, "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 40);
}

#[tokio::test]
async fn an_idle_stream_outlives_the_time_for_a_body() {
    let watch = Watch::fixed(fixture::configuration());
    let soon = |settings: &mut Settings| settings.router.read_timeout = Duration::from_millis(100);
    let router = Fixture::on(Fickle::open(8).await, watch, soon).await;
    let mut open = Open::at(&router, &own()).await.expect("open");
    for batch in 0..3 {
        open.send(batch, vec![paid("1")]).await;
        assert_eq!(open.answer().await, (batch, vec!["accepted"]));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_held_up_and_harms_nobody() {
    let watch = Watch::fixed(fixture::configuration());
    let small = |settings: &mut Settings| settings.router.in_flight_bytes = 8 * 1024 * 1024;
    let router = Fixture::on(Fickle::open(8).await, watch, small).await;
    let mut open = Open::at(&router, &own()).await.expect("open");
    let events = |batch: u64| (0..1_000).map(move |n| paid(&format!("{batch:0100}-{n}"))).collect();
    let mut sent = 0;
    let patience = Duration::from_secs(2);
    while tokio::time::timeout(patience, open.send(sent, events(sent))).await.is_ok() {
        sent += 1;
        assert!(sent < 500, "it is not held up");
    }
    let own = own();
    let others = (0..20).map(|_| router.publish(&own, &[], vec![paid("x")]));
    for other in futures::future::join_all(others).await {
        assert_eq!(
            other.expect("published").into_iter().map(word).collect::<Vec<_>>(),
            ["accepted"]
        );
    }
    for _ in 0..sent {
        assert!(open.answer().await.1.iter().all(|word| *word == "accepted"));
    }
}

#[tokio::test]
async fn answers_that_are_not_read_are_paid_for() {
    let watch = Watch::fixed(fixture::configuration());
    let small = |settings: &mut Settings| settings.router.in_flight_bytes = 1024 * 1024;
    let router = Fixture::on(Fickle::open(8).await, watch, small).await;
    let mut open = Open::at(&router, &own()).await.expect("open");
    let bad = Event { id: "x".repeat(40), ..Event::default() };
    let mut sent = 0;
    let patience = Duration::from_secs(2);
    while tokio::time::timeout(patience, open.send(sent, vec![bad.clone(); 10_000])).await.is_ok() {
        sent += 1;
        assert!(sent < 16, "it is not held up");
    }
    for _ in 0..sent {
        assert!(open.answer().await.1.iter().all(|word| *word == "rejected"));
    }
}

#[tokio::test]
async fn a_batch_of_absurdly_many_events_ends_its_stream() {
    let router = Fixture::start().await;
    let open = Open::at(&router, &own()).await.expect("open");
    open.send(1, vec![Event::default(); 20_001]).await;
    let end = open.end().await.expect("an error");
    assert_eq!(end.code(), Code::InvalidArgument);
    assert!(end.message().contains("20001"), "{end}");
}

#[tokio::test]
async fn a_stream_that_is_not_read_does_not_hold_up_the_end_of_the_process() {
    let router = Fixture::start().await;
    let open = Open::at(&router, &own()).await.expect("open");
    for batch in 0..8 {
        open.send(batch, vec![Event::default(); 10_000]).await;
    }
    router.process.tasks.stop(Duration::from_secs(20)).await.expect("all tasks end in time");
}

#[tokio::test]
async fn what_a_client_that_goes_away_had_handed_over_is_written() {
    let router = behind_a_gate().await;
    let open = Open::at(&router, &own()).await.expect("open");
    open.send(1, vec![paid("1")]).await;
    tried(&router, 1).await;
    drop(open);
    router.queue.gate.close();
    eventually("it is written", || async { (router.queue.ids().await == [["1"]]).then_some(()) })
        .await;
    let results = router.publish(&own(), &[], vec![paid("2")]).await.expect("published");
    assert_eq!(results.into_iter().map(word).collect::<Vec<_>>(), ["accepted"]);
}

#[tokio::test]
async fn credentials_are_checked_at_the_start_and_when_they_change() {
    let (watch, show) = Watch::shown(fixture::configuration());
    let router = Fixture::on(Fickle::open(8).await, watch, |_| {}).await;
    let refused = Open::at(&router, "Bearer other").await.err().expect("refused");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut open = Open::at(&router, &own()).await.expect("open");
    let idle = Open::at(&router, &own()).await.expect("open");
    open.send(1, vec![paid("1")]).await;
    assert_eq!(open.answer().await, (1, vec!["accepted"]));
    show(millrace_watch::Configuration::of(VERSION, Vec::new()));
    for stream in [open, idle] {
        let end = stream.end().await.expect("an error");
        assert_eq!(end.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_process_after_its_answers() {
    let router = behind_a_gate().await;
    let mut open = Open::at(&router, &own()).await.expect("open");
    open.send(1, vec![paid("1")]).await;
    tried(&router, 1).await;
    let answers = async {
        assert_eq!(open.answer().await, (1, vec!["accepted"]));
        let end = open.end().await.expect("an error");
        assert_eq!(end.code(), Code::Unavailable);
        assert!(end.get_error_details().retry_info().is_some());
    };
    let stop = router.process.tasks.stop(Duration::from_secs(20));
    let open_the_gate = async {
        router.process.tasks.stopping().cancelled().await;
        router.queue.gate.close();
    };
    let (stopped, (), ()) = tokio::join!(stop, open_the_gate, answers);
    stopped.expect("all tasks end in time");
}

#[tokio::test]
async fn a_batch_over_the_limits_is_refused_and_the_stream_goes_on() {
    let router = Fixture::start().await;
    let mut open = Open::at(&router, &own()).await.expect("open");
    let many = |count: usize| (0..count).map(|n| paid(&n.to_string())).collect::<Vec<_>>();
    open.send(1, many(10_001)).await;
    let (batch, words) = open.answer().await;
    assert!(batch == 1 && words.len() == 10_001 && words.iter().all(|word| *word == "too large"));
    let large = Event { data: "x".repeat(100_000), ..paid("1") };
    open.send(2, vec![large.clone(); 43]).await;
    assert_eq!(open.answer().await, (2, vec!["too large"; 43]));
    open.send(3, many(10_000)).await;
    let (batch, words) = open.answer().await;
    assert!(batch == 3 && words.len() == 10_000 && words.iter().all(|word| *word == "accepted"));
    open.send(4, vec![large; 60]).await;
    let end = open.end().await.expect("more than is decoded");
    assert_eq!(end.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_stream_outlives_a_queue_without_room() {
    let router = Fixture::start().await;
    let mut open = Open::at(&router, &own()).await.expect("open");
    let says = |used_bytes| {
        let pressure = millrace_queue::Pressure { used_bytes, max_bytes: Some(1_000) };
        *router.queue.pressure.lock().expect("not poisoned") = pressure;
    };
    let mut batch = 0;
    for (used_bytes, becomes) in [(900, "exhausted"), (100, "accepted")] {
        says(used_bytes);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            batch += 1;
            open.send(batch, vec![paid("1")]).await;
            if open.answer().await == (batch, vec![becomes]) {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "never {becomes}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
