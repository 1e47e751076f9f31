//! What was read, as JSON: without what is not set, so that what a later release adds changes nothing for earlier ones.

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::{Partition, SinkSid, Timestamp};
use millrace_proto::internal::{
    AttemptReports, BacklogState, Chunk, DropReports, Resource, ResourceKey, WatchResponse,
    resource, resource_key,
};
use millrace_queue::{
    Class, EntryId, ParkedQuery, Queue as _, RedisQueue, ReportKind,
    chunk::{decode, sinks_of},
};
use prost::Message as _;
use serde_json::{Value, json};

/// Later than all that is parked.
const EVER: Timestamp = Timestamp::from_millis(9_000_000_000_000);
const MANY: usize = 100;

/// Leaves out what is not set.
fn set(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, value| {
            !matches!(value, Value::Null | Value::Bool(false))
                && *value != json!(0)
                && *value != json!("")
                && *value != json!([])
        });
    }
    object
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes)))
}

/// All of a queue, partition by partition.
pub(super) async fn of_queue(queue: &RedisQueue, partitions: u16) -> Value {
    let attempts = reports(queue, ReportKind::Attempts).await;
    let drops = reports(queue, ReportKind::Drops).await;
    let mut all = Vec::new();
    for partition in (0..partitions).map(Partition) {
        let of = |reports: &[(Partition, Value)]| {
            let own = reports.iter().filter(|(of, _)| *of == partition);
            own.map(|(_, report)| report.clone()).collect::<Value>()
        };
        let from_its_start = [(partition, EntryId::default())];
        let entries = queue.read(&from_its_start, Duration::ZERO);
        let entries = entries.await.expect("Redis answers");
        let ready: Value = entries.into_iter().map(|(_, entry)| chunk(entry.chunk)).collect();
        let backlogs = queue.backlogs(partition).await.expect("Redis answers");
        let mut parked = Vec::new();
        for (sink, _) in &backlogs {
            parked.extend(parked_of(queue, partition, *sink).await);
        }
        let backlogs: Value = backlogs.iter().map(|(sink, state)| backlog(*sink, state)).collect();
        all.push(set(json!({
            "ready": ready,
            "backlogs": backlogs,
            "parked": parked,
            "quarantine": quarantine(queue, partition).await,
            "attempts": of(&attempts),
            "drops": of(&drops),
        })));
    }
    Value::Array(all)
}

async fn parked_of(queue: &RedisQueue, partition: Partition, sink: SinkSid) -> Vec<Value> {
    let mut all = Vec::new();
    for class in [Class::Backlog, Class::Delayed] {
        let query = ParkedQuery { until: EVER, limit: MANY, skip: &[] };
        let parked = queue.parked(partition, sink, class, query).await.expect("Redis answers");
        all.extend(parked.into_iter().map(|parked| {
            set(json!({
                "sink": sink.to_string(),
                "class": format!("{class:?}"),
                "id": parked.id.0.to_string(),
                "at": parked.at.as_millis(),
                "chunk": parked.chunk.map(chunk),
            }))
        }));
    }
    all
}

async fn quarantine(queue: &RedisQueue, partition: Partition) -> Value {
    let mut all = Vec::new();
    for listed in queue.quarantined(partition).await.expect("Redis answers") {
        let bytes = queue.quarantined_chunk(partition, listed.place).await.expect("Redis answers");
        all.push(json!({ "reason": listed.reason, "chunk": bytes.map(chunk) }));
    }
    Value::Array(all)
}

async fn reports(queue: &RedisQueue, kind: ReportKind) -> Vec<(Partition, Value)> {
    let reports = queue.reports(kind, "fixtures", MANY).await.expect("Redis answers");
    let meaning = |body: Bytes| match kind {
        ReportKind::Attempts => attempts(&AttemptReports::decode(body).expect("reports")),
        ReportKind::Drops => drops(&DropReports::decode(body).expect("reports")),
    };
    reports.into_iter().map(|report| (report.partition, meaning(report.body))).collect()
}

fn chunk(bytes: Bytes) -> Value {
    let Chunk { config_seq, events } = decode(bytes).expect("a chunk");
    let events = events.iter().map(|event| {
        let variants = event.variants.iter().map(|variant| {
            let sinks: Vec<String> = sinks_of(variant).map(|sink| sink.to_string()).collect();
            set(json!({
                "schema_version": variant.schema_version,
                "event": text(&variant.event),
                "sinks": sinks,
            }))
        });
        set(json!({
            "id": event.id,
            "account": hex(&event.account),
            "type": event.r#type,
            "traceparent": event.traceparent,
            "variants": variants.collect::<Value>(),
            "accepted_ms": event.accepted_ms,
            "attempts": event.attempts,
        }))
    });
    json!({ "config_seq": config_seq, "events": events.collect::<Value>() })
}

