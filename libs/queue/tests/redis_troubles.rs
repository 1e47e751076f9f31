//! What only Redis can do to us: be full, wrong, gone, frozen, forgetful, or shared with strangers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millrace_domain::{Partition, SinkSid, Timestamp};
use millrace_proto::internal::BacklogState;
use millrace_queue::{
    Class, EntryId, Error, Ownership, Park, ParkedId, ParkedQuery, Place, Queue, RedisOptions,
    RedisQueue, Settled, Settlement, Token,
};
use millrace_testkit::redis::{Server, ServerOptions};
use redis::{Cmd, aio::MultiplexedConnection, cmd};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const HOME: Partition = Partition(1);
const LEASE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(10);

async fn server(durable: bool) -> Server {
    Server::start(ServerOptions { durable, ..ServerOptions::default() })
        .await
        .expect("a Redis of its own")
}

fn options(server: &Server) -> RedisOptions {
    RedisOptions {
        url: server.url(),
        partitions: 4,
        response_timeout: Duration::from_millis(500),
        ..RedisOptions::default()
    }
}

async fn connect(server: &Server) -> Arc<dyn Queue> {
    Arc::new(RedisQueue::connect(options(server)).await.expect("connect"))
}

/// A connection past the queue.
async fn beside(server: &Server) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("connect")
}

async fn run(to: &mut MultiplexedConnection, command: &mut Cmd) {
    command.exec_async(to).await.expect("a command");
}

