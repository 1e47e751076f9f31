//! A chunk that its owners die of: it takes more memory to deliver than a deliverer has.

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::{AccountSid, Partition, SinkSid};
use millrace_proto::internal::{Chunk, ChunkEvent, Variant};
use millrace_queue::{Queue, chunk};
use millrace_testkit::receiver::Receiver;
use millrace_tests::{Kind, Load, Mode, Options, Stack, Verdict, arrivals::queue_is_empty};
use tokio::time::sleep;

const SETTINGS: [(&str, &str); 3] =
    [("deliverer.lease", "2s"), ("deliverer.renew", "400ms"), ("deliverer.quiet", "1s")];
const MEMORY: u64 = 256 * 1024 * 1024;
/// Each has a lane of its own: more than a gigabyte of them.
const SINKS: u128 = 400_000;

#[tokio::test]
async fn a_chunk_that_its_owners_die_of_is_quarantined_and_everything_else_arrives() {
    let mut stack = Stack::start(Mode::Servers, Options::default().set(&SETTINGS)).await;
    let deliverer = stack.process(Kind::Deliverer(0));
    deliverer.kill();
    deliverer.bound_memory(MEMORY);
    deliverer.restart().await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(4, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    load.progress(40).await;
    let account: AccountSid = accounts[0].parse().expect("a SID");
    let home = Partition::home_of(account, stack.servers().partitions());
    let poison = poison(account);
    stack.servers().queue().await.append(home, poison.clone()).await.expect("it is kept");
    let mut deaths = 0;
    while stack.servers().quarantined().await.is_empty() {
        if stack.process(Kind::Deliverer(0)).has_ended() {
            deaths += 1;
            assert!(deaths < 10, "it is not found");
            // It may die again before it is ready.
            stack.process(Kind::Deliverer(0)).launch();
        }
        sleep(Duration::from_millis(20)).await;
    }
    println!("{deaths} deliverers died of it");
    assert!(deaths >= 4, "it was not taken for poison before it was alone twice: {deaths}");
    load.progress(40).await;
    Verdict::of(&mut stack, load, &[&receiver]).await;
    queue_is_empty(&mut stack).await;
    let quarantined = stack.servers().quarantined().await;
    let [(why, bytes)] = quarantined.as_slice() else { panic!("{} chunks", quarantined.len()) };
    assert!(why.contains("died"), "{why}");
    assert!(*bytes == poison, "every byte of it is kept");
}

/// An event for more sinks than there are places for.
fn poison(account: AccountSid) -> Bytes {
    let event = ChunkEvent {
        id: "poison".to_owned(),
        account: chunk::account_bytes(account),
        r#type: "com.example.poison".to_owned(),
        variants: vec![Variant {
            schema_version: 1,
            event: Bytes::from_static(b"{}"),
            sinks: chunk::sinks_bytes((0..SINKS).map(|n| SinkSid::from_u128((1 << 100) | n))),
        }],
        ..ChunkEvent::default()
    };
    chunk::encode(&Chunk { config_seq: 1, events: vec![event] })
}
