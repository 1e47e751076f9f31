//! An auth token is replaced while events flow: at every moment one that a careful client and receiver know is good.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use millrace_testkit::receiver::{Answer, Receiver, Request};
use millrace_tests::{Member, Mode, Options, Publisher, Stack, arrivals::exactly, event};
use ring::hmac;
use serde_json::json;
use tonic::Code;

#[tokio::test]
async fn a_token_is_replaced_while_events_flow_embedded() {
    a_token_is_replaced_while_events_flow(Mode::Embedded).await;
}

#[tokio::test]
async fn a_token_is_replaced_while_events_flow_on_servers() {
    a_token_is_replaced_while_events_flow(Mode::Servers).await;
}

async fn a_token_is_replaced_while_events_flow(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let old = Member::first(&stack).subaccount(&stack).await;
    // As receivers do it: what no token that they know has signed, they refuse, and for good.
    let known = Arc::new(Mutex::new(vec![old.auth_token.clone()]));
    let tokens = Arc::clone(&known);
    receiver.judge("/hook", move |request| {
        let tokens = tokens.lock().expect("not poisoned");
        match tokens.iter().any(|token| is_signed(request, token)) {
            true => Answer::ok(),
            false => Answer::status(403),
        }
    });
    let configuration = json!({ "destination": receiver.url("/hook"), "method": "POST" });
    let sink = stack.sink_as(&old.basic(), configuration).await;
    old.subscribe(&stack, &sink, false).await;

    let mut producer = Producer { published: Vec::new() };
    producer.publish(&old.publisher(&stack)).await.expect("the one token there is");
    let new = old.second(&stack).await;
    stack.settled().await;
    known.lock().expect("not poisoned").push(new.auth_token.clone());
    for member in [&old, &new] {
        producer.publish(&member.publisher(&stack)).await.expect("both are accepted");
        assert_eq!(member.rest(&stack).get("/v1/Sinks").await.status, 200);
    }
    // Clients have the new one now, and go on publishing while it is promoted.
    let signs = AtomicBool::new(false);
    let by_new = |request: &Request| is_signed(request, &new.auth_token);
    let promote = async {
        let done = new.rest(&stack).post("/v1/AuthTokens/Promote", &[]).await;
        assert_eq!((done.status, done.text("/auth_token")), (200, &*new.auth_token));
        stack.note(&done);
        stack.settled().await;
        let signed = |receiver: &Receiver| receiver.requests().iter().any(by_new);
        receiver.until("the new token signs", signed).await;
        signs.store(true, Ordering::Release);
    };
    let publisher = new.publisher(&stack);
    let (mut producer, ()) = tokio::join!(flow(producer, &publisher, &signs), promote);

    let refused = producer.publish(&old.publisher(&stack)).await.expect_err("promoted away");
    assert_eq!(refused, Code::Unauthenticated);
    assert_eq!(old.rest(&stack).get("/v1/Sinks").await.status, 401);
    assert_eq!(new.rest(&stack).get("/v1/Sinks").await.status, 200);
    let before = receiver.requests().len();
    producer.publish(&new.publisher(&stack)).await.expect("the one token there is");
    exactly(&receiver, "/hook", &producer.published.into_iter().collect()).await;

    let requests = receiver.requests();
    let refused = requests.iter().filter(|request| !request.was_accepted()).count();
    assert_eq!(refused, 0, "a known token signed every request");
    assert!(!by_new(&requests[0]), "before, the old one signs");
    let last = requests.last().expect("there are some");
    assert!(requests.len() > before && by_new(last), "afterwards, the new one");
}

/// Publishes one event after another.
struct Producer {
    published: Vec<String>,
}

impl Producer {
    async fn publish(&mut self, publisher: &Publisher) -> Result<(), Code> {
        let id = format!("event-{}", self.published.len());
        let answer = publisher.publish(vec![event(&id)]).await;
        answer.map_err(|status| status.code())?;
        self.published.push(id);
        Ok(())
    }
}

async fn flow(mut producer: Producer, publisher: &Publisher, until: &AtomicBool) -> Producer {
    while !until.load(Ordering::Acquire) {
        producer.publish(publisher).await.expect("accepted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    producer
}

/// Whether `X-Twilio-Signature` is that of a token
/// (<https://www.twilio.com/docs/usage/webhooks/webhooks-security>).
fn is_signed(request: &Request, token: &str) -> bool {
    let (Some(host), Some(signature)) =
        (request.header("host"), request.header("x-twilio-signature"))
    else {
        return false;
    };
    let url = format!("http://{host}{}", request.target);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    BASE64_STANDARD.encode(hmac::sign(&key, url.as_bytes())) == signature
}