async fn refusal(options: RedisOptions) -> String {
    match RedisQueue::connect(options).await.map(drop) {
        Err(Error::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn park(text: &str) -> Park {
    Park {
        sink: SinkSid::from_u128(1),
        id: ParkedId(Uuid::now_v7()),
        class: Class::Backlog,
        at: Timestamp::from_millis(1),
        expires: Timestamp::from_millis(9_000_000_000_000),
        chunk: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// Appends as a caller does that tries again.
async fn append_in_time(queue: &dyn Queue, chunk: &'static str) -> EntryId {
    let deadline = Instant::now() + SOON;
    loop {
        match queue.append(HOME, Bytes::from_static(chunk.as_bytes())).await {
            Ok(id) => return id,
            Err(error) => assert!(Instant::now() < deadline, "still {error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_full_redis_takes_no_chunk_and_is_emptied_all_the_same() {
    let server = server(false).await;
    let queue = connect(&server).await;
    let token = Token(Uuid::now_v7());
    let id = append_in_time(&*queue, "first").await;
    run(&mut beside(&server).await, cmd("CONFIG").arg("SET").arg("maxmemory").arg("1mb")).await;
    let full = queue.append(HOME, Bytes::from_static(b"one too many")).await;
    assert!(matches!(full, Err(Error::Full)), "{full:?}");
    let held = queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    assert_eq!(held, [Ownership::Held]);
    queue.renew(&[HOME], token, LEASE).await.expect("renew");
    queue.reports(millrace_queue::ReportKind::Drops, "c", 1).await.expect("reports");
    let (waits, entries) = (park("first"), vec![id]);
    let parked = Settlement { entries, parks: vec![waits.clone()], ..Settlement::default() };
    assert_eq!(queue.settle(HOME, token, &parked).await.expect("park"), Settled::Done);
    let query = ParkedQuery { until: waits.at, limit: 1, skip: &[] };
    let found = queue.parked(HOME, waits.sink, waits.class, query).await.expect("parked");
    assert_eq!(found[0].chunk, Some(waits.chunk.clone()));
    let unparked = vec![(waits.sink, waits.class, waits.id)];
    let drained = Settlement { unparked, ..Settlement::default() };
    assert_eq!(queue.settle(HOME, token, &drained).await.expect("drain"), Settled::Done);
    queue.release(&[HOME], token).await.expect("release");
    run(&mut beside(&server).await, cmd("CONFIG").arg("SET").arg("maxmemory").arg("0")).await;
    append_in_time(&*queue, "room again").await;
}

#[tokio::test]
async fn a_redis_that_evicts_or_is_set_up_otherwise_is_refused() {
    let server = server(false).await;
    connect(&server).await;
    let partitions = refusal(RedisOptions { partitions: 8, ..options(&server) }).await;
    assert_eq!(partitions, "Redis is set up with 4 partitions, this process with 8: set it to 4");
    let mut beside = beside(&server).await;
    run(&mut beside, cmd("HSET").arg("mr:meta").arg("format").arg("2")).await;
    assert!(refusal(options(&server)).await.contains("format `2`"));
    run(&mut beside, cmd("HSET").arg("mr:meta").arg("format").arg("1")).await;
    let policy = |policy: &str| cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg(policy).take();
    run(&mut beside, &mut policy("allkeys-lru")).await;
    assert!(refusal(options(&server)).await.ends_with("set it to `noeviction`"));
    run(&mut beside, &mut policy("noeviction")).await;
    connect(&server).await;
}

#[tokio::test]
async fn a_redis_that_was_killed_is_found_again_with_all_it_accepted() {
    let mut server = server(true).await;
    let queue = connect(&server).await;
    let first = append_in_time(&*queue, "first").await;
    let waiting = {
        let queue = Arc::clone(&queue);
        async move { queue.read(&[(HOME, first)], Duration::from_secs(60)).await }
    };
    let outage = async {
        sleep(Duration::from_millis(50)).await;
        server.kill();
        let started = Instant::now();
        let down = queue.append(HOME, Bytes::from_static(b"down")).await;
        assert!(matches!(down, Err(Error::Unavailable { .. })), "{down:?}");
        assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
        server.restart().await.expect("restart");
        append_in_time(&*queue, "second").await
    };
    let (interrupted, second) = tokio::join!(waiting, outage);
    assert!(matches!(interrupted, Err(Error::Unavailable { .. })), "{interrupted:?}");
    let cursors = [(HOME, EntryId::default())];
    let found = queue.read(&cursors, Duration::from_secs(1)).await.expect("read");
    let ids: Vec<_> = found.iter().map(|(_, entry)| entry.id).collect();
    assert!(ids.contains(&first) && ids.contains(&second), "{ids:?}");
}

#[tokio::test]
async fn a_frozen_redis_fails_calls_in_time_and_serves_when_it_wakes() {
    let server = server(false).await;
    let queue = connect(&server).await;
    server.freeze();
    let started = Instant::now();
    let calls = (0..20).map(|_| queue.append(HOME, Bytes::from_static(b"frozen")));
    let calls = futures::future::join_all(calls).await;
    assert!(calls.iter().all(|call| matches!(call, Err(Error::Unavailable { .. }))));
    assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
    server.thaw();
    append_in_time(&*queue, "awake").await;
}

#[tokio::test]
async fn a_replica_is_waited_out_until_it_is_the_primary() {
    let server = server(false).await;
    let queue = connect(&server).await;
    let mut beside = beside(&server).await;
    run(&mut beside, cmd("REPLICAOF").arg("127.0.0.1").arg("1")).await;
    for _ in 0..3 {
        let refused = queue.append(HOME, Bytes::from_static(b"a")).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    }
    run(&mut beside, cmd("REPLICAOF").arg("NO").arg("ONE")).await;
    append_in_time(&*queue, "promoted").await;
}

#[tokio::test]
async fn a_waiting_read_wakes_for_any_of_a_thousand_partitions() {
    let server = server(false).await;
    let options = RedisOptions { partitions: 1_000, ..options(&server) };
    let queue = RedisQueue::connect(options).await.expect("connect");
    let mut cursors: Vec<_> = (0..1_000).map(|p| (Partition(p), EntryId::default())).collect();
    let started = Instant::now();
    for partition in [999, 0, 500] {
        let append = async {
            sleep(Duration::from_millis(50)).await;
            queue.append(Partition(partition), Bytes::from_static(b"a")).await.expect("append")
        };
        let (found, id) = tokio::join!(queue.read(&cursors, Duration::from_secs(60)), append);
        let found = found.expect("read");
        assert_eq!((found[0].0, found[0].1.id, found.len()), (Partition(partition), id, 1));
        cursors[usize::from(partition)].1 = id;
    }
    assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_brought_again() {
    let server = server(false).await;
    let queue = connect(&server).await;
    let token = Token(Uuid::now_v7());
    let mut beside = beside(&server).await;
    run(&mut beside, cmd("SCRIPT").arg("FLUSH")).await;
    let held = queue.acquire(&[HOME, Partition(2)], token, LEASE).await.expect("acquire");
    assert_eq!(held, [Ownership::Held; 2]);
    run(&mut beside, cmd("SCRIPT").arg("FLUSH")).await;
    let id = append_in_time(&*queue, "a").await;
    let settlement = Settlement { entries: vec![id], ..Settlement::default() };
    assert_eq!(queue.settle(HOME, token, &settlement).await.expect("settle"), Settled::Done);
}

#[tokio::test]
async fn what_a_stranger_put_into_ready_ends_in_quarantine() {
    let server = server(false).await;
    let queue = connect(&server).await;
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    let mut beside = beside(&server).await;
    run(&mut beside, cmd("XADD").arg("{mr:1}:ready").arg("*").arg("x").arg("y")).await;
    let cursors = [(HOME, EntryId::default())];
    let found = queue.read(&cursors, Duration::ZERO).await.expect("read");
    let entry = &found[0].1;
    millrace_queue::chunk::decode(entry.chunk.clone()).expect_err("no chunk");
    let quarantined = vec![(Place::Ready(entry.id), "no chunk".to_owned())];
    let settlement = Settlement { quarantined, ..Settlement::default() };
    queue.settle(HOME, token, &settlement).await.expect("settle");
    let kept = queue.quarantined(HOME).await.expect("quarantined");
    assert_eq!((kept[0].place, kept[0].reason.as_str()), (Place::Ready(entry.id), "no chunk"));
    let chunk = queue.quarantined_chunk(HOME, kept[0].place).await.expect("show");
    assert_eq!(chunk, Some(Bytes::from_static(b"x\ny")));
}

#[tokio::test]
async fn large_chunks_are_packed_in_ready_and_read_by_whoever_packs_or_not() {
    let server = server(false).await;
    let packing = connect(&server).await;
    let plain = RedisOptions { compress_ready: false, ..options(&server) };
    let plain: Arc<dyn Queue> = Arc::new(RedisQueue::connect(plain).await.expect("connect"));
    let token = Token(Uuid::now_v7());
    packing.acquire(&[HOME], token, LEASE).await.expect("acquire");
    let text = Bytes::from(br#"{"specversion":"1.0","type":"order"}"#.repeat(1_000));
    let packed = packing.append(HOME, text.clone()).await.expect("append");
    let whole = plain.append(HOME, text.clone()).await.expect("append");
    let mut beside = beside(&server).await;
    for (id, stored) in [(packed, 1..text.len() / 10), (whole, text.len()..text.len() + 1)] {
        let mut range = cmd("XRANGE");
        range.arg("{mr:1}:ready").arg(id.to_string()).arg(id.to_string());
        let found: Vec<(String, Vec<Vec<u8>>)> =
            range.query_async(&mut beside).await.expect("XRANGE");
        let bytes = found[0].1[1].len();
        assert!(stored.contains(&bytes), "{bytes} bytes");
    }
    for queue in [&packing, &plain] {
        let found = queue.read(&[(HOME, EntryId::default())], Duration::ZERO).await.expect("read");
        let found: Vec<_> = found.iter().map(|(_, entry)| (entry.id, &entry.chunk)).collect();
        assert_eq!(found, [(packed, &text), (whole, &text)]);
    }
    let place = Place::Ready(packed);
    let quarantined = vec![(place, "on purpose".to_owned())];
    let settlement = Settlement { quarantined, entries: vec![whole], ..Settlement::default() };
    packing.settle(HOME, token, &settlement).await.expect("settle");
    let shown = packing.quarantined_chunk(HOME, place).await.expect("show");
    assert_eq!(shown.as_ref(), Some(&text));
    assert_eq!(plain.redrive(HOME, &[place]).await.expect("redrive"), 1);
    let found = plain.read(&[(HOME, EntryId::default())], Duration::ZERO).await.expect("read");
    assert_eq!(found.iter().map(|(_, entry)| &entry.chunk).collect::<Vec<_>>(), [&text]);
}

#[tokio::test]
async fn a_settlement_that_redis_breaks_off_loses_nothing_and_is_done_by_its_repeat() {
    let server = server(false).await;
    let queue = connect(&server).await;
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    let drained = park("drained");
    let parks = vec![drained.clone()];
    queue.settle(HOME, token, &Settlement { parks, ..Settlement::default() }).await.expect("park");
    let (done, bad) = (append_in_time(&*queue, "a").await, append_in_time(&*queue, "b").await);
    let waits = Park { sink: SinkSid::from_u128(2), ..park("waits") };
    let settlement = Settlement {
        entries: vec![done],
        quarantined: vec![(Place::Ready(bad), "no chunk".to_owned())],
        unparked: vec![(drained.sink, drained.class, drained.id)],
        parks: vec![waits.clone()],
        ..Settlement::default()
    };
    let mut beside = beside(&server).await;
    let set = format!("{{mr:1}}:parked:{}", waits.sink);
    run(&mut beside, cmd("SET").arg(&set).arg("no sorted set")).await;
    let query = ParkedQuery { until: waits.expires, limit: 10, skip: &[] };
    for _ in 0..2 {
        queue.settle(HOME, token, &settlement).await.expect_err("it cannot park");
        assert_eq!(queue.depth().await.expect("depth"), 2, "what it consumes still stands");
        let left = queue.parked(HOME, drained.sink, Class::Backlog, query).await.expect("parked");
        assert_eq!(left[0].chunk, Some(Bytes::from_static(b"drained")));
    }
    run(&mut beside, cmd("DEL").arg(&set)).await;
    for expected in [Settled::Done, Settled::Already] {
        let settled = queue.settle(HOME, token, &settlement).await.expect("settle");
        assert_eq!(settled, expected);
        assert_eq!(queue.depth().await.expect("depth"), 0);
        assert_eq!(queue.quarantined(HOME).await.expect("quarantined").len(), 1);
        let kept = queue.parked(HOME, waits.sink, Class::Backlog, query).await.expect("parked");
        assert_eq!(kept[0].chunk, Some(Bytes::from_static(b"waits")));
        let gone = queue.parked(HOME, drained.sink, Class::Backlog, query).await.expect("parked");
        assert!(gone.is_empty(), "{gone:?}");
    }
}

#[tokio::test]
async fn a_damaged_parked_chunk_does_not_hide_the_others() {
    let server = server(false).await;
    let queue = connect(&server).await;
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    let (bad, good) = (park("bad"), park("good"));
    let parks = vec![bad.clone(), good.clone()];
    queue.settle(HOME, token, &Settlement { parks, ..Settlement::default() }).await.expect("park");
    let key = format!("{{mr:1}}:chunk:{}:{}", bad.sink, bad.id.0.simple());
    run(&mut beside(&server).await, cmd("SET").arg(key).arg("\u{1}no frame").arg("KEEPTTL")).await;
    let query = ParkedQuery { until: bad.expires, limit: 10, skip: &[] };
    let found = queue.parked(HOME, bad.sink, Class::Backlog, query).await.expect("parked");
    assert_eq!(found[1].chunk, Some(Bytes::from_static(b"good")));
    let damaged = found[0].chunk.clone().expect("it has not expired");
    millrace_queue::chunk::decode(damaged).expect_err("no chunk");
}

#[tokio::test]
async fn a_damaged_backlog_does_not_hide_the_others() {
    let server = server(false).await;
    let queue = connect(&server).await;
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    let state = BacklogState { failures: 7, ..BacklogState::default() };
    let [damaged, whole] = [1, 2].map(SinkSid::from_u128);
    let backlogs = vec![(damaged, Some(state.clone())), (whole, Some(state.clone()))];
    let settlement = Settlement { backlogs, ..Settlement::default() };
    queue.settle(HOME, token, &settlement).await.expect("settle");
    let mut spoil = cmd("HSET").arg("{mr:1}:backlogs").take();
    spoil.arg(damaged.to_string()).arg(b"\xff").arg(b"\xffno sink").arg("");
    run(&mut beside(&server).await, &mut spoil).await;
    let mut found = queue.backlogs(HOME).await.expect("backlogs");
    found.sort_by_key(|(sink, _)| *sink);
    assert_eq!(found, [(damaged, BacklogState::default()), (whole, state)]);
}

#[tokio::test]
async fn every_key_of_a_sink_that_is_drained_is_gone() {
    let server = server(false).await;
    let queue = connect(&server).await;
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    let waits = park("a");
    let state = BacklogState::default();
    let parked = Settlement {
        parks: vec![waits.clone()],
        backlogs: vec![(waits.sink, Some(state))],
        ..Settlement::default()
    };
    queue.settle(HOME, token, &parked).await.expect("park");
    let mut beside = beside(&server).await;
    let chunk = format!("{{mr:1}}:chunk:{}:{}", waits.sink, waits.id.0.simple());
    let expires: i64 = cmd("PEXPIRETIME").arg(&chunk).query_async(&mut beside).await.expect("ask");
    assert_eq!(expires, waits.expires.as_millis() + 86_400_000, "a day after its window");
    let drained = Settlement {
        unparked: vec![(waits.sink, waits.class, waits.id)],
        backlogs: vec![(waits.sink, None)],
        ..Settlement::default()
    };
    queue.settle(HOME, token, &drained).await.expect("drain");
    queue.release(&[HOME], token).await.expect("release");
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(&mut beside).await.expect("keys");
    assert_eq!(keys, ["mr:meta"]);
}

#[tokio::test]
async fn the_owner_is_written_with_its_address() {
    let server = server(false).await;
    let queue = connect(&server).await;
    let token = Token(Uuid::now_v7());
    let member =
        millrace_queue::Member { id: "d-1".into(), address: "http://10.0.0.1:8082".into() };
    queue.announce(&member, LEASE).await.expect("announce");
    queue.acquire(&[HOME], token, LEASE).await.expect("acquire");
    let mut beside = beside(&server).await;
    let owner: String = cmd("GET").arg("{mr:1}:owner").query_async(&mut beside).await.expect("get");
    assert_eq!(owner, format!("{} http://10.0.0.1:8082", token.0.simple()));
}
