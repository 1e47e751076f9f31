//! A sender against a router that fails as told.

use std::sync::{Arc, Mutex};

use futures::{StreamExt, stream::BoxStream};
use millrace_proto::v1::{
    PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse,
    publish_service_server::{PublishService, PublishServiceServer},
};
use millrace_runtime::{Tasks, server};
use tonic::{Request, Response, Status, Streaming, service::Routes};

use super::*;
use crate::client::connection::{Credentials, connect};

/// Fails once for each status given, then accepts; notes the ids it was sent.
#[derive(Clone, Default)]
struct Router {
    failures: Arc<Mutex<Vec<Status>>>,
    sent: Arc<Mutex<Vec<Vec<String>>>>,
}

#[tonic::async_trait]
impl PublishService for Router {
    type PublishStreamStream = BoxStream<'static, Result<PublishStreamResponse, Status>>;

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let authorized = request.metadata().get("authorization").is_some();
        let results = self.take(authorized, request.into_inner().events)?;
        Ok(Response::new(PublishResponse { results }))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let authorized = request.metadata().get("authorization").is_some();
        let router = self.clone();
        let answer = move |batch: Result<PublishStreamRequest, Status>| {
            let PublishStreamRequest { batch, events, .. } = batch?;
            Ok(PublishStreamResponse { batch, results: router.take(authorized, events)? })
        };
        Ok(Response::new(request.into_inner().map(answer).boxed()))
    }
}

impl Router {
    fn take(&self, authorized: bool, events: Vec<v1::Event>) -> Result<Vec<PublishResult>, Status> {
        let ids: Vec<String> = events.into_iter().map(|event| event.id).collect();
        self.sent.lock().expect("no panic").push(ids.clone());
        if let Some(status) = self.failures.lock().expect("no panic").pop() {
            return Err(status);
        }
        if !authorized {
            return Err(Status::unauthenticated("who is it?"));
        }
        Ok(ids.into_iter().map(|id| PublishResult { id, ..accepted(1) }).collect())
    }
}

/// Publishes two events to a router that fails so, by calls and over a stream, which must come to the same; gives the outcome and
/// what the router was sent.
async fn publish_to(
    failures: Vec<Status>,
    retry_for: Duration,
) -> (anyhow::Result<Vec<Delivery>>, Vec<Vec<String>>) {
    let (_, by_calls) = publish_by(failures.clone(), retry_for, false).await;
    let (outcome, sent) = publish_by(failures, retry_for, true).await;
    assert_eq!(sent, by_calls);
    (outcome, sent)
}

async fn publish_by(
    failures: Vec<Status>,
    retry_for: Duration,
    streams: bool,
) -> (anyhow::Result<Vec<Delivery>>, Vec<Vec<String>>) {
    let router = Router { failures: Arc::new(Mutex::new(failures)), ..Router::default() };
    let listener = server::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let routes = Routes::new(PublishServiceServer::new(router.clone())).into_axum_router();
    let (tasks, _failures) = Tasks::new();
    tasks.spawn("serve", |stopping| server::serve(listener, routes, stopping));
    let credentials = Credentials::Account {
        sid: "AC00000000000000000000000000000001".to_owned(),
        secret: millrace_domain::Secret::new("token"),
    };
    let connection = connect(&url, &credentials).await.expect("it listens");
    let client = PublishServiceClient::new(connection);
    let stream = streams.then(|| Streamed::new(client.clone()));
    let sender = Sender { client, retry_for, deduplicate: false, stream };
    let events = sent(&["a", "b"]).into_iter().map(|(_, event)| event).collect();
    let outcome = sender.publish(Batch { events, lines: vec![7, 8] }).await;
    drop(sender);
    tasks.stop(Duration::from_secs(5)).await.expect("in time");
    let sent = router.sent.lock().expect("no panic").clone();
    (outcome, sent)
}

