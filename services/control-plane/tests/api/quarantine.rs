//! `QuarantineService`: for operators only, chunk by chunk.

use bytes::Bytes;
use millrace_domain::{Partition, SinkSid};
use millrace_proto::{
    internal::{Chunk, ChunkEvent, Variant},
    v1::{self, quarantine_service_client::QuarantineServiceClient},
};
use millrace_queue::{Place, Queue, Settlement, Token, chunk};
use tonic::{Code, transport::Channel};
use uuid::Uuid;

use crate::harness::{Harness, platform, start};

const HOME: Partition = Partition(3);

async fn client(harness: &Harness) -> QuarantineServiceClient<Channel> {
    QuarantineServiceClient::new(harness.channel().await)
}

/// Puts chunks into quarantine, one readable, one not; gives their names.
async fn quarantine(queue: &dyn Queue) -> [String; 2] {
    let event = ChunkEvent {
        id: "EZ1".to_owned(),
        account: chunk::account_bytes(millrace_domain::AccountSid::from_u128(1)),
        r#type: "com.example.a".to_owned(),
        variants: vec![Variant {
            schema_version: 1,
            event: Bytes::from_static(b"{\"id\":\"EZ1\"}"),
            sinks: chunk::sinks_bytes([SinkSid::from_u128(2), SinkSid::from_u128(3)]),
        }],
        ..ChunkEvent::default()
    };
    let readable = chunk::encode(&Chunk { config_seq: 1, events: vec![event] });
    let first = queue.append(HOME, readable).await.expect("append");
    let second = queue.append(HOME, Bytes::from_static(b"\xffno chunk")).await.expect("append");
    let token = Token(Uuid::now_v7());
    queue.acquire(&[HOME], token, std::time::Duration::from_secs(9)).await.expect("acquire");
    let places = [first, second].map(Place::Ready);
    let quarantined = places.map(|place| (place, "nobody survives it".to_owned())).to_vec();
    let settlement = Settlement { quarantined, ..Settlement::default() };
    queue.settle(HOME, token, &settlement).await.expect("settle");
    places.map(|place| format!("3/{place}"))
}

#[tokio::test]
async fn operators_list_show_redrive_and_discard() {
    let harness = start().await;
    let names = quarantine(&*harness.queue).await;
    let mut client = client(&harness).await;
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = v1::ListQuarantinedChunksRequest { page_size: 1, page_token };
        let page = client.list_quarantined_chunks(platform(page)).await.expect("a page");
        let page = page.into_inner();
        listed.extend(page.chunks.into_iter().map(|chunk| (chunk.name, chunk.reason)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, names.clone().map(|name| (name, "nobody survives it".to_owned())));

    let show = |name: &str| platform(v1::GetQuarantinedChunkRequest { name: name.to_owned() });
    let shown = client.get_quarantined_chunk(show(&names[0])).await.expect("it is there");
    let shown = shown.into_inner().chunk.expect("a chunk");
    assert!(shown.readable);
    let [event] = shown.events.as_slice() else { panic!("{shown:?}") };
    assert_eq!((event.id.as_str(), event.sink_sids.len()), ("EZ1", 2));
    assert_eq!(event.event, "{\"id\":\"EZ1\"}");
    let damaged = client.get_quarantined_chunk(show(&names[1])).await.expect("it is there");
    assert!(!damaged.into_inner().chunk.expect("a chunk").readable);

    let redrive = v1::RedriveQuarantinedChunksRequest { names: vec![names[0].clone()] };
    for expected in [1, 0] {
        let done = client.redrive_quarantined_chunks(platform(redrive.clone())).await;
        assert_eq!(done.expect("redriven").into_inner().redriven, expected);
    }
    assert_eq!(harness.queue.depth().await.expect("depth"), 1);
    let discard = v1::DiscardQuarantinedChunksRequest { names: names.to_vec() };
    let done = client.discard_quarantined_chunks(platform(discard)).await.expect("discarded");
    assert_eq!(done.into_inner().discarded, 1);
    let gone = client.get_quarantined_chunk(show(&names[1])).await.expect_err("it is gone");
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test]
async fn the_quarantine_is_not_for_accounts_and_names_are_checked() {
    let harness = start().await;
    let mut client = client(&harness).await;
    let list = harness.ask(v1::ListQuarantinedChunksRequest::default());
    let denied = client.list_quarantined_chunks(list).await.expect_err("not for accounts");
    assert_eq!(denied.code(), Code::PermissionDenied);
    for names in [vec![], vec!["7".to_owned()], vec!["3/5-1".to_owned(); 1_001]] {
        let request = v1::DiscardQuarantinedChunksRequest { names };
        let refused = client.discard_quarantined_chunks(platform(request)).await;
        assert_eq!(refused.expect_err("wrong names").code(), Code::InvalidArgument);
    }
    let request = v1::GetQuarantinedChunkRequest { name: "60000/5-1".to_owned() };
    let missing = client.get_quarantined_chunk(platform(request)).await;
    assert_eq!(missing.expect_err("no such partition").code(), Code::NotFound);
}
