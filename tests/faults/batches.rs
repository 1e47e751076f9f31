//! A batch that one event spoils: the culprit is found and dropped with a report, all others arrive, once.

use std::collections::BTreeSet;

use millrace_testkit::receiver::{Answer, Receiver};
use millrace_tests::{
    Mode, Options, Stack, TYPE, Verdict, arrivals::queue_is_empty, event, scaled,
};

#[tokio::test]
async fn an_event_that_spoils_its_batch_is_dropped_alone() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    let sink = stack.sink(&receiver, "/batched", true).await;
    stack.subscribe(&sink, &[TYPE]).await;
    let ids: Vec<String> = (0..scaled(900, 20_000)).map(|n| format!("e{n}")).collect();
    let culprits: BTreeSet<String> =
        ids.iter().step_by(ids.len() / 9).skip(1).take(6).cloned().collect();
    for (id, status) in culprits.iter().zip([400, 413, 422].into_iter().cycle()) {
        receiver.answer_event(id, Answer::status(status));
    }
    for batch in ids.chunks(300) {
        stack.publish(batch.iter().map(|id| event(id))).await;
    }
    let verdict = Verdict::on_ids(&mut stack, &ids, &[&receiver]).await;
    println!("{} requests", receiver.requests().len());
    assert_eq!(verdict.dropped, culprits);
    assert_eq!(verdict.duplicates, 0);
    queue_is_empty(&mut stack).await;
}
