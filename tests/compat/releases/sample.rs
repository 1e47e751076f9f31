//! One of each of what a release writes, with every field set.

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::{AccountSid, Partition, SinkSid, Timestamp};
use millrace_proto::internal::{
    AttemptOutcome, AttemptReport, AttemptReports, BacklogState, BreakerCause, Chunk, ChunkEvent,
    ConfigAccount, ConfigApiKey, ConfigEventType, ConfigSchemaVersion, ConfigSink,
    ConfigSubscribedEvent, ConfigSubscription, DropReason, DropReport, DropReports, Resource,
    ResourceKey, SinkReport, SinkTurn, SnapshotPart, Variant, WatchResponse, resource,
    resource_key,
};
use millrace_queue::{
    Class, Park, ParkedId, Place, Queue as _, RedisQueue, Settlement, Token,
    chunk::{account_bytes, encode, sink_bytes, sinks_bytes},
};

/// The partition that is filled.
const HOME: Partition = Partition(1);
const ACCOUNT: AccountSid = AccountSid::from_u128(0xa);
const SINK: SinkSid = SinkSid::from_u128(0xb);
const OTHER_SINK: SinkSid = SinkSid::from_u128(0xc);
/// 2026-01-01.
const NOW_MS: i64 = 1_767_225_600_000;
const LEASE: Duration = Duration::from_secs(60);

fn event(id: &str, attempts: u32) -> ChunkEvent {
    let event = |version: u32| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","type":"com.example.order","source":"/orders/1","time":"2026-01-01T00:00:00Z","dataschema":"https://example.com/order/{version}","datacontenttype":"application/json","data":{{"text":"größer"}}}}"#
        )
    };
    let variant = |schema_version, sinks| Variant {
        schema_version,
        event: event(schema_version).into(),
        sinks,
    };
    ChunkEvent {
        id: id.to_owned(),
        account: account_bytes(ACCOUNT),
        r#type: "com.example.order".to_owned(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        variants: vec![
            variant(1, sinks_bytes([SINK])),
            variant(2, sinks_bytes([SINK, OTHER_SINK])),
        ],
        accepted_ms: if attempts > 0 { NOW_MS } else { 0 },
        attempts,
    }
}

fn chunk(id: &str, attempts: u32) -> Bytes {
    encode(&Chunk { config_seq: 7, events: vec![event(id, attempts)] })
}

/// A chunk that is large enough to be compressed.
fn packed_chunk() -> Bytes {
    let events = (0..20).map(|n| event(&format!("EZ-packed-{n}"), 0)).collect();
    encode(&Chunk { config_seq: 7, events })
}

/// Fills a partition with all that it can hold.
pub(super) async fn fill(queue: &RedisQueue) {
    let token = Token(uuid::Uuid::from_u128(1));
    queue.acquire(&[HOME], token, LEASE).await.expect("nobody has it");
    queue.append(HOME, chunk("EZ-ready", 0)).await.expect("appends");
    queue.append(HOME, packed_chunk()).await.expect("appends");
    let poison = queue.append(HOME, chunk("EZ-poison", 0)).await.expect("appends");
    let park = |class, id, at| Park {
        sink: SINK,
        id: ParkedId(uuid::Uuid::from_u128(id)),
        class,
        at: Timestamp::from_millis(at),
        expires: Timestamp::from_millis(9_000_000_000_000),
        chunk: chunk("EZ-parked", 3),
    };
    let state = BacklogState {
        failures: 5,
        next_probe_ms: NOW_MS + 1_000,
        events: 2,
        bytes: 1_234,
        account: account_bytes(ACCOUNT),
        opened_ms: NOW_MS,
        opened_by: BreakerCause::InARow.into(),
    };
    let settlement = Settlement {
        parks: vec![park(Class::Backlog, 1, NOW_MS), park(Class::Delayed, 2, NOW_MS + 5_000)],
        quarantined: vec![(Place::Ready(poison), "its owners died of it".to_owned())],
        backlogs: vec![(SINK, Some(state))],
        attempts: AttemptReports { attempts: vec![attempt()] },
        drops: DropReports { drops: vec![drop_report()], sinks: vec![turn()] },
        ..Settlement::default()
    };
    queue.settle(HOME, token, &settlement).await.expect("settles");
    queue.release(&[HOME], token).await.expect("releases");
}

fn attempt() -> AttemptReport {
    AttemptReport {
        account: account_bytes(ACCOUNT),
        sink: sink_bytes(SINK),
        started_ms: NOW_MS,
        duration_ms: 12,
        outcome: AttemptOutcome::Retry.into(),
        http_status: 503,
        error_code: 91_306,
        detail: "busy".to_owned(),
        event_ids: vec!["EZ-1".to_owned(), "EZ-2".to_owned()],
        attempt: 3,
        about_itself: true,
    }
}

