//! Backups: PostgreSQL from a dump (`pg_dump`, `psql`), Redis from its append-only file, while the other has gone on.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use millrace_proto::v1::publish_result::Outcome;
use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
    redis::ServerOptions,
};
use millrace_tests::{
    Kind, Load, Mode, Options, Published, Stack, Verdict,
    arrivals::{at, queue_is_empty},
    binary, event,
};
use tokio::time::sleep;

/// What a process that is killed may take along with `appendfsync everysec`: a flush that takes long holds up writes for 2 s
/// (<https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/>), and a second for this machine.
const AT_RISK: Duration = Duration::from_secs(3);

/// As the options of tests have it, and a second.
const LEASE: Duration = Duration::from_secs(7);

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

/// Publishes events to a sink that is down, and waits until they wait for it.
async fn parks(stack: &mut Stack, ids: [&str; 3]) {
    let before = stack.servers().parked_events().await;
    stack.publish(ids.map(event)).await;
    let servers = stack.servers();
    let wanted = before + 3;
    let started = Instant::now();
    while servers.parked_events().await < wanted {
        assert!(started.elapsed() < Duration::from_secs(30), "they are not parked");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn epoch(stack: &mut Stack) -> String {
    let epochs = stack.servers().database().texts("SELECT epoch::TEXT FROM meta").await;
    epochs.expect("Postgres answers").remove(0)
}

async fn arrived(receiver: &Receiver, path: &str, ids: [&str; 3]) {
    eventually(&format!("{path} gets what waited for it"), || async {
        let got = at(receiver, path);
        ids.iter().all(|id| got.contains(*id)).then_some(())
    })
    .await;
}

/// A backup from before a sink was made is restored, and then the newest one: the backlog of the sink that was not there
/// meanwhile is still there.
#[tokio::test]
async fn a_database_from_an_older_dump_purges_no_backlog() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    let files = tempfile::tempdir().expect("a directory");
    let (older, newer) = (files.path().join("older.sql"), files.path().join("newer.sql"));
    let kept = stack.subscribed(&receiver, "/kept").await;
    receiver.answer("/kept", Answer::status(503));
    parks(&mut stack, ["kept-1", "kept-2", "kept-3"]).await;
    stack.servers().database().dump(&older).expect("pg_dump");

    stack.subscribed(&receiver, "/later").await;
    stack.delete_sink(&kept).await;
    is_routed_to(&stack, 1).await;
    let started = Instant::now();
    while stack.servers().parked_events().await > 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "a deleted sink is not purged");
        sleep(Duration::from_millis(50)).await;
    }
    receiver.answer("/later", Answer::status(503));
    parks(&mut stack, ["later-1", "later-2", "later-3"]).await;
    stack.servers().database().dump(&newer).expect("pg_dump");
    let before = epoch(&mut stack).await;

    // As the documentation says: stopped, restored, told so, started. Publishing and delivery go on meanwhile.
    stack.process(Kind::ControlPlane).terminate().await;
    stack.publish([event("meanwhile")]).await;
    stack.servers().database().restore(&older).expect("psql");
    let said = stack.servers().migrate(&binary(), &["--restored"]).await;
    assert!(said.contains("a new epoch"), "{said}");
    assert_ne!(epoch(&mut stack).await, before);
    stack.process(Kind::ControlPlane).restart().await;
    let known = stack.subscribed(&receiver, "/known").await;
    is_routed_to(&stack, 2).await;
    eventually("the deliverer has what the database has", || async {
        at(&receiver, "/known").contains("asks").then_some(())
    })
    .await;
    let started = Instant::now();
    // What was published meanwhile may still be on its way there.
    while stack.servers().parked_events().await < 4 {
        assert!(started.elapsed() < Duration::from_secs(30), "something unknown is purged");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(stack.servers().dropped().await.iter().all(|drop| !drop.event_id.starts_with("later")));

    // Somebody restores the newer dump over that, and tells nobody.
    let before = epoch(&mut stack).await;
    let started = Instant::now();
    // It takes every table from those who are at work on them, which may end either of them.
    while let Err(error) = stack.servers().database().restore(&newer) {
        assert!(started.elapsed() < Duration::from_secs(60), "{error:#}");
    }
    while epoch(&mut stack).await == before || stack.process(Kind::ControlPlane).has_ended() {
        assert!(started.elapsed() < Duration::from_secs(120), "nobody notices");
        sleep(Duration::from_millis(200)).await;
    }
    receiver.answer("/later", Answer::ok());
    arrived(&receiver, "/later", ["later-1", "later-2", "later-3"]).await;
    is_routed_to(&stack, 1).await;
    // What was made between the dumps is lost, as is said.
    assert_eq!(stack.rest().get(&format!("/v1/Sinks/{}", known.sid)).await.status, 404);
}

