//! `ConfigService.Watch`: snapshot, changes, reconnection, and what each view hides.

use std::collections::BTreeSet;

use millrace_domain::secret::SecretHash;
use millrace_proto::internal::{
    SnapshotPart, WatchRequest, WatchResponse, WatchView,
    config_service_client::ConfigServiceClient, resource::Resource, resource_key::Key,
};
use reqwest::Method;
use tonic::{Code, Streaming};

use crate::harness::{
    Harness, INTERNAL_TOKEN, PLATFORM_KEY, SENT, TOKEN, send, start, start_on, with_authorization,
};

/// A version as the wire spells it.
type Version = (u64, u64);

async fn watch(it: &Harness, version: Version, view: WatchView) -> Streaming<WatchResponse> {
    let request = WatchRequest { epoch: version.0, seq: version.1, view: view.into() };
    let request = with_authorization(request, &format!("Bearer {INTERNAL_TOKEN}"));
    let mut client = ConfigServiceClient::new(it.channel().await);
    client.watch(request).await.expect("a stream").into_inner()
}

async fn next(stream: &mut Streaming<WatchResponse>) -> WatchResponse {
    let message = tokio::time::timeout(std::time::Duration::from_secs(20), stream.message());
    message.await.expect("in time").expect("no error").expect("no end")
}

/// A whole snapshot: its version and its resources.
async fn snapshot(stream: &mut Streaming<WatchResponse>) -> (Version, Vec<Resource>) {
    let mut resources = Vec::new();
    loop {
        let message = next(stream).await;
        let part = message.part();
        assert_ne!(part, SnapshotPart::Unspecified, "a snapshot comes first");
        assert_eq!(
            part == SnapshotPart::First || part == SnapshotPart::Whole,
            resources.is_empty()
        );
        resources.extend(message.upserts.into_iter().filter_map(|shape| shape.resource));
        if matches!(part, SnapshotPart::Last | SnapshotPart::Whole) {
            return ((message.epoch, message.seq), resources);
        }
    }
}

/// The next changes that are not merely a sign of life.
async fn change(stream: &mut Streaming<WatchResponse>) -> WatchResponse {
    loop {
        let message = next(stream).await;
        assert_eq!(message.part(), SnapshotPart::Unspecified);
        if !(message.upserts.is_empty() && message.deletes.is_empty()) {
            return message;
        }
    }
}

fn kinds(resources: &[Resource]) -> BTreeSet<&'static str> {
    let kind = |resource: &Resource| match resource {
        Resource::Account(_) => "account",
        Resource::ApiKey(_) => "API key",
        Resource::Sink(_) => "sink",
        Resource::Subscription(_) => "subscription",
        Resource::EventType(_) => "event type",
        Resource::SchemaVersion(_) => "schema version",
        Resource::PlatformKeyHash(_) => "platform key",
    };
    resources.iter().map(kind).collect()
}

