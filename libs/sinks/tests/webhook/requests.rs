//! What is sent: bodies, queries, headers, signatures, connections.

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::{
    Secret,
    outcome::Outcome,
    sink::{Headers, WebhookMethod},
};
use millrace_sinks::{BatchLimits, Delivery, SinkSpec};
use millrace_testkit::receiver::{Answer, Receiver};

use crate::{NOW, assert_signed, checking, driver, event, options, post, sink};

#[tokio::test]
async fn one_event_is_an_array_of_one_signed_twice() {
    let receiver = checking("/events").await;
    let sink = post(&receiver.url("/events?a=1"));
    let attempt = driver(&options()).deliver(&sink, &[event("EZ1")], NOW).await;

    assert_eq!(attempt.outcomes, [Outcome::Delivered]);
    assert_eq!(attempt.http_status, Some(200));
    assert_signed(&receiver);
    let request = &receiver.requests()[0];
    assert_eq!(request.method, "POST");
    assert!(request.target.starts_with("/events?a=1&bodySHA256="), "{}", request.target);
    assert_eq!(request.body, [b"[", &event("EZ1").event[..], b"]"].concat());
    for (name, value) in [
        ("content-type", "application/json"),
        ("user-agent", concat!("Millrace/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", "EZ1"),
        ("webhook-timestamp", "1767323045"),
        ("content-length", &request.body.len().to_string()),
        ("host", &receiver.address().to_string()),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("traceparent"), None);
}

#[tokio::test]
async fn headers_of_the_account_are_sent_and_shown_to_nobody() {
    let receiver = checking("/events").await;
    receiver.answer("/events", Answer::status(400).body("you sent hunter2"));
    let url = receiver.url("/events").replacen("://", "://u:p@", 1);
    let headers = [("X-Api-Key", "hunter2"), ("Authorization", "Bearer b")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sink = SinkSpec { headers: Headers::checked(headers).expect("headers"), ..post(&url) };
    let attempt = driver(&options()).deliver(&sink, &[event("EZ1")], NOW).await;
    assert_eq!(attempt.detail, "you sent [redacted]");
    assert!(!format!("{sink:?}").contains("hunter2"), "{sink:?}");
    assert_signed(&receiver);
    let request = &receiver.requests()[0];
    assert_eq!(request.header("x-api-key"), Some("hunter2"));
    assert_eq!(request.header("authorization"), Some("Bearer b"), "it wins over the URL's");
}

#[tokio::test]
async fn a_batch_is_one_array_with_an_id_of_its_own() {
    let receiver = checking("/events").await;
    let mut batch: Vec<_> = (0..200).map(|n| event(&format!("EZ{n}"))).collect();
    batch[3].traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
    batch[4].traceparent = "00-another".to_owned();
    let driver = driver(&options());
    for _ in 0..2 {
        let attempt = driver.deliver(&post(&receiver.url("/events")), &batch, NOW).await;
        assert_eq!(attempt.outcomes, vec![Outcome::Delivered; 200]);
    }
    assert_signed(&receiver);
    let requests = receiver.requests();
    assert_eq!(requests[0].ids, batch.iter().map(|it| it.id.clone()).collect::<Vec<_>>());
    assert_eq!(requests[0].header("traceparent"), Some(&*batch[3].traceparent));
    let id = requests[0].header("webhook-id").expect("an id");
    assert!(id.len() == 36 && id.starts_with("msg_"), "{id}");
    assert_eq!(requests[1].header("webhook-id"), Some(id), "a repeat keeps its id");
}

#[tokio::test]
async fn the_receiver_notices_a_signature_by_another_key() {
    let receiver = checking("/events").await;
    let mut other_token = post(&receiver.url("/events"));
    other_token.auth_token = Secret::new("another");
    let mut other_secret = post(&receiver.url("/events"));
    other_secret.signing_secret = Secret::new("whsec_YW5vdGhlcg==");
    for sink in [other_token, other_secret] {
        driver(&options()).deliver(&sink, &[event("EZ1")], NOW).await;
    }
    let failures = receiver.signature_failures();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].contains("X-Twilio-Signature"), "{failures:?}");
    assert!(failures[1].contains("webhook-signature"), "{failures:?}");
}