/// What was deleted after the dump is back, with what still waited for it.
#[tokio::test]
async fn a_sink_of_the_dump_is_delivered_to_again() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    let files = tempfile::tempdir().expect("a directory");
    let dump = files.path().join("dump.sql");
    stack.subscribed(&receiver, "/all").await;
    receiver.answer("/all", Answer::status(503));
    parks(&mut stack, ["1", "2", "3"]).await;
    stack.servers().database().dump(&dump).expect("pg_dump");
    stack.process(Kind::ControlPlane).kill();
    let lost = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    stack.servers().database().execute(lost).await.expect("everything is lost");
    stack.publish([event("without a database")]).await;
    stack.servers().database().restore(&dump).expect("psql");
    stack.process(Kind::ControlPlane).restart().await;
    receiver.answer("/all", Answer::ok());
    arrived(&receiver, "/all", ["1", "2", "without a database"]).await;
    queue_is_empty(&mut stack).await;
}

fn with_redis(fsync: &str) -> Options {
    let arguments = vec!["--appendfsync".to_owned(), fsync.to_owned()];
    let redis = ServerOptions { durable: true, arguments, ..ServerOptions::default() };
    Options { redis: Some(redis), ..Options::default() }
}

/// Once a second: what was acknowledged in the last seconds is at risk, and nothing before.
#[tokio::test]
async fn a_redis_that_flushes_each_second_keeps_all_but_the_last_seconds_when_it_is_killed() {
    let mut stack = Stack::start(Mode::Servers, with_redis("everysec")).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    receiver.answer("/tenant-100", Answer::status(503));
    let load = Load::start(stack.platform_publishers(), &accounts);
    load.progress(1_200).await;
    let killed = Instant::now();
    stack.servers().redis().kill();
    stack.servers().redis().restart().await.expect("it starts again");
    load.progress(100).await;
    receiver.answer("/tenant-100", Answer::ok());
    let published = load.stop().await;
    let at_risk = |id: &String| {
        let sent = published.sent_at.get(id);
        sent.is_some_and(|sent| *sent < killed && killed.duration_since(*sent) < AT_RISK)
    };
    let acknowledged = published.acknowledged.iter().filter(|id| !at_risk(id)).cloned().collect();
    let safe = Published { acknowledged, ..published.clone() };
    assert!(!safe.acknowledged.is_empty(), "it went on for longer than that");
    Verdict::on(&mut stack, safe, &[&receiver]).await;
}

/// A copy of an hour ago: what it holds comes again, what came after it is lost, and everything works.
#[tokio::test]
async fn a_redis_from_an_older_copy_of_its_file_repeats_and_goes_on() {
    let mut stack = Stack::start(Mode::Servers, with_redis("always")).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    receiver.answer("/all", Answer::status(503));
    parks(&mut stack, ["1", "2", "3"]).await;
    queue_is_empty(&mut stack).await;
    let files = tempfile::tempdir().expect("a directory");
    let data = stack.servers().redis().directory().join("appendonlydir");
    copy(&data, &files.path().join("copy"));
    receiver.answer("/all", Answer::ok());
    arrived(&receiver, "/all", ["1", "2", "3"]).await;
    stack.publish([event("after the copy")]).await;
    arrived(&receiver, "/all", ["1", "2", "after the copy"]).await;
    queue_is_empty(&mut stack).await;
    assert_eq!(receiver.duplicates(), 0);

    // Nobody has a copy in place sooner: the leases in it are over.
    stack.servers().redis().stop();
    sleep(LEASE).await;
    std::fs::remove_dir_all(&data).expect("it was there");
    copy(&files.path().join("copy"), &data);
    stack.servers().redis().restart().await.expect("it starts");
    eventually("what was in the copy comes again", || async {
        (receiver.duplicates() == 3).then_some(())
    })
    .await;
    eventually("publishes are taken again", || async {
        stack.publisher(0).publish(vec![event("again")]).await.ok()
    })
    .await;
    arrived(&receiver, "/all", ["1", "again", "after the copy"]).await;
    queue_is_empty(&mut stack).await;
    assert_eq!(receiver.duplicates(), 3);
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp runs");
    assert!(done.success());
}
