//! The bytes of a chunk: those that were ever stored stay readable, and no bytes can harm the reader.

use bytes::Bytes;
use millrace_domain::{AccountSid, SinkSid};
use millrace_proto::internal::{Chunk, ChunkEvent, Variant};
use millrace_queue::chunk;
use proptest::{collection::vec, prelude::*};

/// Bytes as stored by the first version, in hex. Never to be changed: chunks of it may stand in any queue.
const CHUNK_V1: &str = include_str!("fixtures/chunk-v1.hex");

fn chunk_v1() -> Chunk {
    let variant = |version, event: &'static str, sinks: &[u128]| Variant {
        schema_version: version,
        event: Bytes::from_static(event.as_bytes()),
        sinks: chunk::sinks_bytes(sinks.iter().copied().map(SinkSid::from_u128)),
    };
    Chunk {
        config_seq: 42,
        events: vec![
            ChunkEvent {
                id: "EZ0190c2a1b2c37d3e8f00112233445566".into(),
                account: chunk::account_bytes(AccountSid::from_u128(0xa1)),
                r#type: "com.twilio.messaging.message.delivered".into(),
                traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
                variants: vec![
                    variant(1, r#"{"specversion":"1.0","data":{}}"#, &[0xd1, 0xd2]),
                    variant(2, r#"{"specversion":"1.0","data":{"a":"é"}}"#, &[0xd3]),
                ],
                accepted_ms: 0,
                attempts: 0,
            },
            ChunkEvent {
                id: "parked".into(),
                account: chunk::account_bytes(AccountSid::from_u128(u128::MAX)),
                r#type: "t".into(),
                traceparent: String::new(),
                variants: vec![variant(0, "{}", &[u128::MAX])],
                accepted_ms: 1_767_322_984_678,
                attempts: 3,
            },
        ],
    }
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| {
        u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("two hex digits")
    };
    digits.chunks(2).map(byte).collect()
}

#[test]
fn chunks_of_the_first_version_are_read_for_ever() {
    let stored = unhex(CHUNK_V1);
    assert_eq!(chunk::decode(stored.clone()).expect("readable"), chunk_v1());
    assert_eq!(chunk::encode(&chunk_v1()), stored, "and still written so");
}

#[test]
fn events_are_slices_of_the_bytes_they_came_in() {
    let stored = unhex(CHUNK_V1);
    let chunk = chunk::decode(stored.clone()).expect("readable");
    let event = &chunk.events[0].variants[0].event;
    assert!(stored.as_ptr_range().contains(&event.as_ptr()), "the event was copied");
    let sinks: Vec<_> = chunk::sinks_of(&chunk.events[0].variants[0]).collect();
    assert_eq!(sinks, [SinkSid::from_u128(0xd1), SinkSid::from_u128(0xd2)]);
    assert_eq!(chunk::account_of(&chunk.events[0]), Some(AccountSid::from_u128(0xa1)));
}

#[test]
fn what_is_half_a_chunk_is_unreadable() {
    let broken = |change: fn(&mut ChunkEvent)| {
        let mut chunk = chunk_v1();
        change(&mut chunk.events[1]);
        chunk::decode(chunk::encode(&chunk)).expect_err("malformed").to_string()
    };
    assert_eq!(broken(|event| event.variants.clear()), "has a malformed event without a variant");
    assert_eq!(broken(|event| event.account = Bytes::new()), "has a malformed account SID");
    let short = |event: &mut ChunkEvent| event.variants[0].sinks = Bytes::from_static(b"short");
    assert_eq!(broken(short), "has a malformed sink SID");
    assert_eq!(broken(|e| e.variants[0].sinks = Bytes::new()), "has a malformed sink SID");
    let stored = unhex(CHUNK_V1);
    chunk::decode(stored.slice(..stored.len() - 1)).expect_err("cut off");
}

prop_compose! {
    fn any_variant()(
        schema_version: u32,
        event in vec(any::<u8>(), 0..200),
        sinks in vec(any::<u128>(), 1..5),
    ) -> Variant {
        let sinks = chunk::sinks_bytes(sinks.into_iter().map(SinkSid::from_u128));
        Variant { schema_version, event: event.into(), sinks }
    }
}

prop_compose! {
    fn any_event()(
        id in ".{0,40}",
        account: u128,
        event_type in ".{0,40}",
        traceparent in ".{0,60}",
        variants in vec(any_variant(), 1..3),
        accepted_ms: i64,
        attempts: u32,
    ) -> ChunkEvent {
        let account = chunk::account_bytes(AccountSid::from_u128(account));
        ChunkEvent { id, account, r#type: event_type, traceparent, variants, accepted_ms, attempts }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(config_seq: u64, events in vec(any_event(), 0..8)) {
        let chunk = Chunk { config_seq, events };
        prop_assert_eq!(chunk::decode(chunk::encode(&chunk)).expect("readable"), chunk);
    }

    #[test]
    fn no_bytes_harm_the_reader(bytes in vec(any::<u8>(), 0..300)) {
        chunk::decode(bytes.into()).ok();
    }

    #[test]
    fn no_damage_harms_the_reader(at in 0_usize..400, byte: u8) {
        let mut bytes = unhex(CHUNK_V1).to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        chunk::decode(bytes.into()).ok();
    }
}
