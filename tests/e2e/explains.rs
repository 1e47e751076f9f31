//! What is said of an event that nobody knows: what live deliverers were set to report and what they trimmed, as control-plane asked them,
//! and nothing better than is known where they were gone before.

use std::time::Duration;

use millrace_domain::{AccountSid, Partition};
use millrace_testkit::{
    eventually, eventually::eventually_within, receiver::Receiver, redis::ServerOptions,
};
use millrace_tests::{Kind, Mode, Options, Stack, event};
use uuid::Uuid;

/// Deliverers are asked once a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// More reports than are kept of a partition.
const TOO_MANY: usize = 10_500;
/// Storing that stops for so long does not go on.
const PAUSED: Duration = Duration::from_secs(6);

#[tokio::test]
async fn what_a_deliverer_is_set_to_report_is_noted() {
    let options = Options::default().set(&[("logs.attempts", "none")]);
    let stack = Stack::start(Mode::Servers, options).await;
    let id = id();
    eventually_within(PATIENCE, "the deliverer is asked", || async {
        said(&stack, &id).await.contains("(`logs.attempts` was `none`)").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_deliverer_trimmed_is_told_of_its_time() {
    let (mut stack, _receiver) = start().await;
    stack.process(Kind::ControlPlane).kill();
    let during = trim(&mut stack).await;
    stack.process(Kind::ControlPlane).restart().await;
    let told = eventually_within(PATIENCE, "the deliverer is asked", || async {
        Some(said(&stack, &during).await).filter(|told| told.contains("than could be stored"))
    })
    .await;
    assert!(!told.contains("none were trimmed"), "{told}");
}

#[tokio::test]
async fn what_a_deliverer_trimmed_that_is_gone_is_not_denied() {
    let (mut stack, _receiver) = start().await;
    stack.process(Kind::ControlPlane).kill();
    let during = trim(&mut stack).await;
    stack.process(Kind::Deliverer(0)).kill();
    tokio::time::sleep(PAUSED).await;
    stack.process(Kind::ControlPlane).restart().await;
    stack.process(Kind::Deliverer(0)).restart().await;
    let told = eventually_within(PATIENCE, "the deliverer that came is asked", || async {
        Some(said(&stack, &during).await).filter(|told| !told.contains("then was not noted"))
    })
    .await;
    let open = told.contains("may have been trimmed") || told.contains("a moment ago");
    assert!(open && !told.contains("none were trimmed"), "{told}");
}

/// Servers with a sink that takes what is published.
async fn start() -> (Stack, Receiver) {
    let options = Options { redis: Some(ServerOptions::default()), ..Options::default() };
    let stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    (stack, receiver)
}

/// Has the deliverer give up reports, while nobody reads them; gives an id of an event of that time.
async fn trim(stack: &mut Stack) -> String {
    let account: AccountSid = stack.identity.account_sid.parse().expect("a SID");
    let servers = stack.servers();
    let home = Partition::home_of(account, servers.partitions());
    let key = servers.key(home.0.into(), "attempts");
    let script = format!("for _ = 1, {TOO_MANY} do redis.call('XADD', KEYS[1], '*', 'r', '') end");
    let fill = ["EVAL", &script, "1", &key];
    let mut bytes = format!("*{}\r\n", fill.len());
    fill.iter().for_each(|word| bytes.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    servers.redis().load(bytes.as_bytes()).await.expect("Redis answers");
    let during = id();
    stack.publish([event("trims")]).await;
    let deliverer = stack.process_ref(Kind::Deliverer(0));
    eventually("reports are trimmed", || async {
        let metrics = deliverer.metrics().await;
        let counted = metrics.lines().find_map(|line| {
            line.strip_prefix("millrace_attempt_reports_trimmed_total ")?.parse::<f64>().ok()
        });
        counted.filter(|count| *count > 0.0)
    })
    .await;
    during
}

/// An id that tells its time, as of an event that a router accepts now.
fn id() -> String {
    format!("EZ{}", Uuid::now_v7().as_simple())
}

/// Why nothing is known of an event.
async fn said(stack: &Stack, id: &str) -> String {
    let answer = stack.rest().get(&format!("/v1/Events/{id}/Explanation")).await;
    assert!(matches!(answer.status, 404 | 503), "{answer:?}");
    answer.error().2.to_owned()
}
