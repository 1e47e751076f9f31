//! What became of an event can be found, by its id, its sink and its outcome; what was dropped can be sent again.

use std::time::Duration;

use millrace_proto::v1::Event;
use millrace_testkit::{
    eventually::eventually_within,
    postgres::Server,
    receiver::{Answer, Receiver},
};
use millrace_tests::{Mode, Options, Sink, Stack, event};
use serde_json::Value;

/// A lane that cannot send looks for what has expired twice a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// Soon over, and long enough for a few tries.
const WINDOW: (&str, &str) = ("delivery.window", "4s");
const FAILING: &str = "io.millrace.sink.failing";
const DROPPED: &str = "io.millrace.sink.events-dropped";
const LOGGED: &str = "com.twilio.error-logs.error.logged";

#[tokio::test]
async fn what_became_of_an_event_is_found_embedded() {
    what_became_of_an_event_is_found(Mode::Embedded).await;
}

#[tokio::test]
async fn what_became_of_an_event_is_found_on_servers() {
    what_became_of_an_event_is_found(Mode::Servers).await;
}

async fn what_became_of_an_event_is_found(mode: Mode) {
    let stack = Stack::start(mode, Options::default().set(&[WINDOW])).await;
    let (receiver, dead) = (Receiver::start().await, Receiver::start().await);
    let well = stack.subscribed(&receiver, "/well").await;
    let flaky = stack.subscribed(&receiver, "/flaky").await;
    let refuses = stack.subscribed(&receiver, "/refuses").await;
    let down = stack.subscribed(&dead, "/down").await;
    let news = stack.sink(&receiver, "/news", false).await;
    stack.subscribe(&news, &[FAILING, DROPPED, LOGGED]).await;
    receiver.answers("/flaky", [Answer::status(503), Answer::ok()]);
    receiver.answer("/refuses", Answer::status(404));
    let address = dead.stop().await;
    let id = published(&stack).await;
    assert!(id.starts_with("EZ"), "{id}");

    let attempts = format!("/v1/Events/{id}/Attempts");
    for (sink, outcome) in [
        (&well, "delivered"),
        (&flaky, "retry"),
        (&flaky, "delivered"),
        (&refuses, "discard"),
        (&down, "retry"),
    ] {
        let of_sink = format!("/v1/Sinks/{}/Attempts?EventId={id}&Outcome={outcome}", sink.sid);
        let found = some(&stack, &of_sink, "attempts").await;
        assert!(found.iter().all(|row| row["event_ids"][0] == *id), "{found:?}");
        let found = some(&stack, &attempts, "attempts").await;
        let is_it = |row: &&Value| row["sink_sid"] == *sink.sid && row["outcome"] == outcome;
        assert!(found.iter().any(|row| is_it(&row)), "{outcome}: {found:?}");
    }
    let errors =
        some(&stack, &format!("/v1/ErrorLogs?SinkSid={}", refuses.sid), "error_logs").await;
    assert_eq!((errors.len(), &errors[0]["error_code"]), (1, &91305.into()), "{errors:?}");

    for (sink, reason) in [(&refuses, "rejected"), (&down, "expired")] {
        let dropped = dropped(&stack, sink).await;
        assert_eq!(
            (&dropped[0]["event_id"], &dropped[0]["reason"]),
            (&id.as_str().into(), &reason.into())
        );
    }
    let again = Receiver::start_at(address).await;
    let resend = format!("/v1/Sinks/{}/DroppedEvents/Resend", down.sid);
    let sent = stack.rest().post(&resend, &[("EventId", &id)]).await;
    assert_eq!((sent.status, &sent.body["resent"]), (202, &1.into()), "{sent:?}");
    again.until("it comes under its id", |again| again.ids().contains(&id)).await;
    let sent = stack.rest().post(&resend, &[("EventId", &id)]).await;
    assert_eq!(sent.body["resent"], 0, "{sent:?}");
    assert!(dropped(&stack, &down).await[0]["date_resent"].is_string());

    let told = |receiver: &Receiver| {
        let told = receiver.requests_to("/news");
        let about = |word: &str| {
            told.iter().any(|request| String::from_utf8_lossy(&request.body).contains(word))
        };
        about(LOGGED)
    };
    receiver.until("the account is told of a problem", told).await;
}

#[tokio::test]
async fn without_a_database_deliveries_go_on_and_reports_come_later() {
    let server = Server::start().expect("install PostgreSQL: apt-get install postgresql");
    let database = server.database().await.expect("a database");
    let options = Options { database: Some(database), ..Options::default() };
    let stack = Stack::start(Mode::Servers, options.set(&[WINDOW])).await;
    let receiver = Receiver::start().await;
    let well = stack.subscribed(&receiver, "/well").await;
    let refuses = stack.subscribed(&receiver, "/refuses").await;
    receiver.answer("/refuses", Answer::status(404));
    server.stop().expect("stops");
    stack.publish((0..20).map(|n| event(&format!("e{n}")))).await;
    receiver.until("all came", |receiver| receiver.requests().len() == 40).await;
    server.start_again().expect("starts again");

    for (sink, outcome) in [(&well, "delivered"), (&refuses, "discard")] {
        let path = format!("/v1/Sinks/{}/Attempts?Outcome={outcome}", sink.sid);
        let found = counted(&stack, &path, "attempts", 20).await;
        let mut ids: Vec<_> = found.iter().map(|row| row["event_ids"][0].to_string()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 20, "each once: {ids:?}");
    }
    let path = format!("/v1/Sinks/{}/DroppedEvents", refuses.sid);
    counted(&stack, &path, "dropped_events", 20).await;
    assert_eq!(receiver.requests().len(), 40, "nothing was sent twice");
}

/// Publishes an event to which the router gives its id.
async fn published(stack: &Stack) -> String {
    let event = Event { id: String::new(), ..event("") };
    let answer = stack.publisher(0).publish(vec![event]).await.expect("the router answers");
    answer.results[0].id.clone()
}

async fn dropped(stack: &Stack, sink: &Sink) -> Vec<Value> {
    some(stack, &format!("/v1/Sinks/{}/DroppedEvents", sink.sid), "dropped_events").await
}

/// Rows of a log, once there are some.
async fn some(stack: &Stack, path: &str, key: &str) -> Vec<Value> {
    eventually_within(PATIENCE, path, || async {
        rows(stack, path, key).await.filter(|rows| !rows.is_empty())
    })
    .await
}

/// Rows of a log, once there are so many.
async fn counted(stack: &Stack, path: &str, key: &str, count: usize) -> Vec<Value> {
    let all = || async { rows(stack, path, key).await.filter(|rows| rows.len() >= count) };
    let found = eventually_within(PATIENCE, path, all).await;
    assert_eq!(found.len(), count, "{found:?}");
    found
}

async fn rows(stack: &Stack, path: &str, key: &str) -> Option<Vec<Value>> {
    let answer = stack.rest().get(path).await;
    answer.body[key].as_array().cloned()
}