#[tokio::test]
async fn a_url_is_signed_as_it_is_requested_whatever_is_in_it() {
    let receiver = checking("/a%20b/~c").await;
    for query in ["?", "?x", "?x=%2F+1&", "?x=ü|'\""] {
        let sink = post(&receiver.url(&format!("/a%20b/~c{query}")));
        let attempt = driver(&options()).deliver(&sink, &[event("EZ1")], NOW).await;
        assert_eq!(attempt.outcomes, [Outcome::Delivered], "{query}: {}", attempt.detail);
    }
    assert_signed(&receiver);
    assert_eq!(receiver.requests().len(), 4);
}

#[tokio::test]
async fn an_event_larger_than_a_batch_arrives_whole() {
    let receiver = checking("/events").await;
    let mut large = event("EZ1");
    large.event =
        Bytes::from(format!(r#"{{"id":"EZ1","data":{{"t":"{}"}}}}"#, "x".repeat(256 * 1024)));
    let attempt =
        driver(&options()).deliver(&post(&receiver.url("/events")), &[large.clone()], NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Delivered]);
    assert_signed(&receiver);
    assert_eq!(receiver.requests()[0].body.len(), large.event.len() + 2);
}

#[tokio::test]
async fn a_get_carries_the_event_in_its_query() {
    let receiver = checking("/events").await;
    let sink = sink(&receiver.url("/events?k=v"), WebhookMethod::Get);
    let driver = driver(&options());
    assert_eq!(driver.limits(&sink).events, 1);
    let attempt = driver.deliver(&sink, &[event("EZ1 ü&=+")], NOW).await;

    assert_eq!(attempt.outcomes, [Outcome::Delivered]);
    assert_signed(&receiver);
    let request = &receiver.requests()[0];
    assert_eq!((request.method.as_str(), request.body.len()), ("GET", 0));
    let expected = [
        ("k", "v"),
        ("data", r#"{"t":1}"#),
        ("id", "EZ1 ü&=+"),
        ("source", "/x"),
        ("specversion", "1.0"),
        ("type", "com.example.a"),
    ];
    assert_eq!(request.query(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(request.header("content-type"), None);
    assert!(request.header("webhook-id").expect("an id").starts_with("msg_"));
}

#[tokio::test]
async fn userinfo_becomes_basic_auth_and_leaves_the_url() {
    let receiver = checking("/events").await;
    let url = receiver.url("/events").replace("http://", "http://us%40er:p%3Ass%20w@");
    let attempt = driver(&options()).deliver(&post(&url), &[event("EZ1")], NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Delivered]);
    assert_signed(&receiver);
    let request = &receiver.requests()[0];
    // Base64 of `us@er:p:ss w`.
    assert_eq!(request.header("authorization"), Some("Basic dXNAZXI6cDpzcyB3"));
    assert!(!request.target.contains("er"), "{}", request.target);
}

#[tokio::test]
async fn no_text_shows_a_secret() {
    let receiver = Receiver::start().await;
    let echo = "dXNlcjpodW50ZXIy hunter2".repeat(100);
    receiver.answer("/echo", Answer::status(500).body(echo));
    let url = |path| receiver.url(path).replace("http://", "http://user:hunter2@");
    let driver = driver(&options());
    let unreachable = "http://user:hunter2@127.0.0.1:1/".to_owned();
    let unresolvable = "http://user:hunter2@nowhere.invalid/".to_owned();
    let broken = "http://user:hunter2@:x/".to_owned();
    for url in [url("/echo"), unreachable, unresolvable, broken] {
        let sink: SinkSpec = post(&url);
        let attempt = driver.deliver(&sink, &[event("EZ1")], NOW).await;
        let shown = format!("{attempt:?} {sink:?} {:?}", event("EZ1"));
        for secret in [
            "com.example.a",
            "hunter2",
            "dXNlcjpodW50ZXIy",
            crate::AUTH_TOKEN,
            crate::SIGNING_SECRET,
        ] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(!attempt.detail.is_empty());
    }
}

#[tokio::test]
async fn connections_are_kept_and_shared() {
    let receiver = Receiver::start().await;
    receiver.answer("/events", Answer::ok().body("thank you"));
    let driver = driver(&options());
    for n in 0..20 {
        let sink = post(&receiver.url(if n % 2 == 0 { "/events" } else { "/others" }));
        let attempt = driver.deliver(&sink, &[event("EZ1")], NOW).await;
        assert_eq!(attempt.outcomes, [Outcome::Delivered]);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_request_that_meets_a_closing_connection_is_never_repeated() {
    let receiver = Receiver::start().await;
    receiver.answer("/events", Answer::ok().then_close());
    let driver = driver(&options());
    let sink = post(&receiver.url("/events"));
    for n in 0..20 {
        let attempt = driver.deliver(&sink, &[event(&format!("EZ{n}"))], NOW).await;
        // Where the close crosses the request, the receiver may have it: that is for the deliverer to retry.
        let retried = matches!(attempt.outcomes[..], [Outcome::Retry { .. }]);
        assert!(retried || attempt.outcomes == [Outcome::Delivered], "{attempt:?}");
    }
    assert_eq!(receiver.duplicates(), 0);
}

#[tokio::test]
async fn an_abandoned_delivery_closes_its_connection() {
    let receiver = Receiver::start().await;
    receiver.answers("/events", [Answer::hang(), Answer::ok()]);
    let driver = driver(&options());
    let sink = post(&receiver.url("/events"));
    let batch = [event("EZ1")];
    tokio::select! {
        _ = driver.deliver(&sink, &batch, NOW) => panic!("a receiver that hangs does not answer"),
        () = receiver.until("the request arrives", |r| r.requests().len() == 1) => {}
    }
    let attempt = driver.deliver(&sink, &batch, NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Delivered]);
    assert_eq!(receiver.connections(), 2, "an abandoned request leaves no connection to reuse");
}

#[tokio::test]
async fn a_thousand_requests_at_a_time_all_arrive() {
    let receiver = Receiver::start().await;
    // Connections that a busy machine takes long to make are none that fail.
    let patient = Duration::from_secs(60);
    let driver =
        driver(&crate::HttpOptions { deadline: patient, connect_timeout: patient, ..options() });
    let sink = post(&receiver.url("/events"));
    let ids: Vec<_> = (0..1_000).map(|n| event(&format!("EZ{n}"))).collect();
    let requests = ids.chunks(1).map(|batch| driver.deliver(&sink, batch, NOW));
    let attempts = futures::future::join_all(requests).await;
    let failed = attempts.iter().find(|it| it.outcomes != [Outcome::Delivered]);
    assert!(failed.is_none(), "{failed:?}");
    assert_eq!((receiver.accepted(), receiver.duplicates()), (1_000, 0));
}

#[tokio::test]
async fn a_full_batch_is_at_most_64_kb_with_its_commas() {
    let receiver = Receiver::start().await;
    let sink = post(&receiver.url("/events"));
    let driver = driver(&options());
    let BatchLimits { events, bytes } = driver.limits(&sink);
    let filler = |length: usize| Delivery {
        id: "a".to_owned(),
        account: None,
        traceparent: String::new(),
        event: Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8))),
        hash: None,
    };
    let batch: Vec<_> = (0..events).map(|_| filler(bytes / events)).collect();
    driver.deliver(&sink, &batch, NOW).await;
    let sent = receiver.requests()[0].body.len();
    assert!(sent <= 64 * 1024 && sent > 60 * 1024, "{sent}");
}
