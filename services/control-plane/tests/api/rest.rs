//! The REST flow as an SDK goes it, and the exact shape of what it gets.

use reqwest::Method;
use serde_json::json;

use crate::harness::{DELIVERED, SENT, WEBHOOK, read, send, start, start_with, text};

#[tokio::test]
async fn a_sink_lives_from_creation_to_deletion() {
    let it = start().await;
    let form =
        [("Description", "My sink é"), ("SinkConfiguration", WEBHOOK), ("SinkType", "webhook")];
    let (status, sink) = it.post("/v1/Sinks", &form).await;
    let sid = text(&sink, "sid");
    let url = format!("{}/v1/Sinks/{sid}", it.url);
    assert_eq!(status, 201);
    assert_eq!(
        sink,
        json!({
            "sid": sid, "description": "My sink é", "sink_type": "webhook", "status": "active",
            "sink_configuration": {
                "destination": "https://e.example/x", "method": "POST", "batch_events": false,
            },
            "date_created": sink["date_created"], "date_updated": sink["date_created"], "url": url,
            "links": {"sink_test": format!("{url}/Test"), "sink_validate": format!("{url}/Validate")},
        })
    );
    let date = text(&sink, "date_created");
    assert!(date.len() == 20 && date.ends_with('Z'), "{date}");
    assert_eq!(it.get(&format!("/v1/Sinks/{sid}")).await, (200.try_into().expect("OK"), sink));
    let (status, sink) = it.post(&format!("/v1/Sinks/{sid}"), &[("Description", "other")]).await;
    assert_eq!((status.as_u16(), text(&sink, "description")), (200, "other".to_owned()));
    let (status, valid) = it.post(&format!("/v1/Sinks/{sid}/Validate"), &[("TestId", "x")]).await;
    assert_eq!((status.as_u16(), valid), (201, json!({"result": "valid"})));
    let (status, error) = it.post(&format!("/v1/Sinks/{sid}/Test"), &[]).await;
    // No deliverer runs here.
    assert_eq!((status.as_u16(), error["code"].as_u64()), (503, Some(20503)));
    let (status, body) = it.delete(&format!("/v1/Sinks/{sid}")).await;
    assert_eq!((status.as_u16(), body), (204, serde_json::Value::Null));
    let (status, error) = it.get(&format!("/v1/Sinks/{sid}")).await;
    assert_eq!((status.as_u16(), error["code"].as_u64()), (404, Some(91001)));
}

