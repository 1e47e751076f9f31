//! What becomes of the queue when its server is replaced, loses what it held, or is set up otherwise meanwhile.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use millrace_domain::{AccountSid, Mark, Partition};
use millrace_proto::internal::{Chunk, ChunkEvent};
use millrace_queue::{
    EntryId, Error, Member, Ownership, Queue, RedisOptions, RedisQueue, ReportKind, Settled,
    Settlement, Token, chunk::encode_marked,
};
use millrace_testkit::{
    eventually,
    redis::{Replicated, Server, ServerOptions},
};
use redis::cmd;
use tokio::time::Instant;
use uuid::Uuid;

const HOME: Partition = Partition(1);
const LEASE: Duration = Duration::from_secs(60);
/// Within which services are to heal.
const HEALED: Duration = Duration::from_secs(5);

fn options(url: String) -> RedisOptions {
    let response_timeout = Duration::from_millis(500);
    RedisOptions { url, partitions: 4, response_timeout, ..RedisOptions::default() }
}

async fn connect(options: RedisOptions) -> Arc<RedisQueue> {
    Arc::new(RedisQueue::connect(options).await.expect("connect"))
}

async fn append_in_time(queue: &RedisQueue, chunk: &'static str) -> EntryId {
    let chunk = Bytes::from_static(chunk.as_bytes());
    eventually("it is appended", || async { queue.append(HOME, chunk.clone()).await.ok() }).await
}

async fn ids(queue: &RedisQueue) -> Vec<EntryId> {
    let mut all = Vec::new();
    loop {
        let cursor = all.last().copied().unwrap_or_default();
        let found = queue.read(&[(HOME, cursor)], Duration::ZERO).await.expect("read");
        if found.is_empty() {
            return all;
        }
        all.extend(found.into_iter().map(|(_, entry)| entry.id));
    }
}

/// Appends from several callers, until one of each fails; gives what was accepted.
async fn append_until_it_fails(queue: &Arc<RedisQueue>) -> Vec<EntryId> {
    let one = || async {
        let mut accepted = Vec::new();
        while let Ok(id) = queue.append(HOME, Bytes::from_static(b"a")).await {
            accepted.push(id);
        }
        accepted
    };
    join_all((0..16).map(|_| one())).await.concat()
}

#[tokio::test]
async fn a_failover_with_replicas_waited_for_loses_nothing_that_was_accepted() {
    let mut servers = Replicated::start(false).await.expect("servers");
    let options = RedisOptions { wait_replicas: 1, ..options(servers.url()) };
    let queue = connect(RedisOptions { wait_timeout: HEALED, ..options.clone() }).await;
    let kill = async {
        let length = cmd("XLEN").arg("{mr:1}:ready").take();
        let much = || async {
            let length: usize = servers.primary.run(&length).await.ok()?;
            (length > 200).then_some(())
        };
        eventually("much is appended", much).await;
        servers.primary.kill();
    };
    let (accepted, ()) = tokio::join!(append_until_it_fails(&queue), kill);
    assert!(accepted.len() > 100, "{}", accepted.len());
    // No replica is left to wait for: another queue, that does not wait, looks.
    let queue = connect_in_time(RedisOptions { wait_replicas: 0, ..options }).await;
    append_in_time(&queue, "after").await;
    let there = ids(&queue).await;
    let lost = accepted.iter().filter(|id| !there.contains(id)).count();
    assert_eq!(lost, 0, "of {}", accepted.len());
}

async fn connect_in_time(options: RedisOptions) -> RedisQueue {
    eventually("it connects", || async { RedisQueue::connect(options.clone()).await.ok() }).await
}

