//! Where connections may go, and TLS.

use millrace_domain::{
    destination::DestinationPolicy,
    outcome::{Outcome, Reason},
};
use millrace_sinks::{Attempt, HttpOptions};
use millrace_testkit::receiver::Receiver;

use crate::{
    AUTH_TOKEN, NOW, SIGNING_SECRET, assert_signed, attempt, driver, event, options, post,
};

const RETRY: [Outcome; 1] = [Outcome::Retry { reason: Reason::Connect, after: None }];

async fn attempt_under(policy: DestinationPolicy, url: &str) -> Attempt {
    let options = HttpOptions { policy, ..options() };
    driver(&options).deliver(&post(url), &[event("EZ1")], NOW).await
}

#[tokio::test]
async fn what_was_not_allowed_is_never_connected_to() {
    let receiver = Receiver::start().await;
    let port = receiver.address().port();
    let policy = DestinationPolicy { allow_http: true, allow_cidrs: Vec::new() };
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "[::1]"] {
        let attempt = attempt_under(policy.clone(), &format!("http://{host}:{port}/")).await;
        assert_eq!(attempt.outcomes, RETRY, "{host}");
        assert!(attempt.detail.contains("is not a public address"), "{}", attempt.detail);
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn what_was_allowed_is_connected_to_however_it_is_spelt() {
    let receiver = Receiver::start().await;
    let port = receiver.address().port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let attempt = attempt(&format!("http://{host}:{port}/")).await;
        assert_eq!(attempt.outcomes, [Outcome::Delivered], "{host}: {}", attempt.detail);
    }
    let half = DestinationPolicy {
        allow_http: true,
        allow_cidrs: vec!["127.0.0.2/32".parse().expect("a network")],
    };
    let attempt = attempt_under(half, &receiver.url("/")).await;
    assert_eq!(attempt.outcomes, RETRY, "allowed is what was allowed, not its neighbours");
}

#[tokio::test]
async fn plain_http_is_refused_unless_it_was_allowed() {
    let receiver = Receiver::start().await;
    let policy = DestinationPolicy { allow_http: false, ..options().policy };
    let attempt = attempt_under(policy, &receiver.url("/")).await;
    assert_eq!(attempt.outcomes, RETRY);
    assert!(attempt.detail.contains("delivery.allow_http"), "{}", attempt.detail);
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let receiver = Receiver::start_tls().await;
    let attempt = attempt(&receiver.url("/")).await;
    assert_eq!(attempt.outcomes, RETRY);
    assert!(attempt.detail.contains("TLS"), "{}", attempt.detail);
    assert!(attempt.detail.contains("UnknownIssuer"), "{}", attempt.detail);
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn a_trusted_authority_makes_https_work_for_the_names_it_vouches_for() {
    let receiver = Receiver::start_tls().await;
    receiver.expect_signatures("/", AUTH_TOKEN, SIGNING_SECRET);
    let driver = driver(&HttpOptions { extra_roots: vec![Receiver::authority()], ..options() });
    let port = receiver.address().port();
    let deliver = async |url: String| driver.deliver(&post(&url), &[event("EZ1")], NOW).await;

    for _ in 0..2 {
        let attempt = deliver(format!("https://localhost:{port}/")).await;
        assert_eq!(attempt.outcomes, [Outcome::Delivered], "{}", attempt.detail);
    }
    assert_eq!(deliver(receiver.url("/")).await.outcomes, [Outcome::Delivered]);
    let mut large = event("EZ2");
    large.event = format!(r#"{{"id":"EZ2","data":{{"t":"{}"}}}}"#, "x".repeat(256 * 1024)).into();
    let attempt = driver.deliver(&post(&receiver.url("/")), &[large], NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Delivered], "{}", attempt.detail);
    assert_eq!(receiver.connections(), 2, "one for each spelling of the host");
    assert_signed(&receiver);
    assert_eq!(deliver(format!("https://127.0.0.2:{port}/")).await.outcomes, RETRY);
}

#[tokio::test]
async fn a_receiver_that_speaks_no_tls_is_a_retry() {
    let receiver = Receiver::start().await;
    let attempt = attempt(&receiver.url("/").replace("http:", "https:")).await;
    assert_eq!(attempt.outcomes, RETRY);
    assert!(attempt.detail.contains("127.0.0.1"), "{}", attempt.detail);
}