fn drop_report() -> DropReport {
    DropReport {
        account: account_bytes(ACCOUNT),
        sink: sink_bytes(SINK),
        event_id: "EZ-dropped".to_owned(),
        event_type: "com.example.order".to_owned(),
        accepted_ms: NOW_MS,
        dropped_ms: NOW_MS + 14_400_000,
        reason: DropReason::Expired.into(),
        error_code: 91_306,
        event: Bytes::from_static(br#"{"specversion":"1.0"}"#),
        schema_version: 2,
    }
}

fn turn() -> SinkReport {
    SinkReport {
        account: account_bytes(ACCOUNT),
        sink: sink_bytes(SINK),
        turn: SinkTurn::Failing.into(),
        at_ms: NOW_MS,
        error_code: 91_306,
        detail: "busy".to_owned(),
    }
}

/// A snapshot with one resource of each kind, and a change that takes them away.
pub(super) fn watch() -> Vec<WatchResponse> {
    use resource::Resource as Of;
    let upserts = [
        Of::Account(account()),
        Of::ApiKey(api_key()),
        Of::Sink(sink()),
        Of::Subscription(subscription()),
        Of::EventType(event_type()),
        Of::SchemaVersion(schema_version()),
        Of::PlatformKeyHash(Bytes::from_static(&[7; 32])),
    ];
    let upserts = upserts.map(|resource| Resource { resource: Some(resource) });
    use resource_key::Key;
    let deletes = [
        Key::AccountSid("AC1".to_owned()),
        Key::ApiKeySid("SK1".to_owned()),
        Key::SinkSid("DG1".to_owned()),
        Key::SubscriptionSid("DF1".to_owned()),
        Key::EventType("com.example.order".to_owned()),
        Key::PlatformKeyHash(Bytes::from_static(&[7; 32])),
    ];
    let deletes = deletes.map(|key| ResourceKey { key: Some(key) });
    let message = |seq, part: SnapshotPart| WatchResponse {
        epoch: 0xfeed_0000_0000_0001,
        seq,
        part: part.into(),
        ..WatchResponse::default()
    };
    vec![
        WatchResponse { upserts: upserts.into(), ..message(41, SnapshotPart::Whole) },
        WatchResponse { deletes: deletes.into(), ..message(42, SnapshotPart::Unspecified) },
    ]
}

fn account() -> ConfigAccount {
    ConfigAccount {
        sid: ACCOUNT.to_string(),
        parent_sid: AccountSid::from_u128(9).to_string(),
        status: "suspended".to_owned(),
        auth_token_hash: Bytes::from_static(&[1; 32]),
        auth_token: "token".to_owned(),
        secondary_auth_token_hash: Bytes::from_static(&[2; 32]),
    }
}

fn api_key() -> ConfigApiKey {
    ConfigApiKey {
        sid: "SK0000000000000000000000000000000a".to_owned(),
        account_sid: ACCOUNT.to_string(),
        secret_hash: Bytes::from_static(&[3; 32]),
        access: "publish-only".to_owned(),
    }
}

fn sink() -> ConfigSink {
    ConfigSink {
        sid: SINK.to_string(),
        account_sid: ACCOUNT.to_string(),
        deleted: true,
        configuration_json: r#"{"sink_type":"webhook","destination":"https://example.com/"}"#
            .to_owned(),
        signing_secret: "whsec_AAAA".to_owned(),
        paused: true,
        rate_limit: 10,
        max_concurrency: 2,
        delivery_window_ms: 60_000,
        headers_json: r#"{"x-a":"b"}"#.to_owned(),
    }
}

fn subscription() -> ConfigSubscription {
    let subscribed =
        ConfigSubscribedEvent { r#type: "com.example.order".to_owned(), schema_version: 2 };
    ConfigSubscription {
        sid: "DF0000000000000000000000000000000d".to_owned(),
        account_sid: ACCOUNT.to_string(),
        sink_sid: SINK.to_string(),
        types: vec![subscribed],
        include_subaccounts: true,
    }
}

fn event_type() -> ConfigEventType {
    ConfigEventType {
        r#type: "com.example.order".to_owned(),
        schema_id: "Shop.Order".to_owned(),
        status: "deprecated".to_owned(),
        validation: "warn".to_owned(),
    }
}

fn schema_version() -> ConfigSchemaVersion {
    ConfigSchemaVersion {
        schema_id: "Shop.Order".to_owned(),
        version: 2,
        dataschema: "https://example.com/order/2".to_owned(),
        document: r#"{"properties":{}}"#.to_owned(),
        schema: r#"{"type":"object"}"#.to_owned(),
        identity_property: "to".to_owned(),
        identity_type: "phone".to_owned(),
    }
}
