//! What comes of an attempt: answers of every kind, and receivers that break off, hang or never end.

use std::time::{Duration, Instant};

use millrace_domain::{
    SinkConfiguration, SinkType,
    outcome::{Outcome, Reason},
    sink::WebhookMethod,
};
use millrace_sinks::{Attempt, Drivers, Options};
use millrace_testkit::receiver::{Answer, Receiver};
use tokio::net::TcpListener;

use crate::{NOW, assert_ended_by_deadline, attempt, driver, event, options, post, sink};

async fn answered(answer: Answer) -> Attempt {
    let receiver = Receiver::start().await;
    receiver.answer("/", answer);
    attempt(&receiver.url("/")).await
}

fn retry(reason: Reason) -> [Outcome; 1] {
    [Outcome::Retry { reason, after: None }]
}

fn discard(reason: Reason) -> [Outcome; 1] {
    [Outcome::Discard { reason }]
}

#[tokio::test]
async fn the_status_decides() {
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(answered(Answer::status(status)).await.outcomes, [Outcome::Delivered]);
    }
    for status in [302, 304, 408, 425, 500, 502, 503, 504, 599] {
        assert_eq!(answered(Answer::status(status)).await.outcomes, retry(Reason::Refused));
    }
    for status in [400, 401, 403, 404, 410, 413, 422] {
        let attempt = answered(Answer::status(status)).await;
        assert_eq!(attempt.outcomes, discard(Reason::Rejected));
        assert_eq!(attempt.http_status, Some(status));
    }
    assert_eq!(answered(Answer::status(429)).await.outcomes, retry(Reason::Throttled));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start().await;
    let receiver = Receiver::start().await;
    let redirect = Answer::status(307).header("location", elsewhere.url("/"));
    receiver.answer("/", redirect);
    assert_eq!(attempt(&receiver.url("/")).await.outcomes, retry(Reason::Refused));
    assert_eq!((elsewhere.connections(), receiver.requests().len()), (0, 1));
}

#[tokio::test]
async fn a_busy_sink_is_given_the_time_it_asks_for() {
    let asking = |status, wait: &str| answered(Answer::status(status).header("retry-after", wait));
    let after =
        |reason, seconds| [Outcome::Retry { reason, after: Some(Duration::from_secs(seconds)) }];
    assert_eq!(asking(429, "7").await.outcomes, after(Reason::Throttled, 7));
    assert_eq!(asking(503, "7").await.outcomes, after(Reason::Refused, 7));
    // `NOW` is 03:04:05.
    let date = asking(429, "Fri, 02 Jan 2026 03:05:05 GMT").await;
    assert_eq!(date.outcomes, after(Reason::Throttled, 60));
    assert_eq!(asking(429, "86400").await.outcomes, after(Reason::Throttled, 3600));
    assert_eq!(asking(429, "soon").await.outcomes, retry(Reason::Throttled));
    assert_eq!(asking(500, "7").await.outcomes, retry(Reason::Refused));
}

#[tokio::test]
async fn the_start_of_the_answer_is_kept_for_people() {
    let attempt = answered(Answer::status(400).body("no\r\n\x1b[1mthanks\x00")).await;
    assert_eq!(attempt.detail, "no   [1mthanks");
    let attempt = answered(Answer::status(500).body("x".repeat(10_000))).await;
    assert_eq!(attempt.detail, "x".repeat(1024));
}

