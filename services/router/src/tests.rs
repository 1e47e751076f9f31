//! A router on sockets, in front of a real queue.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use millrace_proto::v1::{
    Event, PublishRequest, PublishResult, RejectionCode, publish_result::Outcome,
    publish_service_client::PublishServiceClient,
};
use millrace_testkit::eventually;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt;

use super::*;
use crate::fixture::{ACCOUNT, Fickle, OTHER, SUSPENDED, TRACE, VERSION, basic, event, no_answer};

mod duplicates;
mod half_sent;
mod over_grpc;
mod over_http;
mod roll_up;
mod room;
mod streams;

struct Fixture {
    queue: Arc<Fickle>,
    process: Process,
    address: SocketAddr,
}

/// An HTTP answer.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Fixture {
    async fn start() -> Self {
        Self::on(Fickle::open(8).await, Watch::fixed(fixture::configuration()), |_| {}).await
    }

    async fn on(queue: Fickle, watch: Watch, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.queue.partitions = 8;
        change(&mut settings);
        let (queue, process) = (Arc::new(queue), Process::default());
        let service =
            build(&settings, Arc::clone(&queue) as _, watch, &process).expect("valid settings");
        let listener = server::bind("127.0.0.1:0").await.expect("a free port");
        let address = process.serve("publishing", listener, service.routes).expect("bound");
        Self { queue, process, address }
    }

    /// Sends a request as it is written, and reads the answer to its end.
    async fn send(&self, head: &str, body: &[u8]) -> Answer {
        self.send_to("/v1/Events", head, body).await
    }

    /// Publishes an event over HTTP as [`ACCOUNT`], to a path of its own.
    async fn post_to(&self, path: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!(
            "authorization: {}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n",
            own()
        );
        self.send_to(path, &head, body.as_bytes()).await
    }

    async fn send_to(&self, path: &str, head: &str, body: &[u8]) -> Answer {
        self.ask(&format!("POST {path}"), head, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", b"").await
    }

    async fn ask(&self, what: &str, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("listens");
        let head = format!("{what} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(body).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answered");
        let answer = String::from_utf8(answer).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let body = serde_json::from_str(body).expect("JSON without chunks");
        Answer { status, head: head.to_ascii_lowercase(), body }
    }

    /// Publishes over HTTP as [`ACCOUNT`].
    async fn post(&self, content_type: &str, body: &str) -> Answer {
        self.post_with(&format!("authorization: {}\r\n", own()), content_type, body).await
    }

    async fn post_with(&self, headers: &str, content_type: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!("{headers}content-type: {content_type}\r\ncontent-length: {length}\r\n");
        self.send(&head, body.as_bytes()).await
    }

    fn grpc(&self) -> PublishServiceClient<Channel> {
        let address = format!("http://{}", self.address);
        PublishServiceClient::new(millrace_watch::connect(&address).expect("an address"))
    }

    /// Publishes over gRPC.
    async fn publish(
        &self,
        authorization: &str,
        metadata: &[(&'static str, &str)],
        events: Vec<Event>,
    ) -> Result<Vec<PublishResult>, Status> {
        let mut request = Request::new(PublishRequest { events, deduplicate: false });
        for (name, value) in metadata.iter().chain(&[("authorization", authorization)]) {
            request.metadata_mut().insert(*name, value.parse().expect("a value"));
        }
        Ok(self.grpc().publish(request).await?.into_inner().results)
    }

    /// Publishes over gRPC what is to be left out where it is known.
    async fn publish_once(&self, events: Vec<Event>) -> Vec<&'static str> {
        let mut request = Request::new(PublishRequest { events, deduplicate: true });
        request.metadata_mut().insert("authorization", own().parse().expect("a value"));
        let answer = self.grpc().publish(request).await.expect("answered");
        answer.into_inner().results.into_iter().map(word).collect()
    }
}

/// What became of an event, in a word.
fn word(result: PublishResult) -> &'static str {
    match result.outcome.expect("an outcome") {
        Outcome::Accepted(_) => "accepted",
        Outcome::Duplicate(_) => "duplicate",
        Outcome::Rejected(rejected) => match rejected.code() {
            RejectionCode::ResourceExhausted => "exhausted",
            RejectionCode::Unavailable => "unavailable",
            RejectionCode::TooLarge => "too large",
            _ => "rejected",
        },
    }
}

fn own() -> String {
    basic(&ACCOUNT.to_string(), "token")
}

fn paid(id: &str) -> Event {
    Event {
        id: id.to_owned(),
        source: "/a".to_owned(),
        r#type: "com.example.paid".to_owned(),
        data: r#"{"a":1}"#.to_owned(),
        ..Event::default()
    }
}

/// A watch that has no configuration, and whose control-plane is not there.
fn unknowing() -> Watch {
    let channel = millrace_watch::connect("http://127.0.0.1:1").expect("an address");
    Client::new(channel, "token", View::Router).expect("a token").1
}

