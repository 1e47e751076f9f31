//! Deliverers that die: what the next owner does with what they left. A death is the end of a runtime: nothing more runs.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use millrace_deliverer::Settings;
use millrace_proto::internal::Resource;
use millrace_queue::{
    Class, Ownership, Place, Queue, RedisOptions, RedisQueue, ReportKind, SqliteOptions,
    SqliteQueue, Token,
};
use millrace_testkit::{
    eventually::eventually_eq,
    receiver::{Answer, Receiver},
    redis::Redis,
};
use support::{
    Deliverer, PARTITIONS, home, ids, park, parked_event, publish, settings, sink,
    until_all_is_settled, watch,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

/// A deliverer in a runtime of its own.
struct Life(Option<Runtime>);

impl Life {
    async fn start(settings: &Settings, queue: &Arc<dyn Queue>, resources: &[Resource]) -> Self {
        let runtime = Runtime::new().unwrap();
        let (settings, queue) = (settings.clone(), Arc::clone(queue));
        let watch = watch(resources.to_vec());
        let started =
            runtime.spawn(async move { Deliverer::start(&settings, &queue, watch).await.process });
        // Kept alive by its tasks.
        drop(started.await.unwrap());
        Self(Some(runtime))
    }

    /// Ends it at once: nothing is settled, nothing released.
    fn die(mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A queue in a file: the connection to one in memory may die with a life.
async fn durable() -> (TempDir, Arc<dyn Queue>) {
    let directory = tempfile::tempdir().unwrap();
    let path = Some(directory.path().join("queue.sqlite"));
    let options = SqliteOptions { path, partitions: PARTITIONS, ..SqliteOptions::default() };
    (directory, Arc::new(SqliteQueue::open(options).await.unwrap()))
}

async fn on(redis: &Redis) -> Arc<dyn Queue> {
    let options = RedisOptions {
        url: redis.url().to_owned(),
        prefix: redis.prefix().to_owned(),
        partitions: PARTITIONS,
        ..RedisOptions::default()
    };
    Arc::new(RedisQueue::connect(options).await.unwrap())
}

/// Leases that end soon.
fn mortal() -> Settings {
    let mut settings = settings();
    settings.deliverer.lease = Duration::from_secs(1);
    settings.deliverer.renew = Duration::from_millis(200);
    settings
}

async fn places(queue: &Arc<dyn Queue>) -> Vec<Place> {
    queue.quarantined(home()).await.unwrap().into_iter().map(|chunk| chunk.place).collect()
}

/// Starts deliverers that die as soon as they send to `/poison`, until one survives; tells how many died.
async fn deaths(queue: &Arc<dyn Queue>, receiver: &Receiver, resources: &[Resource]) -> usize {
    receiver.answer("/poison", Answer::ok().after(Duration::from_secs(20)));
    for deaths in 0..20 {
        let life = Life::start(&mortal(), queue, resources).await;
        let before = receiver.requests_to("/poison").len();
        loop {
            if receiver.requests_to("/poison").len() > before {
                life.die();
                break;
            }
            if !places(queue).await.is_empty() {
                until_all_is_settled(queue).await;
                assert_eq!(receiver.requests_to("/poison").len(), before, "it is not sent again");
                return deaths;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    panic!("nobody survives")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_ends_its_owners_is_quarantined_and_all_others_arrive() {
    let (receiver, (_directory, queue)) = (Receiver::start().await, durable().await);
    let resources =
        [sink(1, &receiver.url("/poison"), false), sink(2, &receiver.url("/good"), false)];
    for part in ids("before", 40).chunks(2) {
        publish(&queue, part.to_vec(), &[2]).await;
    }
    publish(&queue, ["poison".to_owned()], &[1]).await;
    for part in ids("after", 40).chunks(2) {
        publish(&queue, part.to_vec(), &[2]).await;
    }
    let deaths = deaths(&queue, &receiver, &resources).await;
    // Unsuspecting, with others, with many, with few unless those were few already, alone, once more.
    assert!((5..=6).contains(&deaths), "{deaths} died");
    let arrived: BTreeSet<_> =
        receiver.requests_to("/good").iter().flat_map(|r| r.ids.clone()).collect();
    assert_eq!(arrived.len(), 80);
    let found = queue.inherit(home()).await.unwrap();
    assert_eq!((found.notes, places(&queue).await.len()), (vec![], 1));
    eventually_eq(false, || async { queue.inherit(home()).await.unwrap().unclean }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_redriven_from_quarantine_is_delivered_under_its_id() {
    let (receiver, (_directory, queue)) = (Receiver::start().await, durable().await);
    let resources = [sink(1, &receiver.url("/poison"), false)];
    publish(&queue, ["poison".to_owned()], &[1]).await;
    deaths(&queue, &receiver, &resources).await;
    receiver.answer("/poison", Answer::ok());
    let places = places(&queue).await;
    assert_eq!(queue.redrive(home(), &places).await.unwrap(), 1);
    let life = Life::start(&mortal(), &queue, &resources).await;
    receiver.until("it is delivered", |r| r.accepted_ids().contains("poison")).await;
    until_all_is_settled(&queue).await;
    assert!(queue.quarantined(home()).await.unwrap().is_empty());
    life.die();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_chunk_that_ends_its_owners_is_quarantined_and_the_rest_of_the_backlog_arrives() {
    let (receiver, (_directory, queue)) = (Receiver::start().await, durable().await);
    let resources = [sink(1, &receiver.url("/poison"), false)];
    park(&queue, Class::Backlog, parked_event(&queue, "poison").await).await;
    let deaths = deaths(&queue, &receiver, &resources).await;
    assert_eq!(deaths, 5);
    assert!(matches!(places(&queue).await[..], [Place::Parked(_, Class::Backlog, _)]));
    assert_eq!(queue.inherit(home()).await.unwrap().notes, []);
}

async fn noted(queue: &Arc<dyn Queue>) -> Vec<u32> {
    queue.inherit(home()).await.unwrap().notes.into_iter().map(|(_, number)| number).collect()
}

/// Whether a note says that a process holds a chunk back that was in hand at three deaths, few others with it at the last.
fn holds_back(number: u32) -> bool {
    (number & 0xf, number & 0x10) == (3, 0x10)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_innocent_of_deaths_that_strike_while_it_is_held_back() {
    let (receiver, (_directory, queue)) = (Receiver::start().await, durable().await);
    for parked in [false, true] {
        let id = if parked { "parked" } else { "ready" };
        match parked {
            false => publish(&queue, [id.to_owned()], &[1]).await,
            true => park(&queue, Class::Backlog, parked_event(&queue, id).await).await,
        }
        let resources = [sink(1, &receiver.url(&format!("/{id}")), false)];
        receiver.answer(&format!("/{id}"), Answer::ok().after(Duration::from_secs(20)));
        let mut settings = mortal();
        settings.deliverer.quiet = Duration::from_secs(300);
        let (mut held_back, mut deaths) = (BTreeSet::new(), 0);
        while held_back.len() < 4 {
            let life = Life::start(&settings, &queue, &resources).await;
            let before = receiver.requests_to(&format!("/{id}")).len();
            deaths += 1;
            while receiver.requests_to(&format!("/{id}")).len() == before {
                // Each process has a mark of its own.
                if noted(&queue).await.iter().any(|n| holds_back(*n) && held_back.insert(*n)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            life.die();
        }
        assert!(deaths >= 9, "one is not forgiven, another had it in hand: {deaths}");
        receiver.answer(&format!("/{id}"), Answer::ok());
        let life = Life::start(&settings, &queue, &resources).await;
        receiver.until("it is delivered", |r| r.accepted_ids().contains(id)).await;
        until_all_is_settled(&queue).await;
        eventually_eq(vec![], || noted(&queue)).await;
        assert!(places(&queue).await.is_empty());
        life.die();
        // The next takeover has nothing to fear.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_loses_its_lease_and_takes_it_again_has_not_died() {
    let (receiver, redis) = (Receiver::start().await, Redis::start().await.unwrap());
    let queue = on(&redis).await;
    let resources = vec![sink(1, &receiver.url("/"), false)];
    receiver.answer("/", Answer::ok().after(Duration::from_secs(20)));
    publish(&queue, ["innocent".to_owned()], &[1]).await;
    let deliverer = Deliverer::start(&settings(), &queue, watch(resources)).await;
    for lost in 1..=8 {
        receiver.until("it is sent", |r| r.requests().len() >= lost).await;
        redis.end_lease(home().0).await.unwrap();
    }
    let found = queue.inherit(home()).await.unwrap();
    assert_eq!((found.unclean, found.notes), (false, vec![]));
    receiver.answer("/", Answer::ok());
    receiver.until("it is delivered", |r| r.accepted_ids().contains("innocent")).await;
    until_all_is_settled(&queue).await;
    assert!(places(&queue).await.is_empty());
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_owner_left_arrives_and_leaves_no_suspicion() {
    let (receiver, (_directory, queue)) = (Receiver::start().await, durable().await);
    let resources =
        [sink(1, &receiver.url("/"), false), sink(2, "http://127.0.0.1:9/nobody", false)];
    receiver.answer("/", Answer::ok().after(Duration::from_secs(20)));
    for part in ids("a", 2_000).chunks(2) {
        publish(&queue, part.to_vec(), &[1, 2]).await;
    }
    let first = Life::start(&mortal(), &queue, &resources).await;
    receiver.until("requests are open", |r| r.requests().len() >= 4).await;
    first.die();
    receiver.answer("/", Answer::ok());
    let second = Life::start(&mortal(), &queue, &resources).await;
    receiver.until("everything arrived", |r| r.accepted_ids().len() == 2_000).await;
    eventually_eq((0, false, 0), || async {
        let found = queue.inherit(home()).await.unwrap();
        (queue.depth().await.unwrap(), found.unclean, found.notes.len())
    })
    .await;
    assert!(places(&queue).await.is_empty());
    second.die();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_leaves_no_suspicion() {
    let (receiver, (_directory, queue)) = (Receiver::start().await, durable().await);
    let deliverer =
        Deliverer::start(&settings(), &queue, watch(vec![sink(1, &receiver.url("/"), false)]))
            .await;
    publish(&queue, ids("a", 10), &[1]).await;
    receiver.until("they arrived", |r| r.accepted() == 10).await;
    deliverer.stop().await;
    publish(&queue, ids("b", 10), &[1]).await;
    let token = Token(Uuid::now_v7());
    queue.acquire(&[home()], token, Duration::from_secs(5)).await.unwrap();
    let found = queue.inherit(home()).await.unwrap();
    assert_eq!((found.unclean, found.notes), (false, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_whose_lease_was_stolen_changes_nothing() {
    let (receiver, redis) = (Receiver::start().await, Redis::start().await.unwrap());
    let queue = on(&redis).await;
    let resources = vec![sink(1, &receiver.url("/"), false), sink(2, &receiver.url("/down"), true)];
    receiver.answer("/", Answer::ok().after(Duration::from_millis(200)));
    receiver.answer("/down", Answer::status(503));
    let mut settings = settings();
    // It does not notice before it has something to settle.
    settings.deliverer.renew = Duration::from_secs(1);
    let deliverer = Deliverer::start(&settings, &queue, watch(resources.clone())).await;
    for part in ids("a", 20).chunks(1) {
        publish(&queue, part.to_vec(), &[1, 2]).await;
    }
    receiver.until("requests are open", |r| r.requests_to("/").len() >= 20).await;
    let thief = Token(Uuid::now_v7());
    redis.end_lease(home().0).await.unwrap();
    let taken = queue.acquire(&[home()], thief, Duration::from_secs(60)).await.unwrap();
    assert_eq!(taken, [Ownership::Held]);
    let before = (queue.depth().await.unwrap(), queue.backlogs(home()).await.unwrap());
    queue.reports(ReportKind::Attempts, "test", 1_000).await.unwrap();
    // Once it has ended, it has tried everything.
    deliverer.stop().await;
    assert_eq!((queue.depth().await.unwrap(), queue.backlogs(home()).await.unwrap()), before);
    assert!(before.0 > 0, "something was unsettled");
    let (held, _) = queue.renew(&[home()], thief, Duration::from_secs(60)).await.unwrap();
    assert_eq!(held, [Ownership::Held], "the thief still holds it");
    let reports = queue.reports(ReportKind::Attempts, "test", 1_000).await.unwrap();
    assert!(reports.is_empty(), "nothing is told of what is not settled");
    queue.release(&[home()], thief).await.unwrap();
    receiver.answer("/down", Answer::ok());
    let next = Deliverer::start(&settings, &queue, watch(resources)).await;
    until_all_is_settled(&queue).await;
    assert_eq!(receiver.accepted_ids().len(), 20);
    next.stop().await;
}
