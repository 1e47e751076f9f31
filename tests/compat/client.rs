//! The client crate against the whole product, by its own example.

use millrace_client::{Client, Credentials, v1};
use millrace_testkit::receiver::Receiver;
use millrace_tests::{Kind, Mode, Options, Stack};
use tonic::Code;

#[path = "../../libs/client/examples/accounts.rs"]
#[expect(dead_code, reason = "an example has a `main`")]
mod accounts;
#[path = "../../libs/client/examples/publish.rs"]
#[expect(dead_code, reason = "an example has a `main`")]
mod publish;

#[tokio::test]
async fn the_example_publishes_and_a_repeat_is_left_out() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let receiver = Receiver::start().await;
    let identity = &stack.identity;
    let arguments = [
        stack.url(Kind::ControlPlane),
        identity.account_sid.clone(),
        identity.auth_token.clone(),
        receiver.url("/example"),
    ];
    for outcome in ["goes to 1 sinks", "was published before"] {
        let mut lines = publish::run(&arguments).await.expect("it runs");
        lines.sort();
        let expected = (0..3).map(|n| format!("batch {}: example-{n} {outcome}", n + 1));
        assert_eq!(lines, expected.collect::<Vec<_>>());
    }
    receiver.until("all arrive", |receiver| receiver.accepted() == 3).await;
}

#[tokio::test]
async fn the_example_of_accounts_makes_a_key_that_only_publishes() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let identity = &stack.identity;
    let url = stack.url(Kind::ControlPlane);
    let arguments = [url, identity.account_sid.clone(), identity.auth_token.clone()];
    let lines = accounts::run(&arguments).await.expect("it runs");
    let expected =
        ["of the example has the key ingest", "it publishes", "a publish-only key may not do this"];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_refusal_names_its_field_and_wrong_credentials_are_told_at_once() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let url = stack.url(Kind::ControlPlane);
    let identity = &stack.identity;
    let credentials = Credentials::account(&identity.account_sid, &identity.auth_token);
    let client = Client::connect(&url, credentials).expect("an address");
    let refused = client.create_sink(v1::Sink::default()).await.expect_err("no configuration");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let wrong = Credentials::account(&identity.account_sid, "wrong");
    let stranger = Client::connect(&url, wrong).expect("an address");
    let refused = stranger.create_sink(v1::Sink::default()).await.expect_err("a stranger");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
}