#[tokio::test]
async fn a_router_sees_hashes_and_a_deliverer_secrets() {
    let it = start().await;
    let sink = it.sink().await;
    it.subscription(&sink, SENT).await;
    let (_, router) = snapshot(&mut watch(&it, (0, 0), WatchView::Router).await).await;
    let (_, deliverer) = snapshot(&mut watch(&it, (0, 0), WatchView::Deliverer).await).await;
    assert_eq!(
        kinds(&router),
        BTreeSet::from([
            "account",
            "event type",
            "platform key",
            "schema version",
            "sink",
            "subscription"
        ])
    );
    // Of schemas it sees whom events are about, where the catalogue says it, and no documents.
    let schemas = |shape: &Resource| match shape {
        Resource::SchemaVersion(it) => {
            Some((it.document.is_empty(), it.identity_property.is_empty()))
        }
        _ => None,
    };
    assert!(deliverer.iter().filter_map(schemas).all(|seen| seen == (true, false)));
    let mut seen = kinds(&deliverer);
    seen.remove("schema version");
    assert_eq!(seen, BTreeSet::from(["account", "sink"]));
    for resource in &router {
        match resource {
            Resource::Account(account) => {
                assert_eq!(account.auth_token_hash, SecretHash::of(TOKEN).as_bytes().to_vec());
                assert!(account.auth_token.is_empty());
            }
            Resource::Sink(sink) => {
                assert!(sink.configuration_json.is_empty() && sink.signing_secret.is_empty());
            }
            Resource::PlatformKeyHash(hash) => {
                assert_eq!(*hash, SecretHash::of(PLATFORM_KEY).as_bytes().to_vec());
            }
            Resource::SchemaVersion(version) if version.schema_id == "Messaging.MessageStatus" => {
                let url = format!(
                    "https://events-schemas.twilio.com/Messaging.MessageStatus/{}",
                    version.version
                );
                assert_eq!(version.dataschema, url);
                assert!(
                    version.document.contains("messageSid") && !version.document.contains("$id")
                );
            }
            _ => {}
        }
    }
    for resource in &deliverer {
        match resource {
            Resource::Account(account) => {
                assert!(account.auth_token == TOKEN && account.auth_token_hash.is_empty());
            }
            Resource::Sink(sink) => {
                assert!(sink.configuration_json.contains("https://e.example/x"));
                assert!(sink.configuration_json.contains("sink_type"));
                assert!(sink.signing_secret.starts_with("whsec_"));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn changes_follow_the_snapshot_and_a_reconnection_goes_on_where_it_was() {
    let it = start().await;
    let mut stream = watch(&it, (0, 0), WatchView::Router).await;
    let (began, _) = snapshot(&mut stream).await;
    let sink = it.sink().await;
    let subscription = it.subscription(&sink, SENT).await;
    let first = change(&mut stream).await;
    assert_eq!(first.epoch, began.0);
    assert!(first.seq > began.1);
    assert!(matches!(&first.upserts[0].resource, Some(Resource::Sink(made)) if made.sid == sink));
    drop(stream);
    // From before: the same changes again, and no snapshot.
    let mut stream = watch(&it, began, WatchView::Router).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(change(&mut stream).await.upserts.into_iter().filter_map(|it| it.resource));
    }
    assert!(matches!(&seen[1], Resource::Subscription(made) if made.sid == subscription));
    assert_eq!(it.delete(&format!("/v1/Subscriptions/{subscription}")).await.0, 204);
    let gone = change(&mut stream).await.deletes;
    assert_eq!(gone[0].key, Some(Key::SubscriptionSid(subscription)));
    let deleted = send(it.request(Method::DELETE, &format!("/v1/Sinks/{sink}"))).await;
    let tombstone = change(&mut stream).await;
    assert!(matches!(&tombstone.upserts[0].resource, Some(Resource::Sink(it)) if it.deleted));
    // The version that the mutation named is the one that the watcher has now.
    let named = deleted.headers().get("millrace-config-version").expect("a version");
    let named: millrace_domain::ConfigVersion =
        named.to_str().expect("ASCII").parse().expect("a version");
    assert_eq!((tombstone.epoch, tombstone.seq), (named.epoch, named.seq));
}

#[tokio::test]
async fn a_version_that_cannot_be_gets_a_snapshot() {
    let it = start().await;
    let (now, _) = snapshot(&mut watch(&it, (0, 0), WatchView::Router).await).await;
    for version in [(now.0, now.1 + 1_000), (now.0 ^ 1, now.1), (now.0 ^ 1, 0)] {
        let (told, _) = snapshot(&mut watch(&it, version, WatchView::Router).await).await;
        assert_eq!(told, now);
    }
}

#[tokio::test]
async fn a_compacted_log_gives_a_snapshot_to_who_is_behind_and_changes_to_who_is_not() {
    let it = start().await;
    let (began, _) = snapshot(&mut watch(&it, (0, 0), WatchView::Router).await).await;
    let sink = it.sink().await;
    let subscription = it.subscription(&sink, SENT).await;
    let mut stream = watch(&it, began, WatchView::Router).await;
    let subscribed = |told: &WatchResponse| {
        let resources = told.upserts.iter().filter_map(|upsert| upsert.resource.as_ref());
        resources.into_iter().any(|resource| matches!(resource, Resource::Subscription(_)))
    };
    let mut made = change(&mut stream).await;
    while !subscribed(&made) {
        made = change(&mut stream).await;
    }
    assert_eq!(it.delete(&format!("/v1/Subscriptions/{subscription}")).await.0, 204);
    // All that was superseded by now: the subscription's creation and its end.
    let later = millrace_runtime::clock::now_millis() + 60_000;
    let later = millrace_domain::Timestamp::from_millis(later);
    assert!(it.store.compact(later, 1_000).await.expect("compacts") > 0);
    let behind = (made.epoch, made.seq);
    let (now, resources) = snapshot(&mut watch(&it, behind, WatchView::Router).await).await;
    assert!(now.1 > made.seq);
    assert!(!kinds(&resources).contains("subscription"), "what is gone is gone");
    let mut stream = watch(&it, now, WatchView::Router).await;
    let again = it.subscription(&sink, SENT).await;
    let told = change(&mut stream).await.upserts;
    assert!(matches!(&told[0].resource, Some(Resource::Subscription(made)) if made.sid == again));
}

#[tokio::test]
async fn other_platform_keys_make_watchers_start_anew() {
    let it = start().await;
    let (before, _) = snapshot(&mut watch(&it, (0, 0), WatchView::Router).await).await;
    it.store.version().await.expect("a version");
    let again = start_on_same(&it).await;
    let (after, resources) = snapshot(&mut watch(&again, before, WatchView::Router).await).await;
    assert_ne!(after.0, before.0);
    assert!(!kinds(&resources).contains("platform key"), "the key was taken away");
}

/// Another control-plane on the same store, without platform keys.
async fn start_on_same(it: &Harness) -> Harness {
    start_on(std::sync::Arc::clone(&it.store), |settings| {
        settings.control_plane.platform_keys.clear();
    })
    .await
}

#[tokio::test]
async fn a_watcher_hears_something_although_nothing_happens() {
    let it = start().await;
    let mut stream = watch(&it, (0, 0), WatchView::Deliverer).await;
    let (now, _) = snapshot(&mut stream).await;
    let sign = next(&mut stream).await;
    assert_eq!((sign.epoch, sign.seq), now);
    assert!(sign.upserts.is_empty() && sign.deletes.is_empty());
}

#[tokio::test]
async fn only_the_internal_token_watches() {
    let it = start().await;
    let mut client = ConfigServiceClient::new(it.channel().await);
    let ask = |authorization: &str, view: WatchView| {
        let request = WatchRequest { view: view.into(), ..Default::default() };
        with_authorization(request, authorization)
    };
    for wrong in ["Bearer x", INTERNAL_TOKEN, &format!("Bearer {PLATFORM_KEY}"), "Basic QUM6eA=="] {
        let error = client.watch(ask(wrong, WatchView::Router)).await.expect_err("no token");
        assert_eq!(error.code(), Code::Unauthenticated);
    }
    let right = format!("Bearer {INTERNAL_TOKEN}");
    let error = client.watch(ask(&right, WatchView::Unspecified)).await.expect_err("no view");
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn stopping_ends_streams_and_tasks() {
    let it = start().await;
    let mut stream = watch(&it, (0, 0), WatchView::Deliverer).await;
    snapshot(&mut stream).await;
    let stopped = it.process.tasks.stop(std::time::Duration::from_secs(8));
    let (stopped, ended) = tokio::join!(stopped, stream.message());
    stopped.expect("in time");
    assert_eq!(ended.expect_err("the end").code(), Code::Unavailable);
}