#[tokio::test]
async fn an_append_that_too_few_replicas_have_in_time_is_not_accepted() {
    let servers = Replicated::start(false).await.expect("servers");
    // Enough for a replica that runs, on a machine that does other things too.
    let wait_timeout = Duration::from_secs(3);
    let waits = RedisOptions { wait_replicas: 1, wait_timeout, ..options(servers.url()) };
    let queue = connect(waits).await;
    let id = queue.append(HOME, Bytes::from_static(b"a")).await.expect("append");
    let there: usize = servers.replica.run(cmd("XLEN").arg("{mr:1}:ready")).await.expect("ask");
    assert_eq!(there, 1, "the replica has it by then");
    servers.replica.freeze();
    let calls = (0..20).map(|_| queue.append(HOME, Bytes::from_static(b"b")));
    for call in join_all(calls).await {
        let Err(Error::Unavailable { source, .. }) = call else { panic!("{call:?}") };
        assert_eq!(source.to_string(), "0 of 1 replicas have it in time");
    }
    // What needs no replica goes on.
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    let settlement = Settlement { entries: vec![id], ..Settlement::default() };
    assert_eq!(queue.settle(HOME, token, &settlement).await.expect("settle"), Settled::Done);
    servers.replica.thaw();
    append_in_time(&queue, "c").await;
}

/// Another router is asked for what one failed to have replicated: known is not accepted before a replica has it.
#[tokio::test]
async fn what_is_known_is_told_so_once_replicas_have_it() {
    let servers = Replicated::start(false).await.expect("servers");
    let wait_timeout = Duration::from_millis(200);
    let waits = RedisOptions { wait_replicas: 1, wait_timeout, ..options(servers.url()) };
    let (queue, other) = (connect(waits.clone()).await, connect(waits).await);
    let append = async |queue: &RedisQueue| {
        let chunk = Chunk { config_seq: 1, events: vec![ChunkEvent::default()] };
        let chunk = encode_marked(&chunk, &[Mark::of(AccountSid::from_u128(1), "a")]);
        queue.append_new(HOME, chunk, LEASE).await
    };
    servers.replica.freeze();
    for queue in [&queue, &other, &other] {
        let appended = append(queue).await;
        assert!(matches!(appended, Err(Error::Unavailable { .. })), "{appended:?}");
    }
    servers.replica.thaw();
    let known = eventually("a replica has it", || async { append(&other).await.ok() }).await;
    assert_eq!((known, ids(&queue).await.len()), (vec![0], 1));
}

#[tokio::test]
async fn a_primary_that_was_demoted_is_left_for_the_one_that_was_elected() {
    let servers = Replicated::start(false).await.expect("servers");
    let queue = connect(options(servers.url())).await;
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    let before = append_in_time(&queue, "before").await;
    let replicated = || async {
        let there = cmd("XLEN").arg("{mr:1}:ready").take();
        (servers.replica.run::<usize>(&there).await.ok()? == 1).then_some(())
    };
    eventually("the replica has it", replicated).await;
    let failover = cmd("SENTINEL").arg("FAILOVER").arg("millrace").take();
    // The sentinel looks at the replica every few seconds.
    let begun = || async { servers.sentinel.run::<()>(&failover).await.ok() };
    eventually("a failover begins", begun).await;
    // Until then it takes appends, which are lost with what it holds: that is what waiting for replicas is for.
    let demoted = || async {
        let info: String = servers.primary.run(cmd("INFO").arg("replication")).await.ok()?;
        info.contains("role:slave").then_some(())
    };
    eventually("the primary is demoted", demoted).await;
    let started = Instant::now();
    let after = append_in_time(&queue, "after").await;
    let there: usize = servers.replica.run(cmd("XLEN").arg("{mr:1}:ready")).await.expect("ask");
    let found = ids(&queue).await;
    // One whose answer did not come in time may be there as well.
    assert!(
        found.contains(&before) && found.contains(&after),
        "{before} {after} {found:?}, elected has {there}"
    );
    assert_eq!(there, found.len(), "all of it at the one that was elected");
    let (renewed, _) = queue.renew(&[HOME], token, LEASE).await.expect("renew");
    assert_eq!(renewed, [Ownership::Held], "the lease went along");
    println!("served again {:?} after it was demoted", started.elapsed());
}