#[tokio::test]
async fn a_router_without_a_configuration_claims_nothing() {
    let router = Fixture::on(Fickle::open(8).await, unknowing(), |_| {}).await;
    assert_eq!(router.process.readiness.missing(), ["configuration"]);
    let answer = router.post("application/json", &event("com.example.paid", "1", "{}")).await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("unavailable")));
    assert!(answer.head.contains("retry-after: 1"));
    let refused = router.publish(&own(), &[], vec![paid("1")]).await.expect_err("not ready");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(router.queue.ids().await.is_empty());

    let ready = Fixture::start().await;
    assert!(ready.process.readiness.is_ready());
}

#[tokio::test]
async fn wrong_credentials_and_suspended_accounts_are_refused() {
    let router = Fixture::start().await;
    let wrong = basic(&ACCOUNT.to_string(), "other");
    let suspended = basic(&SUSPENDED.to_string(), "token");
    let body = event("com.example.paid", "1", "{}");
    for (header, status, code) in [
        (String::new(), 401, Code::Unauthenticated),
        (wrong, 401, Code::Unauthenticated),
        (suspended, 403, Code::PermissionDenied),
    ] {
        let headers = format!("authorization: {header}\r\n");
        let answer = router.post_with(&headers, "application/json", &body).await;
        assert_eq!(answer.status, status, "{header}");
        assert_eq!(answer.head.contains("www-authenticate: basic"), status == 401);
        let refused = router.publish(&header, &[], vec![paid("1")]).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{header}");
    }
    assert!(router.queue.ids().await.is_empty());
}

#[tokio::test]
async fn a_publish_gets_the_configuration_it_asks_for_or_is_told_to_come_back() {
    let router = Fixture::start().await;
    let body = event("com.example.paid", "1", "{}");
    let asking = |version: String| {
        format!("authorization: {}\r\nmillrace-config-version: {version}\r\n", own())
    };
    let known = router.post_with(&asking(VERSION.to_string()), "application/json", &body).await;
    assert_eq!(known.status, 202);
    let later = millrace_domain::ConfigVersion { seq: VERSION.seq + 1, ..VERSION }.to_string();
    let unknown = router.post_with(&asking(later.clone()), "application/json", &body).await;
    assert_eq!(unknown.status, 503);
    assert!(unknown.body["message"].as_str().expect("a text").contains(&later));
    let malformed = router.post_with(&asking("7".to_owned()), "application/json", &body).await;
    assert_eq!(malformed.status, 400);
    assert_eq!(malformed.body["field"], "millrace-config-version");
    let metadata = [("millrace-config-version", later.as_str())];
    let refused = router.publish(&own(), &metadata, vec![paid("1")]).await.expect_err("later");
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn too_much_at_once_is_told_to_come_back() {
    let small = |settings: &mut Settings| settings.router.in_flight_bytes = 1_000;
    let watch = Watch::fixed(fixture::configuration());
    let router = Fixture::on(Fickle::shut(8).await, watch, small).await;
    let body = event("com.example.paid", "1", &format!(r#"{{"a":"{}"}}"#, "x".repeat(500)));
    // Both arms are polled to their end.
    let (first, ()) = tokio::join!(router.post("application/json", &body), async {
        eventually("the first is in flight", || async {
            (router.queue.tried.load(Ordering::SeqCst) == 1).then_some(())
        })
        .await;
        let second = router.post("application/json", &body).await;
        assert_eq!(
            (second.status, second.body["code"].as_str()),
            (429, Some("resource_exhausted"))
        );
        assert!(second.head.contains("retry-after: 1"));
        let large = Event { data: format!(r#"{{"a":"{}"}}"#, "x".repeat(700)), ..paid("2") };
        let refused = router.publish(&own(), &[], vec![large]).await.expect_err("too much");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.get_error_details().retry_info().is_some());
        router.queue.gate.close();
    });
    assert_eq!(first.status, 202);
    eventually("the room is there again", || async {
        (router.post("application/json", &body).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn stopping_finishes_what_was_begun() {
    let watch = Watch::fixed(fixture::configuration());
    let router = Fixture::on(Fickle::shut(8).await, watch, |_| {}).await;
    let body = event("com.example.paid", "1", "{}");
    let (answer, stopped) = tokio::join!(router.post("application/json", &body), async {
        eventually("a publish is in flight", || async {
            (router.queue.tried.load(Ordering::SeqCst) == 1).then_some(())
        })
        .await;
        let stop = router.process.tasks.stop(Duration::from_secs(20));
        let open = async {
            eventually("it refuses new connections", || async {
                TcpStream::connect(router.address).await.is_err().then_some(())
            })
            .await;
            router.queue.gate.close();
        };
        tokio::join!(stop, open).0
    });
    stopped.expect("all tasks end in time");
    assert_eq!(answer.status, 202);
    assert_eq!(router.queue.ids().await, [["1"]]);
}