#[tokio::test]
async fn a_subscription_pins_the_latest_version_and_its_types_can_change() {
    let it = start().await;
    let sink = it.sink().await;
    let older = format!(r#"{{"type": "{SENT}", "schema_version": 5}}"#);
    let latest = format!(r#"{{"type":"{DELIVERED}"}}"#);
    let form = [("Description", "sub"), ("SinkSid", &sink), ("Types", &older), ("Types", &latest)];
    let (status, made) = it.post("/v1/Subscriptions", &form).await;
    let sid = text(&made, "sid");
    let url = format!("{}/v1/Subscriptions/{sid}", it.url);
    assert_eq!(status, 201);
    assert_eq!(
        made,
        json!({
            "account_sid": it.account, "sid": sid, "description": "sub", "sink_sid": sink, "url": url,
            "date_created": made["date_created"], "date_updated": made["date_created"],
            "links": {"subscribed_events": format!("{url}/SubscribedEvents")},
        })
    );
    let events = format!("/v1/Subscriptions/{sid}/SubscribedEvents");
    let (_, list) = it.get(&events).await;
    assert_eq!(
        list["types"][0],
        json!({
            "account_sid": it.account, "subscription_sid": sid, "type": DELIVERED, "schema_version": 8,
            "url": format!("{url}/SubscribedEvents/{DELIVERED}"),
        })
    );
    assert_eq!(list["types"][1]["schema_version"], 5);
    let (status, event) = it.post(&format!("{events}/{SENT}"), &[("SchemaVersion", "6")]).await;
    assert_eq!((status.as_u16(), &event["schema_version"]), (200, &json!(6)));
    let read = "com.twilio.messaging.message.read";
    for expected in [201, 200] {
        let (status, _) = it.post(&events, &[("Type", read), ("SchemaVersion", "7")]).await;
        assert_eq!(status, expected, "a repeat of an addition finds it there");
    }
    let (status, error) = it.post(&events, &[("Type", read), ("SchemaVersion", "6")]).await;
    assert_eq!((status.as_u16(), error["code"].as_u64()), (409, Some(91101)));
    for gone in [read, SENT] {
        assert_eq!(it.delete(&format!("{events}/{gone}")).await.0, 204);
        assert_eq!(it.get(&format!("{events}/{gone}")).await.1["code"], 91104);
    }
    let (status, error) = it.delete(&format!("{events}/{DELIVERED}")).await;
    assert_eq!((status.as_u16(), error["code"].as_u64()), (400, Some(91103)));
    let (_, updated) = it.post(&format!("/v1/Subscriptions/{sid}"), &[("Description", "x")]).await;
    assert_eq!(updated["description"], "x");
    let (status, same) = it.post(&format!("/v1/Subscriptions/{sid}"), &[]).await;
    assert_eq!((status.as_u16(), same), (200, updated));
    assert_eq!(it.delete(&format!("/v1/Sinks/{sink}")).await.1["code"], 91007);
    assert_eq!(it.delete(&format!("/v1/Subscriptions/{sid}")).await.0, 204);
    assert_eq!(it.delete(&format!("/v1/Sinks/{sink}")).await.0, 204);
}

#[tokio::test]
async fn several_subscriptions_share_a_sink_and_lists_filter_by_use() {
    let it = start().await;
    let (used, unused) = (it.sink().await, it.sink().await);
    for event_type in [SENT, DELIVERED] {
        it.subscription(&used, event_type).await;
    }
    let sids = |list: &serde_json::Value, key: &str| -> Vec<String> {
        list[key].as_array().expect("a list").iter().map(|row| text(row, "sid")).collect()
    };
    let (_, list) = it.get("/v1/Sinks?InUse=true&Status=active").await;
    assert_eq!(sids(&list, "sinks"), [used.as_str()]);
    let first = text(&list["meta"], "first_page_url");
    assert!(first.ends_with("/v1/Sinks?InUse=true&Status=active&PageSize=50&Page=0"), "{first}");
    assert_eq!(sids(&it.get("/v1/Sinks?InUse=false").await.1, "sinks"), [unused.as_str()]);
    assert!(sids(&it.get("/v1/Sinks?Status=failed").await.1, "sinks").is_empty());
    let (_, list) = it.get(&format!("/v1/Subscriptions?SinkSid={used}")).await;
    assert_eq!(sids(&list, "subscriptions").len(), 2);
    let (_, list) = it.get(&format!("/v1/Subscriptions?SinkSid={unused}")).await;
    assert!(sids(&list, "subscriptions").is_empty());
}

#[tokio::test]
async fn the_catalogue_tells_types_schemas_and_documents() {
    let it = start_with(|settings| {
        settings.control_plane.public_url = Some("https://events.example/base/".to_owned());
    })
    .await;
    let base = "https://events.example/base/v1";
    let (status, event_type) = it.get(&format!("/v1/Types/{SENT}")).await;
    assert_eq!(status, 200);
    assert_eq!(
        event_type["links"]["schema"],
        format!("{base}/Schemas/Messaging.MessageStatus/Versions")
    );
    assert_eq!(event_type["url"], format!("{base}/Types/{SENT}"));
    assert_eq!(event_type["status"], "available");
    let (_, clicked) = it.get("/v1/Types/com.twilio.iam.ip.blocked").await;
    assert!(clicked.as_object().expect("an object").contains_key("documentation_url"));
    assert_eq!(clicked["documentation_url"], serde_json::Value::Null);
    let (_, list) = it.get("/v1/Types?SchemaId=Messaging.MessageStatus").await;
    assert_eq!(list["types"].as_array().map(Vec::len), Some(6));
    let (_, schema) = it.get("/v1/Schemas/Messaging.MessageStatus").await;
    assert_eq!(schema["latest_version"], 8);
    assert_eq!(
        schema["links"]["versions"],
        format!("{base}/Schemas/Messaging.MessageStatus/Versions")
    );
    assert!(schema["latest_version_date_created"].is_string());
    let (_, versions) = it.get("/v1/Schemas/Messaging.MessageStatus/Versions").await;
    assert_eq!(versions["meta"]["key"], "schema_versions");
    assert_eq!(versions["schema_versions"].as_array().map(Vec::len), Some(8));
    let (_, version) = it.get("/v1/Schemas/Messaging.MessageStatus/Versions/4").await;
    let raw = text(&version, "raw");
    let path = raw.strip_prefix("https://events.example/base").expect("our own URL");
    let (status, document) = read(it.anonymous(Method::GET, path)).await;
    assert_eq!(status, 200);
    assert_eq!(document["$id"], "https://events-schemas.twilio.com/Messaging.MessageStatus/4");
    assert_eq!(document["properties"]["to"]["identityType"], "phone");
    let (_, unknown) = it.get("/v1/Schemas/Iam.IpBlocked/Versions/1/Raw").await;
    assert_eq!(unknown["type"], "object");
    assert!(unknown.get("properties").is_none());
}

#[tokio::test]
async fn a_mutation_names_the_version_it_made() {
    let it = start().await;
    let version = |response: &reqwest::Response| {
        let header = response.headers().get("millrace-config-version").expect("a version");
        let text = header.to_str().expect("ASCII").to_owned();
        text.parse::<millrace_domain::ConfigVersion>().expect("epoch:seq")
    };
    let sink = it.sink().await;
    let path = format!("/v1/Sinks/{sink}");
    let update = || {
        let request = it.request(Method::POST, &path);
        let form = "application/x-www-form-urlencoded";
        request.header("content-type", form).body("Description=b")
    };
    let (first, second) = (version(&send(update()).await), version(&send(update()).await));
    assert!(second.seq > first.seq && second.covers(first));
    assert!(version(&send(it.request(Method::DELETE, &path)).await).seq > second.seq);
}
