//! What stands in the queue and is no chunk: it goes to quarantine, whole, and holds up nobody.

use std::collections::BTreeSet;

use bytes::Bytes;
use millrace_domain::Partition;
use millrace_proto::internal::{Chunk, ChunkEvent, Variant};
use millrace_queue::{Queue, chunk};
use millrace_testkit::receiver::Receiver;
use millrace_tests::{
    Kind, Load, Mode, Options, Random, Stack, Verdict, arrivals::queue_is_empty, scaled,
};

const LEASE: [(&str, &str); 2] = [("deliverer.lease", "2s"), ("deliverer.renew", "400ms")];

#[tokio::test]
async fn what_cannot_be_read_is_quarantined_and_the_rest_goes_on() {
    let mut stack = Stack::start(Mode::Servers, Options::default().set(&LEASE)).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(4, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    let (mut put, mut unsettled) = (BTreeSet::new(), 0);
    for round in 0..scaled(3, 30) {
        load.progress(40).await;
        for account in &accounts {
            let account = account.parse().expect("a SID");
            let home = Partition::home_of(account, stack.servers().partitions());
            for poison in poisons(&mut random) {
                stack
                    .servers()
                    .queue()
                    .await
                    .append(home, poison.clone())
                    .await
                    .expect("it is kept");
                put.insert(poison);
            }
        }
        // Whoever takes over meets them first.
        if round == 1 {
            stack.process(Kind::Deliverer(0)).kill();
            unsettled += stack.servers().unsettled_ids().await.len();
            stack.process(Kind::Deliverer(0)).restart().await;
        }
    }
    load.progress(40).await;
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert!(verdict.duplicates <= unsettled, "{} > {unsettled}", verdict.duplicates);
    queue_is_empty(&mut stack).await;
    let quarantined = stack.servers().quarantined().await;
    assert!(quarantined.iter().all(|(why, _)| !why.is_empty()), "each says why");
    let kept: BTreeSet<Bytes> = quarantined.into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(kept, put, "every byte of them is kept, and nothing else");
}

/// Bytes that are no chunk, each time others.
fn poisons(random: &mut Random) -> Vec<Bytes> {
    let mut noise = |length: u64| {
        let byte = |_| u8::try_from(random.between(0, 256)).expect("a byte");
        (0..length).map(byte).collect::<Vec<u8>>()
    };
    let event = |account: Vec<u8>, sinks: Vec<u8>| ChunkEvent {
        id: "poison".to_owned(),
        account: account.into(),
        variants: vec![Variant { sinks: sinks.into(), ..Variant::default() }],
        ..ChunkEvent::default()
    };
    let encode = |event| chunk::encode(&Chunk { config_seq: 0, events: vec![event] });
    let whole = encode(event(noise(16), noise(16)));
    vec![
        // A field of the wrong type, then anything.
        [vec![0xff], noise(40)].concat().into(),
        // Cut off within its last field.
        whole.slice(..whole.len() - 3),
        encode(event(noise(15), noise(16))),
        encode(event(noise(16), noise(17))),
        encode(ChunkEvent { account: noise(16).into(), ..ChunkEvent::default() }),
    ]
}
