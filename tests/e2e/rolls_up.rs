//! A parent's subscription may take its subaccounts' events; nobody else's, and not once it is switched off.

use std::collections::BTreeSet;

use millrace_proto::v1::publish_result::Outcome;
use millrace_testkit::receiver::Receiver;
use millrace_tests::{
    Member, Mode, Options, Stack, TYPE,
    arrivals::{exactly, ids},
    event,
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_parent_gets_its_subaccounts_events_and_no_others_embedded() {
    a_parent_gets_its_subaccounts_events_and_no_others(Mode::Embedded).await;
}

#[tokio::test]
async fn a_parent_gets_its_subaccounts_events_and_no_others_on_servers() {
    a_parent_gets_its_subaccounts_events_and_no_others(Mode::Servers).await;
}

async fn a_parent_gets_its_subaccounts_events_and_no_others(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let parent = Member::first(&stack);
    let (child, sibling) = (parent.subaccount(&stack).await, parent.subaccount(&stack).await);
    let stranger = Member::standalone(&stack).await;
    let niece = stranger.subaccount(&stack).await;

    let sink = parent.sink(&stack, &receiver, "/parent").await;
    let rolled = parent.subscribe(&stack, &sink, true).await;
    assert_eq!(rolled.body["include_subaccounts"], true);
    let sink = parent.sink(&stack, &receiver, "/own").await;
    let own = parent.subscribe(&stack, &sink, false).await;
    assert_eq!(own.body.get("include_subaccounts"), None, "what is Twilio's looks like Twilio's");
    for (member, path, includes) in [
        (&child, "/child", false),
        (&sibling, "/sibling", false),
        (&stranger, "/stranger", true),
        (&niece, "/niece", false),
    ] {
        let sink = member.sink(&stack, &receiver, path).await;
        member.subscribe(&stack, &sink, includes).await;
        if !includes {
            let types = json!({ "type": TYPE }).to_string();
            let form = [
                ("Description", "of a subaccount"),
                ("SinkSid", &*sink.sid),
                ("Types", &types),
                ("IncludeSubaccounts", "true"),
            ];
            let refused = member.rest(&stack).post("/v1/Subscriptions", &form).await;
            assert_eq!(refused.error().1, 91101, "a subaccount has none: {refused:?}");
        }
    }

    for (member, id, sinks) in [
        (&parent, "of-parent", 2),
        // A subaccount is not told of its parent's sinks.
        (&child, "of-child", 1),
        (&sibling, "of-sibling", 1),
        (&stranger, "of-stranger", 1),
        (&niece, "of-niece", 1),
    ] {
        assert_eq!(published(&stack, member, id).await, sinks, "{id}");
    }
    let expected: [(&str, BTreeSet<String>); 6] = [
        ("/parent", ids(["of-parent", "of-child", "of-sibling"])),
        ("/own", ids(["of-parent"])),
        ("/child", ids(["of-child"])),
        ("/sibling", ids(["of-sibling"])),
        ("/stranger", ids(["of-stranger", "of-niece"])),
        ("/niece", ids(["of-niece"])),
    ];
    for (path, ids) in &expected {
        exactly(&receiver, path, ids).await;
    }
    assert_eq!(account_of(&receiver, "/parent", "of-parent"), Value::Null);
    assert_eq!(account_of(&receiver, "/parent", "of-child"), child.sid);
    assert_eq!(account_of(&receiver, "/parent", "of-sibling"), sibling.sid);
    assert_eq!(account_of(&receiver, "/child", "of-child"), Value::Null, "it is its own");

    let path = format!("/v1/Subscriptions/{}", rolled.text("/sid"));
    let off = parent.rest(&stack).post(&path, &[("IncludeSubaccounts", "false")]).await;
    assert_eq!((off.status, off.body.get("include_subaccounts")), (200, None), "{off:?}");
    stack.note(&off);
    stack.settled().await;
    for (member, id) in [(&child, "late-of-child"), (&parent, "late-of-parent")] {
        published(&stack, member, id).await;
    }
    exactly(&receiver, "/child", &ids(["of-child", "late-of-child"])).await;
    let own = ids(["of-parent", "of-child", "of-sibling", "late-of-parent"]);
    exactly(&receiver, "/parent", &own).await;
    // All has arrived by now, and nothing else.
    for (path, ids) in &expected[3..] {
        exactly(&receiver, path, ids).await;
    }
}

/// Publishes an event of an account, by its own credentials; tells how many sinks the router says get it.
async fn published(stack: &Stack, member: &Member, id: &str) -> u32 {
    let answer = member.publisher(stack).publish(vec![event(id)]).await.expect("an answer");
    match &answer.results[0].outcome {
        Some(Outcome::Accepted(accepted)) => accepted.sinks,
        other => panic!("{id}: {other:?}"),
    }
}

/// Whose an event says that it is, where it was delivered.
fn account_of(receiver: &Receiver, path: &str, id: &str) -> Value {
    let requests = receiver.requests_to(path);
    let mut events = requests.iter().flat_map(|request| request.events());
    let event = events.find(|event| event["id"] == id).expect("delivered");
    event.get("accountsid").cloned().unwrap_or_default()
}
