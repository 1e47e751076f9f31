//! A queue that fills up: publishes are told to come back, what was accepted is parked, drained and delivered.

use std::collections::BTreeSet;

use millrace_proto::v1::{Event, RejectionCode, publish_result::Outcome};
use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
    redis::ServerOptions,
};
use millrace_tests::{Mode, Options, Publisher, Random, Stack, cloud_event, event};
use tonic::Code;
use tonic_types::StatusExt;

use crate::arrivals::complete;

const MEGABYTE: u64 = 1024 * 1024;
const MAX_MEMORY: u64 = 32 * MEGABYTE;

/// An event of about 16 kB that does not compress to much less.
fn large(random: &mut Random, id: &str) -> Event {
    let noise: String =
        (0..1_000).map(|_| format!("{:016x}", random.between(0, u64::MAX))).collect();
    Event { data: format!(r#"{{"messageSid": "SM1", "body": "{noise}"}}"#), ..event(id) }
}

#[tokio::test]
async fn above_the_high_water_mark_publishes_wait_and_all_else_goes_on() {
    // Of one account, which may fill all of it.
    let options = Options { redis: Some(ServerOptions::default()), ..Options::default() };
    let mut stack =
        Stack::start(Mode::Servers, options.set(&[("queue.account_backlog_bytes", "0")])).await;
    let redis = stack.servers().redis();
    redis.configure("maxmemory", &MAX_MEMORY.to_string()).await.expect("it takes that");
    let receiver = Receiver::start().await;
    receiver.answer("/all", Answer::status(503));
    stack.subscribed(&receiver, "/all").await;
    stack.publish([event("first")]).await;

    let (mut random, mut accepted) = (Random::announced(), BTreeSet::from(["first".to_owned()]));
    let (publisher, mut number) = (stack.publisher(0), 0);
    let refused = loop {
        number += 1;
        let ids: Vec<String> = (0..20).map(|n| format!("{number}-{n}")).collect();
        let events = ids.iter().map(|id| large(&mut random, id)).collect();
        match publisher.publish(events).await {
            Ok(answer) => {
                // The last of the room may be gone before the router sees that.
                let kept =
                    answer.results.iter().zip(ids).filter(|(result, _)| is_kept(&result.outcome));
                accepted.extend(kept.map(|(_, id)| id));
            }
            Err(status) => break status,
        }
        assert!(number < 1_000, "it never fills up");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_error_details().retry_info().is_some());
    let json = cloud_event(millrace_tests::TYPE, "later").to_string();
    let headers = [("content-type", "application/cloudevents+json")];
    let answer = publisher.post(&headers, json).await;
    assert_eq!(answer.status, 429, "{answer:?}");

    // What waits is parked meanwhile, and drained with no room at all.
    let servers = stack.servers();
    eventually("all that was accepted is parked", || async {
        (servers.unsettled().await == 0).then_some(())
    })
    .await;
    let redis = stack.servers().redis();
    redis.configure("maxmemory", &(8 * MEGABYTE).to_string()).await.expect("it takes that");
    receiver.answer("/all", Answer::ok());
    complete(&accepted, &receiver).await;
    let redis = stack.servers().redis();
    redis.configure("maxmemory", &MAX_MEMORY.to_string()).await.expect("it takes that");
    eventually("there is room again", || async {
        publisher.publish(vec![event("again")]).await.ok()
    })
    .await;
    accepted.insert("again".to_owned());
    complete(&accepted, &receiver).await;
}

#[tokio::test]
async fn an_account_with_a_long_backlog_is_refused_alone() {
    let options = Options::default().set(&[("queue.account_backlog_bytes", "100000")]);
    let stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(2, &receiver).await;
    receiver.answer("/tenant-100", Answer::status(503));
    let publisher = &stack.platform_publishers()[0];
    let mut random = Random::announced();
    let mut number = 0;
    let mut accepted: [BTreeSet<String>; 2] = Default::default();
    let refused = loop {
        number += 1;
        let ids = [0, 1].map(|account| format!("{account}-{number}"));
        let of = |account: usize, event| Event { account_sid: accounts[account].clone(), ..event };
        let events = vec![of(0, large(&mut random, &ids[0])), of(1, event(&ids[1]))];
        let results = publisher.publish(events).await.expect("answered").results;
        let mut outcomes = results.into_iter().map(|result| result.outcome.expect("an outcome"));
        let first = outcomes.next().expect("two");
        assert!(matches!(outcomes.next(), Some(Outcome::Accepted(_))), "the other goes on");
        accepted[1].insert(ids[1].clone());
        match first {
            Outcome::Accepted(_) => accepted[0].insert(ids[0].clone()),
            Outcome::Rejected(rejected) => break rejected,
            Outcome::Duplicate(_) => panic!("nobody asked for that"),
        };
        assert!(number < 2_000, "it is never full");
    };
    assert_eq!(refused.code(), RejectionCode::ResourceExhausted);
    assert!(refused.message.contains(&accounts[0]), "{refused:?}");
    receiver.answer("/tenant-100", Answer::ok());
    let again = Event { account_sid: accounts[0].clone(), ..event("again") };
    eventually("it is taken again", || async {
        accepted_now(publisher, again.clone()).await.then_some(())
    })
    .await;
    accepted[0].insert("again".to_owned());
    for ids in accepted {
        complete(&ids, &receiver).await;
    }
}

fn is_kept(outcome: &Option<Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Accepted(_)))
}

async fn accepted_now(publisher: &Publisher, event: Event) -> bool {
    let answer = publisher.publish(vec![event]).await.expect("answered");
    is_kept(&answer.results[0].outcome)
}
