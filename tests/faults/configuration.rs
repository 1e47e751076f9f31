//! What the configuration lives through: a control-plane that is not there while it changes, a change log that is compacted, a
//! database that is restored. Whoever watches has the right table afterwards, without a restart.

use millrace_proto::v1::publish_result::Outcome;
use millrace_testkit::{eventually, receiver::Receiver};
use millrace_tests::{Kind, Mode, Options, Stack, event};

/// Keeps what there is, as a backup does.
const BACK_UP: &str = "CREATE SCHEMA kept;
    CREATE TABLE kept.meta AS TABLE meta;
    CREATE TABLE kept.changes AS TABLE changes;
    CREATE TABLE kept.sinks AS TABLE sinks;
    CREATE TABLE kept.subscriptions AS TABLE subscriptions;";
/// Brings it back, under another epoch, as a restore does.
const RESTORE: &str = "BEGIN;
    DELETE FROM subscriptions WHERE sid NOT IN (SELECT sid FROM kept.subscriptions);
    DELETE FROM sinks WHERE sid NOT IN (SELECT sid FROM kept.sinks);
    TRUNCATE changes;
    INSERT INTO changes SELECT * FROM kept.changes;
    UPDATE meta SET epoch = kept.epoch + 2, seq = kept.seq, compacted_through = kept.compacted_through
      FROM kept.meta AS kept;
    COMMIT;";
/// As [`RESTORE`], by somebody who forgot the epoch: what watchers have is of the future then.
const RESTORE_PLAINLY: &str = "BEGIN;
    DELETE FROM subscriptions WHERE sid NOT IN (SELECT sid FROM kept.subscriptions);
    DELETE FROM sinks WHERE sid NOT IN (SELECT sid FROM kept.sinks);
    TRUNCATE changes;
    INSERT INTO changes SELECT * FROM kept.changes;
    UPDATE meta SET seq = kept.seq, compacted_through = kept.compacted_through
      FROM kept.meta AS kept;
    COMMIT;";
/// A change whose entry in the log is gone already when somebody comes back who missed it.
const CHANGE_AND_COMPACT: &str = "BEGIN;
    DELETE FROM subscriptions WHERE sid = (SELECT max(sid) FROM subscriptions);
    UPDATE meta SET seq = seq + 5, compacted_through = seq + 5;
    TRUNCATE changes;
    COMMIT;";

/// Publishes events until one is routed to so many sinks.
async fn is_routed_to(stack: &Stack, sinks: u32) {
    let publisher = stack.publisher(0);
    eventually(&format!("events are routed to {sinks} sinks"), || async {
        let answer = publisher.publish(vec![event("asks")]).await.ok()?;
        let outcome = answer.results.first()?.outcome.as_ref()?;
        matches!(outcome, Outcome::Accepted(accepted) if accepted.sinks == sinks).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_restored_database_gives_everybody_what_it_has() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    stack.servers().database().execute(BACK_UP).await.expect("backs up");
    for restore in [RESTORE, RESTORE_PLAINLY] {
        stack.subscribed(&receiver, "/later").await;
        is_routed_to(&stack, 2).await;
        stack.servers().database().execute(restore).await.expect("restores");
        is_routed_to(&stack, 1).await;
    }
    // What changes from then on is in force as before.
    stack.subscribed(&receiver, "/again").await;
    is_routed_to(&stack, 2).await;
    stack.publish([event("again")]).await;
    eventually("the deliverer knows the new sink too", || async {
        millrace_tests::arrivals::at(&receiver, "/again").contains("again").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_missed_what_the_log_no_longer_has_takes_a_snapshot() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    stack.subscribed(&receiver, "/later").await;
    is_routed_to(&stack, 2).await;
    stack.process(Kind::ControlPlane).kill();
    stack.servers().database().execute(CHANGE_AND_COMPACT).await.expect("changes");
    // Publishing goes on by what is known.
    is_routed_to(&stack, 2).await;
    stack.process(Kind::ControlPlane).restart().await;
    is_routed_to(&stack, 1).await;
    stack.subscribed(&receiver, "/again").await;
    is_routed_to(&stack, 2).await;
    stack.publish([event("again")]).await;
    eventually("the deliverer knows the new sink too", || async {
        millrace_tests::arrivals::at(&receiver, "/again").contains("again").then_some(())
    })
    .await;
}