fn backlog(sink: SinkSid, state: &BacklogState) -> Value {
    set(json!({
        "sink": sink.to_string(),
        "failures": state.failures,
        "next_probe_ms": state.next_probe_ms,
        "events": state.events,
        "bytes": state.bytes,
        "account": hex(&state.account),
        "opened_ms": state.opened_ms,
        "opened_by": state.opened_by().as_str_name(),
    }))
}

fn attempts(reports: &AttemptReports) -> Value {
    let attempts = reports.attempts.iter().map(|it| {
        set(json!({
            "account": hex(&it.account),
            "sink": hex(&it.sink),
            "started_ms": it.started_ms,
            "duration_ms": it.duration_ms,
            "outcome": it.outcome().as_str_name(),
            "http_status": it.http_status,
            "error_code": it.error_code,
            "detail": it.detail,
            "event_ids": it.event_ids,
            "attempt": it.attempt,
            "about_itself": it.about_itself,
        }))
    });
    json!({ "attempts": attempts.collect::<Value>() })
}

fn drops(reports: &DropReports) -> Value {
    let drops = reports.drops.iter().map(|it| {
        set(json!({
            "account": hex(&it.account),
            "sink": hex(&it.sink),
            "event_id": it.event_id,
            "event_type": it.event_type,
            "accepted_ms": it.accepted_ms,
            "dropped_ms": it.dropped_ms,
            "reason": it.reason().as_str_name(),
            "error_code": it.error_code,
            "event": text(&it.event),
            "schema_version": it.schema_version,
        }))
    });
    let sinks = reports.sinks.iter().map(|it| {
        set(json!({
            "account": hex(&it.account),
            "sink": hex(&it.sink),
            "turn": it.turn().as_str_name(),
            "at_ms": it.at_ms,
            "error_code": it.error_code,
            "detail": it.detail,
        }))
    });
    json!({ "drops": drops.collect::<Value>(), "sinks": sinks.collect::<Value>() })
}

/// A message of a watch.
pub(super) fn of_watch(message: &WatchResponse) -> Value {
    set(json!({
        "epoch": message.epoch,
        "seq": message.seq,
        "part": message.part().as_str_name(),
        "upserts": message.upserts.iter().map(resource).collect::<Value>(),
        "deletes": message.deletes.iter().map(key).collect::<Value>(),
    }))
}

fn resource(resource: &Resource) -> Value {
    use resource::Resource as Of;
    match resource.resource.as_ref().expect("of a kind that is known") {
        Of::Account(it) => json!({ "account": set(json!({
            "sid": it.sid, "parent_sid": it.parent_sid, "status": it.status, "auth_token": it.auth_token,
            "auth_token_hash": hex(&it.auth_token_hash),
            "secondary_auth_token_hash": hex(&it.secondary_auth_token_hash),
        })) }),
        Of::ApiKey(it) => json!({ "api_key": set(json!({
            "sid": it.sid, "account_sid": it.account_sid, "secret_hash": hex(&it.secret_hash), "access": it.access,
        })) }),
        Of::Sink(it) => json!({ "sink": set(json!({
            "sid": it.sid, "account_sid": it.account_sid, "deleted": it.deleted, "paused": it.paused,
            "configuration_json": it.configuration_json, "signing_secret": it.signing_secret,
            "rate_limit": it.rate_limit, "max_concurrency": it.max_concurrency,
            "delivery_window_ms": it.delivery_window_ms, "headers_json": it.headers_json,
        })) }),
        Of::Subscription(it) => json!({ "subscription": set(json!({
            "sid": it.sid, "account_sid": it.account_sid, "sink_sid": it.sink_sid,
            "include_subaccounts": it.include_subaccounts,
            "types": it.types.iter().map(|of| json!([of.r#type, of.schema_version])).collect::<Value>(),
        })) }),
        Of::EventType(it) => json!({ "event_type": set(json!({
            "type": it.r#type, "schema_id": it.schema_id, "status": it.status, "validation": it.validation,
        })) }),
        Of::SchemaVersion(it) => json!({ "schema_version": set(json!({
            "schema_id": it.schema_id, "version": it.version, "dataschema": it.dataschema,
            "document": it.document, "schema": it.schema,
            "identity_property": it.identity_property, "identity_type": it.identity_type,
        })) }),
        Of::PlatformKeyHash(hash) => json!({ "platform_key_hash": hex(hash) }),
    }
}

fn key(key: &ResourceKey) -> Value {
    use resource_key::Key;
    match key.key.as_ref().expect("of a kind that is known") {
        Key::AccountSid(sid) => json!({ "account": sid }),
        Key::ApiKeySid(sid) => json!({ "api_key": sid }),
        Key::SinkSid(sid) => json!({ "sink": sid }),
        Key::SubscriptionSid(sid) => json!({ "subscription": sid }),
        Key::EventType(name) => json!({ "event_type": name }),
        Key::PlatformKeyHash(hash) => json!({ "platform_key_hash": hex(hash) }),
    }
}
