//! The queue on a cluster passes the suite, and outlives what a cluster does: slots that move, servers that go.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_domain::Partition;
use millrace_queue::{
    EntryId, Error, Ownership, Queue, RedisOptions, RedisQueue, Settlement, Token,
    conformance::{self, ATTEMPTS_MAX, Fixture, PARTITIONS, Store},
};
use millrace_testkit::{
    eventually,
    redis::{Cluster, prefix},
};
use tokio::time::sleep;
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_secs(1);

struct OnCluster(Cluster);

#[async_trait]
impl Fixture for OnCluster {
    async fn fresh(&self) -> Box<dyn Store> {
        Box::new(UnderPrefix(RedisOptions {
            prefix: prefix(),
            partitions: PARTITIONS,
            attempts_max: ATTEMPTS_MAX,
            ..options(&self.0)
        }))
    }
}

struct UnderPrefix(RedisOptions);

#[async_trait]
impl Store for UnderPrefix {
    async fn open(&self) -> Arc<dyn Queue> {
        Arc::new(RedisQueue::connect(self.0.clone()).await.expect("connect"))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

fn options(cluster: &Cluster) -> RedisOptions {
    RedisOptions { url: cluster.url(), partitions: 16, ..RedisOptions::default() }
}

fn partitions() -> Vec<Partition> {
    (0..16).map(Partition).collect()
}

async fn slots(cluster: &Cluster) -> Vec<u16> {
    let mut slots = Vec::new();
    for partition in partitions() {
        let key = format!("{{mr:{}}}:ready", partition.0);
        slots.push(cluster.slot_of(&key).await.expect("a slot"));
    }
    slots
}

async fn connect(cluster: &Cluster) -> Arc<RedisQueue> {
    Arc::new(RedisQueue::connect(options(cluster)).await.expect("connect"))
}

#[tokio::test]
async fn a_cluster_is_as_the_contract_says() {
    let cluster = OnCluster(Cluster::start(false).await.expect("a cluster"));
    conformance::ready(&cluster).await;
    conformance::marks(&cluster).await;
    conformance::room(&cluster).await;
    conformance::owners(&cluster).await;
    conformance::settlements(&cluster).await;
    conformance::parks(&cluster).await;
    conformance::reports(&cluster).await;
    conformance::crashes(&cluster).await;
    conformance::recovery(&cluster).await;
}

/// Appends in all partitions until told to stop; gives what was accepted.
async fn publish(queue: Arc<RedisQueue>, stop: Arc<tokio::sync::Notify>) -> BTreeSet<String> {
    let mut accepted = BTreeSet::new();
    let publish = async {
        for number in 0_u64.. {
            let partition = Partition(u16::try_from(number % 16).expect("small"));
            let chunk = format!("chunk-{number}");
            if queue.append(partition, Bytes::from(chunk.clone())).await.is_ok() {
                accepted.insert(chunk);
            }
        }
    };
    // Cut off inside an append, one more may be there than was accepted.
    tokio::select! { () = publish => {}, () = stop.notified() => {} }
    accepted
}

/// Reads and settles in all partitions until all of `stop` was read; gives how often each chunk was read.
async fn consume(queue: Arc<RedisQueue>, stop: Arc<tokio::sync::Notify>) -> Vec<String> {
    let token = Token(Uuid::now_v7());
    let mut read = Vec::new();
    let consume = async {
        let held = queue.acquire(&partitions(), token, LEASE).await.expect("acquire");
        assert!(held.iter().all(|held| *held == Ownership::Held));
        let mut cursors: Vec<_> =
            partitions().into_iter().map(|it| (it, EntryId::default())).collect();
        loop {
            let Ok(entries) = queue.read(&cursors, WAIT).await else { continue };
            for (partition, entry) in entries {
                cursors[usize::from(partition.0)].1 = entry.id;
                read.push(String::from_utf8(entry.chunk.to_vec()).expect("text"));
                let settlement = Settlement { entries: vec![entry.id], ..Settlement::default() };
                while let Err(error) = queue.settle(partition, token, &settlement).await {
                    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    };
    tokio::select! { () = consume => {}, () = stop.notified() => {} }
    read
}

/// Publishes and consumes while `meanwhile` happens, and for as long after as it takes to consume all; gives what was
/// accepted and how many chunks were read more often than once.
async fn under_load(
    queue: &Arc<RedisQueue>,
    meanwhile: impl Future<Output = ()>,
) -> (usize, usize) {
    let (published, consumed) = <(Arc<tokio::sync::Notify>, Arc<tokio::sync::Notify>)>::default();
    let faults = async {
        meanwhile.await;
        published.notify_one();
        eventually("all is settled", || async {
            queue.depth().await.ok().filter(|depth| *depth == 0)
        })
        .await;
        consumed.notify_one();
    };
    let publisher = publish(Arc::clone(queue), Arc::clone(&published));
    let consumer = consume(Arc::clone(queue), Arc::clone(&consumed));
    let (accepted, read, ()) = tokio::join!(publisher, consumer, faults);
    let once: BTreeSet<_> = read.iter().cloned().collect();
    let lost: Vec<_> = accepted.difference(&once).collect();
    assert!(lost.is_empty(), "lost {} of {}: {lost:?}", lost.len(), accepted.len());
    assert!(!accepted.is_empty());
    (accepted.len(), read.len() - once.len())
}

#[tokio::test]
async fn slots_that_move_under_load_lose_and_repeat_nothing() {
    let cluster = Cluster::start(false).await.expect("a cluster");
    let queue = connect(&cluster).await;
    let slots = slots(&cluster).await;
    let moves = async {
        for (number, slot) in slots.iter().enumerate() {
            let from = cluster.owner_of(*slot).await.expect("served");
            let to = (from + 1) % 3;
            cluster.open_slot(*slot, from, to).await.expect("open");
            if number % 4 == 0 {
                // For a while, new keys are there and old ones are here.
                sleep(Duration::from_millis(200)).await;
            }
            cluster.move_keys(*slot, from, to).await.expect("move");
            cluster.close_slot(*slot, from, to).await.expect("close");
        }
    };
    let (accepted, repeated) = under_load(&queue, moves).await;
    assert_eq!(repeated, 0, "of {accepted}");
}

#[tokio::test]
async fn a_primary_that_is_killed_is_replaced_and_its_partitions_go_on() {
    let mut cluster = Cluster::start_with_replicas(true).await.expect("a cluster");
    let queue = connect(&cluster).await;
    let home = Partition(0);
    let slot = slots(&cluster).await[0];
    let number = cluster.owner_of(slot).await.expect("served");
    let before = queue.append(home, Bytes::from_static(b"before")).await.expect("append");
    cluster.node(number).kill();
    let killed = Instant::now();
    let append = || async { queue.append(home, Bytes::from_static(b"after")).await.ok() };
    let after = eventually("its replica takes over", append).await;
    println!("served again after {:?}", killed.elapsed());
    let cursors = [(home, EntryId::default())];
    let found = queue.read(&cursors, Duration::ZERO).await.expect("read");
    let ids: Vec<_> = found.iter().map(|(_, entry)| entry.id).collect();
    // Without WAIT, what was appended just before may be lost with the primary.
    assert!(ids.contains(&after), "{ids:?} without {after}");
    println!("what was there before is {}", if ids.contains(&before) { "there" } else { "lost" });
    let held = queue.acquire(&partitions(), Token(Uuid::now_v7()), LEASE).await.expect("acquire");
    assert!(held.iter().all(|held| *held == Ownership::Held), "{held:?}");
}

#[tokio::test]
async fn a_primary_that_hangs_holds_up_its_own_partitions_only() {
    let cluster = Cluster::start(false).await.expect("a cluster");
    // Else the cluster as a whole is down when one of it is.
    for node in cluster.nodes() {
        node.configure("cluster-require-full-coverage", "no").await.expect("configure");
    }
    let options = RedisOptions { response_timeout: WAIT, ..options(&cluster) };
    let queue = RedisQueue::connect(options).await.expect("connect");
    let token = Token(Uuid::now_v7());
    queue.acquire(&partitions(), token, LEASE).await.expect("acquire");
    let mut owners = Vec::new();
    for slot in slots(&cluster).await {
        owners.push(cluster.owner_of(slot).await.expect("served"));
    }
    let cursors: Vec<_> = partitions().into_iter().map(|it| (it, EntryId::default())).collect();
    let nothing = queue.read(&cursors, WAIT).await.expect("read");
    assert!(nothing.is_empty(), "{nothing:?}");
    cluster.nodes()[2].freeze();
    let well = partitions().into_iter().zip(&owners).filter(|(_, owner)| **owner != 2);
    for (partition, _) in well {
        let id = queue.append(partition, Bytes::from_static(b"a")).await.expect("append");
        let started = Instant::now();
        let found = queue.read(&cursors, Duration::from_secs(20)).await.expect("read");
        assert!(found.iter().any(|(_, entry)| entry.id == id), "{found:?}");
        assert!(started.elapsed() < WAIT, "after {:?}", started.elapsed());
        let settlement = Settlement { entries: vec![id], ..Settlement::default() };
        queue.settle(partition, token, &settlement).await.expect("settle");
    }
    let (renewed, _) = queue.renew(&partitions(), token, LEASE).await.expect("renew");
    for (renewed, owner) in renewed.iter().zip(&owners) {
        let expected = if *owner == 2 { Ownership::Unknown } else { Ownership::Held };
        assert_eq!(*renewed, expected);
    }
    cluster.nodes()[2].thaw();
    let healed = || async {
        let (renewed, _) = queue.renew(&partitions(), token, LEASE).await.ok()?;
        renewed.iter().all(|renewed| *renewed == Ownership::Held).then_some(())
    };
    eventually("all leases are renewed", healed).await;
}

#[tokio::test]
async fn a_server_that_hangs_with_what_all_are_set_up_by_holds_up_its_own_partitions_only() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let cluster = Cluster::start(false).await.expect("a cluster");
    for node in cluster.nodes() {
        node.configure("cluster-require-full-coverage", "no").await.expect("configure");
    }
    let options = RedisOptions { response_timeout: PATIENCE, ..options(&cluster) };
    let queue = RedisQueue::connect(options).await.expect("connect");
    let meta = cluster.slot_of("mr:meta").await.expect("a slot");
    let hangs = cluster.owner_of(meta).await.expect("served");
    let mut well = Vec::new();
    for (partition, slot) in partitions().into_iter().zip(slots(&cluster).await) {
        if cluster.owner_of(slot).await.expect("served") != hangs {
            well.push(partition);
        }
    }
    cluster.nodes()[hangs].freeze();
    // It is looked at every 2 s, by whoever calls then: no call waits for it as long as for an answer.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        let append = queue.append(well[0], Bytes::from_static(b"a"));
        let appended = tokio::time::timeout(PATIENCE / 2, append).await;
        appended.expect("it is held up by another's server").expect("append");
        sleep(Duration::from_millis(50)).await;
    }
    cluster.nodes()[hangs].thaw();
}

#[tokio::test]
async fn a_reader_that_goes_back_finds_what_stands_there_and_then_what_comes() {
    let cluster = Cluster::start(false).await.expect("a cluster");
    let queue = connect(&cluster).await;
    let home = Partition(3);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(queue.append(home, Bytes::from_static(b"a")).await.expect("append"));
    }
    let from = async |after: EntryId| {
        let found = queue.read(&[(home, after)], WAIT).await.expect("read");
        found.into_iter().map(|(_, entry)| entry.id).collect::<Vec<_>>()
    };
    assert_eq!(from(ids[2]).await, [], "waits further on from here on");
    let mut found = Vec::new();
    while let Some(next) = from(found.last().copied().unwrap_or_default()).await.first() {
        found.push(*next);
    }
    assert_eq!(found, ids);
    let last = queue.append(home, Bytes::from_static(b"a")).await.expect("append");
    assert_eq!(from(ids[2]).await, [last]);
    assert_eq!(from(EntryId::default()).await.first(), Some(&ids[0]), "before what comes");
}

#[tokio::test]
async fn a_cluster_and_a_server_alone_are_not_taken_for_each_other() {
    let cluster = Cluster::start(false).await.expect("a cluster");
    let url = cluster.nodes()[0].url();
    let alone = RedisOptions { url, ..options(&cluster) };
    let refused = RedisQueue::connect(alone).await.map(drop).expect_err("a node");
    assert!(refused.to_string().contains("name it by `redis+cluster://`"), "{refused}");
    let partitions = RedisOptions { partitions: 17, ..options(&cluster) };
    connect(&cluster).await;
    let refused = RedisQueue::connect(partitions).await.map(drop).expect_err("another P");
    assert!(refused.to_string().contains("set up with 16 partitions"), "{refused}");
    cluster.nodes()[1].configure("maxmemory-policy", "allkeys-lru").await.expect("configure");
    let refused = RedisQueue::connect(options(&cluster)).await.map(drop).expect_err("it evicts");
    assert!(refused.to_string().ends_with("set it to `noeviction`"), "{refused}");
}
