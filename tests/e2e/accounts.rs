//! Accounts that are suspended keep what waits and go on later; accounts that are closed are over.

use millrace_proto::{
    internal::DropReason,
    v1::{Event, publish_result::Outcome},
};
use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
};
use millrace_tests::{
    Kind, Member, Mode, Options, Publisher, Sink, Stack,
    arrivals::{at, exactly, ids},
    event,
};
use tonic::Code;

#[tokio::test]
async fn a_suspended_account_publishes_nothing_and_gets_later_what_waited_embedded() {
    a_suspended_account_publishes_nothing_and_gets_later_what_waited(Mode::Embedded).await;
}

#[tokio::test]
async fn a_suspended_account_publishes_nothing_and_gets_later_what_waited_on_servers() {
    a_suspended_account_publishes_nothing_and_gets_later_what_waited(Mode::Servers).await;
}

#[tokio::test]
async fn what_a_closed_account_had_is_gone_and_nothing_is_delivered_embedded() {
    what_a_closed_account_had_is_gone_and_nothing_is_delivered(Mode::Embedded).await;
}

#[tokio::test]
async fn what_a_closed_account_had_is_gone_and_nothing_is_delivered_on_servers() {
    what_a_closed_account_had_is_gone_and_nothing_is_delivered(Mode::Servers).await;
}

/// An account whose sink is down, and two events that wait for it; and the same of another account, to which nothing happens.
struct Waiting {
    member: Member,
    sink: Sink,
    control: Member,
}

async fn waiting(stack: &Stack, receiver: &Receiver, member: Member) -> Waiting {
    let control = Member::standalone(stack).await;
    let sink = down(stack, receiver, &member, "/down").await;
    down(stack, receiver, &control, "/control").await;
    Waiting { member, sink, control }
}

/// Makes a sink that is down, and has two events parked for it.
async fn down(stack: &Stack, receiver: &Receiver, member: &Member, path: &str) -> Sink {
    receiver.answer(path, Answer::status(503));
    let sink = member.sink(stack, receiver, path).await;
    member.subscribe(stack, &sink, false).await;
    let events = vec![event("one"), event("two")];
    let accepted = member.publisher(stack).publish(events).await.expect("accepted");
    assert_eq!(accepted.results.len(), 2);
    let status = format!("/v1/Sinks/{}/Status", sink.sid);
    eventually("both events wait", || async {
        let answer = member.rest(stack).get(&status).await;
        (answer.body["backlog_events"] == 2).then_some(())
    })
    .await;
    sink
}

impl Waiting {
    /// Brings both receivers up, and waits until what waited for the control's sink has arrived: what is due by then and has not
    /// arrived is kept, or gone.
    async fn up(&self, stack: &Stack, receiver: &Receiver) {
        for path in ["/down", "/control"] {
            receiver.answer(path, Answer::ok());
        }
        exactly(receiver, "/control", &ids(["one", "two"])).await;
        let published = self.control.publisher(stack).publish(vec![event("three")]).await;
        published.expect("accepted");
        exactly(receiver, "/control", &ids(["one", "two", "three"])).await;
    }
}

/// Publishes an event of `member` by its own credentials and by the platform key: why it is refused.
async fn refusals(stack: &Stack, member: &Member) -> (Code, String) {
    let own = member.publisher(stack).publish(vec![event("refused")]).await;
    let platform = Publisher::new(&stack.url(Kind::Router(0)), &stack.identity.bearer());
    let named = Event { account_sid: member.sid.clone(), ..event("refused") };
    let answer = platform.publish(vec![named]).await.expect("an answer");
    let Some(Outcome::Rejected(rejected)) = &answer.results[0].outcome else {
        panic!("not refused: {answer:?}");
    };
    (own.expect_err("refused").code(), rejected.message.clone())
}

async fn a_suspended_account_publishes_nothing_and_gets_later_what_waited(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let parent = Member::first(&stack);
    let it = waiting(&stack, &receiver, parent.subaccount(&stack).await).await;
    it.member.turn(&stack, "suspended").await;
    assert_eq!(
        refusals(&stack, &it.member).await,
        (Code::PermissionDenied, "is suspended".to_owned())
    );
    assert_eq!(it.member.rest(&stack).get("/v1/Sinks").await.error().1, 20005);
    it.up(&stack, &receiver).await;
    assert!(at(&receiver, "/down").is_empty(), "nothing is delivered while it is suspended");

    it.member.turn(&stack, "active").await;
    exactly(&receiver, "/down", &ids(["one", "two"])).await;
    let published = it.member.publisher(&stack).publish(vec![event("three")]).await;
    published.expect("it publishes again");
    exactly(&receiver, "/down", &ids(["one", "two", "three"])).await;
}

async fn what_a_closed_account_had_is_gone_and_nothing_is_delivered(mode: Mode) {
    let mut stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let parent = Member::standalone(&stack).await;
    let it = waiting(&stack, &receiver, parent.subaccount(&stack).await).await;
    let key = it.member.key(&stack, "main").await;
    // A parent takes its subaccounts along.
    parent.turn(&stack, "closed").await;
    for member in [&parent, &it.member] {
        let refused = (Code::PermissionDenied, "is closed".to_owned());
        assert_eq!(refusals(&stack, member).await, refused);
        assert_eq!(member.rest(&stack).get("/v1/Sinks").await.error().1, 20005);
    }
    assert_eq!(stack.rest_as(Some(&key)).get("/v1/Sinks").await.status, 401, "keys are deleted");
    let by_key = Publisher::new(&stack.url(Kind::Router(0)), &key);
    let refused = by_key.publish(vec![event("refused")]).await.expect_err("a key that is gone");
    assert_eq!(refused.code(), Code::Unauthenticated);

    it.up(&stack, &receiver).await;
    if mode == Mode::Servers {
        let servers = &*stack.servers();
        let dropped = eventually("both events are dropped with reports", || async {
            Some(servers.dropped().await).filter(|dropped| dropped.len() == 2)
        })
        .await;
        assert!(dropped.iter().all(|drop| drop.reason == DropReason::AccountClosed), "{dropped:?}");
        assert_eq!(servers.parked_events().await, 0, "nothing waits for anybody");
    }
    assert!(at(&receiver, "/down").is_empty(), "nothing is delivered to it any more");
    let path = format!("/v1/Sinks/{}", it.sink.sid);
    assert_eq!(stack.rest_as(Some(&stack.identity.bearer())).get(&path).await.status, 404);
    let again = stack.rest_as(Some(&stack.identity.bearer()));
    let path = format!("/2010-04-01/Accounts/{}.json", it.member.sid);
    let refused = again.post(&path, &[("Status", "active")]).await;
    assert_eq!(refused.error().1, 20005, "closed is for good");
}