/// Everything that a service does works again.
async fn heals(queue: &RedisQueue, token: Token) {
    let started = Instant::now();
    let member = Member { id: "d".into(), address: "http://d".into() };
    let owned = || async {
        queue.announce(&member, LEASE).await.ok()?;
        let (renewed, _) = queue.renew(&[HOME], token, LEASE).await.ok()?;
        assert_eq!(renewed, [Ownership::Lost], "nobody holds what is lost");
        let token = Token(Uuid::now_v7());
        let held = queue.acquire(&[HOME], token, LEASE).await.ok()?;
        (held == [Ownership::Held]).then_some(token)
    };
    let token = eventually("the partition is owned anew", owned).await;
    let id = append_in_time(queue, "anew").await;
    assert_eq!(ids(queue).await, [id]);
    let settlement = Settlement { entries: vec![id], ..Settlement::default() };
    assert_eq!(queue.settle(HOME, token, &settlement).await.expect("settle"), Settled::Done);
    eventually("reports are read", || async {
        queue.reports(ReportKind::Drops, "c", 10).await.ok()
    })
    .await;
    let set_up = || async { queue.now().await.ok().filter(|_| started.elapsed() > HEALED / 2) };
    eventually("it is looked at again", set_up).await;
    assert!(started.elapsed() < HEALED, "after {:?}", started.elapsed());
}

async fn is_set_up(server: &Server) {
    let read = cmd("HGET").arg("mr:meta").arg("partitions").take();
    let partitions: Option<u16> = server.run(&read).await.expect("ask");
    assert_eq!(partitions, Some(4));
}

#[tokio::test]
async fn a_redis_that_was_flushed_is_set_up_anew() {
    let server = Server::start(ServerOptions::default()).await.expect("a server");
    let queue = connect(options(server.url())).await;
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    queue.reports(ReportKind::Drops, "c", 10).await.expect("reports");
    append_in_time(&queue, "lost").await;
    server.run::<()>(&cmd("FLUSHALL")).await.expect("flush");
    heals(&queue, token).await;
    is_set_up(&server).await;
}

#[tokio::test]
async fn a_redis_that_came_back_empty_is_set_up_anew() {
    let mut server = Server::start(ServerOptions::default()).await.expect("a server");
    let queue = connect(options(server.url())).await;
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    queue.reports(ReportKind::Drops, "c", 10).await.expect("reports");
    append_in_time(&queue, "lost").await;
    server.kill();
    server.restart().await.expect("restart");
    heals(&queue, token).await;
    is_set_up(&server).await;
}

#[tokio::test]
async fn a_redis_that_is_paused_wedges_nothing() {
    let server = Server::start(ServerOptions::default()).await.expect("a server");
    let queue = connect(options(server.url())).await;
    let first = append_in_time(&queue, "first").await;
    let pause = cmd("CLIENT").arg("PAUSE").arg(2_000).arg("ALL").take();
    server.run::<()>(&pause).await.expect("pause");
    let paused = queue.append(HOME, Bytes::from_static(b"paused")).await;
    assert!(matches!(paused, Err(Error::Unavailable { .. })), "{paused:?}");
    let last = append_in_time(&queue, "last").await;
    let found = ids(&queue).await;
    assert_eq!((found.first(), found.last()), (Some(&first), Some(&last)));
}

#[tokio::test]
async fn a_redis_that_evicts_since_is_refused_on_the_next_connection() {
    let server = Server::start(ServerOptions::default()).await.expect("a server");
    let queue = connect(options(server.url())).await;
    append_in_time(&queue, "before").await;
    server.configure("maxmemory-policy", "allkeys-lru").await.expect("configure");
    let kill = cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes").take();
    server.run::<()>(&kill).await.expect("kill");
    let refused = || async {
        match queue.append(HOME, Bytes::from_static(b"a")).await {
            Err(Error::Refused(why)) => Some(why),
            _ => None,
        }
    };
    let why = eventually("it is refused", refused).await;
    assert!(why.ends_with("set it to `noeviction`"), "{why}");
    server.configure("maxmemory-policy", "noeviction").await.expect("configure");
    append_in_time(&queue, "after").await;
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_given_ca_vouches_for() {
    let server = Server::start_tls().await.expect("a server");
    let options = options(server.url());
    let tls_ca = server.tls_ca().map(<[u8]>::to_vec);
    let queue = connect(RedisOptions { tls_ca, ..options.clone() }).await;
    let id = append_in_time(&queue, "a").await;
    assert_eq!(ids(&queue).await, [id]);
    let stranger = RedisQueue::connect(options).await.map(drop);
    assert!(stranger.is_err(), "the system does not trust it");
}