#[tokio::test]
async fn a_refused_connection_is_a_retry_that_says_so() {
    let address = Receiver::start().await.stop().await;
    let attempt = attempt(&format!("http://{address}/")).await;
    assert_eq!(attempt.outcomes, retry(Reason::Connect));
    assert_eq!(attempt.http_status, None);
    assert!(attempt.detail.contains("refused"), "{}", attempt.detail);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_retry_that_says_so() {
    let attempt = attempt("http://nowhere.invalid/").await;
    assert_eq!(attempt.outcomes, retry(Reason::Connect));
    assert!(attempt.detail.contains("nowhere.invalid"), "{}", attempt.detail);
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_retry() {
    for fault in [Answer::close(), Answer::reset(), Answer::reset_in_head()] {
        let attempt = answered(fault).await;
        assert_eq!(attempt.outcomes, retry(Reason::Connect), "{attempt:?}");
        assert_eq!(attempt.http_status, None);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_verdict() {
    for status in [200, 404] {
        let attempt = answered(Answer::status(status).reset_in_body()).await;
        assert_eq!(attempt.outcomes, retry(Reason::Connect), "{attempt:?}");
        assert_eq!(attempt.http_status, Some(status));
    }
    let throttled = Answer::status(429).header("retry-after", "9").reset_in_body();
    let outcome = &answered(throttled).await.outcomes[0];
    let after = Some(Duration::from_secs(9));
    assert_eq!(outcome, &Outcome::Retry { reason: Reason::Throttled, after });
}

#[tokio::test]
async fn a_receiver_that_hangs_ends_by_the_deadline() {
    let started = Instant::now();
    let attempt = answered(Answer::hang()).await;
    assert_ended_by_deadline(started);
    assert_eq!(attempt.outcomes, retry(Reason::Timeout));
    assert_eq!(attempt.http_status, None);
    assert!(attempt.duration >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_receiver_that_never_reads_ends_by_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let started = Instant::now();
    assert_eq!(attempt(&url).await.outcomes, retry(Reason::Timeout));
    assert_ended_by_deadline(started);
}

#[tokio::test]
async fn a_dripping_answer_ends_by_the_deadline_whatever_its_status() {
    for status in [200, 400] {
        let started = Instant::now();
        let attempt = answered(Answer::status(status).drip(Duration::from_millis(100))).await;
        assert_ended_by_deadline(started);
        assert_eq!(attempt.outcomes, retry(Reason::Timeout));
        assert_eq!(attempt.http_status, Some(status));
    }
}

#[tokio::test]
async fn an_endless_answer_is_read_in_part_and_counts() {
    let receiver = Receiver::start().await;
    receiver.answers("/", [Answer::ok().endless(), Answer::status(500).endless(), Answer::ok()]);
    let driver = driver(&options());
    let sink = post(&receiver.url("/"));
    for outcome in [[Outcome::Delivered], retry(Reason::Refused), [Outcome::Delivered]] {
        let started = Instant::now();
        assert_eq!(driver.deliver(&sink, &[event("EZ1")], NOW).await.outcomes, outcome);
        assert!(started.elapsed() < Duration::from_millis(900));
    }
    assert_eq!(receiver.connections(), 3, "what was not read to its end is not used again");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_sent_counts() {
    let receiver = Receiver::start().await;
    receiver.answer("/", Answer::status(413).body("too much").early());
    let mut large = event("EZ1");
    large.event = format!(r#"{{"id":"EZ1","data":{{"t":"{}"}}}}"#, "x".repeat(8 << 20)).into();
    let attempt = driver(&options()).deliver(&post(&receiver.url("/")), &[large], NOW).await;
    assert_eq!(attempt.outcomes, discard(Reason::Rejected), "{attempt:?}");
    assert_eq!((attempt.http_status, &*attempt.detail), (Some(413), "too much"));
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let attempt = answered(Answer::ok().header("x-large", "x".repeat(200 * 1024))).await;
    assert_eq!(attempt.outcomes, retry(Reason::Refused), "{attempt:?}");
    let many = (0..500).fold(Answer::ok(), |answer, n| answer.header(&format!("x-{n}"), "1"));
    let attempt = answered(many).await;
    assert_eq!(attempt.outcomes, retry(Reason::Refused), "{attempt:?}");
}

#[tokio::test]
async fn what_cannot_be_rendered_is_discarded() {
    let driver = driver(&options());
    for url in ["", "not a url", "mailto:a@b"] {
        let attempt = driver.deliver(&post(url), &[event("EZ1"), event("EZ2")], NOW).await;
        let discarded = Outcome::Discard { reason: Reason::Configuration };
        assert_eq!(attempt.outcomes, [discarded.clone(), discarded], "{url}");
        assert!(!attempt.detail.is_empty());
    }
    let mut unsigned = post("http://127.0.0.1:1/");
    unsigned.signing_secret = millrace_domain::Secret::new("whsec_*");
    let attempt = driver.deliver(&unsigned, &[event("EZ1")], NOW).await;
    assert_eq!(attempt.outcomes, discard(Reason::Configuration));
}

#[tokio::test]
async fn an_event_too_large_for_a_url_is_discarded() {
    let mut large = event("EZ1");
    large.event = format!(r#"{{"id":"EZ1","data":{{"t":"{}"}}}}"#, "x".repeat(70_000)).into();
    let sink = sink("http://127.0.0.1:1/", WebhookMethod::Get);
    let attempt = driver(&options()).deliver(&sink, &[large], NOW).await;
    assert_eq!(attempt.outcomes, discard(Reason::Configuration));
    assert!(attempt.detail.contains("longer than"), "{}", attempt.detail);
}

#[tokio::test]
async fn a_type_without_a_driver_is_discarded() {
    let mut sink = post("http://127.0.0.1:1/");
    sink.configuration = SinkConfiguration::File { path: "a.jsonl".to_owned() };
    let options = Options { http: options(), ..Options::default() };
    let drivers = Drivers::new(&options).expect("usable options");
    let attempt = drivers.of(SinkType::File).deliver(&sink, &[event("EZ1")], NOW).await;
    assert_eq!(attempt.outcomes, discard(Reason::Configuration));
    assert!(attempt.detail.contains("`file`"), "{}", attempt.detail);
}