#[tokio::test]
async fn what_may_pass_is_sent_again_with_the_same_ids() {
    let failures = vec![Status::resource_exhausted("full"), Status::unavailable("away")];
    let (outcome, sent) = publish_to(failures, Duration::from_secs(30)).await;
    let deliveries = outcome.expect("the third try");
    assert!(
        deliveries.iter().all(|delivery| delivery.outcome == Ok(Kept::For(1))),
        "{deliveries:?}"
    );
    assert_eq!(sent, vec![vec!["a".to_owned(), "b".to_owned()]; 3]);
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_and_the_line_named() {
    let (outcome, _) = publish_to(vec![Status::unavailable("away")], Duration::ZERO).await;
    let error = outcome.expect_err("no time to retry").to_string();
    assert!(error.contains("line 7") && error.contains("away"), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_not_tried_again() {
    let failures = vec![Status::unauthenticated("the auth token is wrong")];
    let (outcome, sent) = publish_to(failures, Duration::from_secs(30)).await;
    let error = outcome.expect_err("refused").to_string();
    assert!(error.contains("--auth-token"), "{error}");
    assert_eq!(sent.len(), 1);
}

fn sent(ids: &[&str]) -> Vec<(usize, v1::Event)> {
    let event = |id: &&str| v1::Event { id: (*id).to_owned(), ..v1::Event::default() };
    ids.iter().map(event).enumerate().collect()
}

fn result(outcome: Outcome) -> PublishResult {
    PublishResult { id: String::new(), outcome: Some(outcome) }
}

fn rejected(code: RejectionCode) -> PublishResult {
    let field = "type".to_owned();
    result(Outcome::Rejected(v1::Rejected { code: code.into(), field, message: "no".to_owned() }))
}

fn accepted(sinks: u32) -> PublishResult {
    result(Outcome::Accepted(v1::Accepted { sinks }))
}

#[test]
fn only_what_may_pass_is_sent_again_and_with_the_same_id() {
    let results = || {
        vec![accepted(2), rejected(RejectionCode::Unavailable), rejected(RejectionCode::NotFound)]
    };
    let mut deliveries = vec![None, None, None];
    let again = settle(sent(&["a", "b", "c"]), results(), false, &mut deliveries).expect("matches");
    assert_eq!(again.iter().map(|(at, e)| (*at, e.id.as_str())).collect::<Vec<_>>(), [(1, "b")]);
    let known = |at: usize| deliveries[at].as_ref().map(|d| d.outcome.clone());
    assert_eq!(known(0), Some(Ok(Kept::For(2))));
    assert_eq!(known(1), None);
    assert_eq!(known(2).and_then(Result::err).map(|r| r.code), Some(RefusalCode::NotFound));
    assert!(
        settle(sent(&["a", "b", "c"]), results(), true, &mut deliveries)
            .is_ok_and(|a| a.is_empty())
    );
    assert!(deliveries.iter().all(Option::is_some), "the last try leaves nothing open");
}

#[test]
fn an_answer_of_another_length_is_an_error() {
    assert!(settle(sent(&["a", "b"]), vec![accepted(1)], false, &mut [None, None]).is_err());
}

#[test]
fn jitter_is_a_fraction() {
    assert!((0..100).map(|_| jitter()).all(|j| (0.0..=1.0).contains(&j)));
}

#[tokio::test]
async fn batches_share_a_stream_and_each_gets_its_own_answer() {
    let router = Router::default();
    let listener = server::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let routes = Routes::new(PublishServiceServer::new(router)).into_axum_router();
    let (tasks, _failures) = Tasks::new();
    tasks.spawn("serve", |stopping| server::serve(listener, routes, stopping));
    let credentials = Credentials::Account {
        sid: "AC00000000000000000000000000000001".to_owned(),
        secret: millrace_domain::Secret::new("token"),
    };
    let connection = connect(&url, &credentials).await.expect("it listens");
    let stream = Streamed::new(PublishServiceClient::new(connection));
    let publish = |n: usize| {
        let events = sent(&[&n.to_string()]).into_iter().map(|(_, event)| event).collect();
        stream.publish(v1::PublishRequest { events, deduplicate: false })
    };
    let answers = futures::future::join_all((0..40).map(publish)).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.expect("answered")[0].id, n.to_string());
    }
    drop(stream);
    tasks.stop(Duration::from_secs(5)).await.expect("in time");
}
