//! What configurations are taken, and which field a refusal names.

use serde_json::json;

use super::*;

fn refusal(sink_type: &str, json: &str) -> Refusal {
    SinkConfiguration::parse(sink_type, json).expect_err(json)
}

fn refused(sink_type: &str, json: &str) -> String {
    refusal(sink_type, json).field
}

/// What is read of `json`, shown again.
fn echoed(sink_type: &str, json: &Value) -> Value {
    SinkConfiguration::parse(sink_type, &json.to_string()).expect("valid").to_json()
}

const STREAM: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/events";
const ROLE: &str = "arn:aws:iam::111122223333:role/millrace/kinesis-write";

/// A Kinesis configuration with one field changed; null: without it.
fn kinesis(key: &str, value: Value) -> String {
    let mut fields = json!({"arn": STREAM, "role_arn": ROLE, "external_id": "af71e0"});
    match value {
        Value::Null => drop(fields.as_object_mut().expect("an object").remove(key)),
        value => fields[key] = value,
    }
    fields.to_string()
}

#[test]
fn reads_a_webhook() {
    let whole =
        json!({"destination":"https://u:p@e.example/x?a=1","method":"get","batch_events":true});
    assert_eq!(
        echoed("webhook", &whole),
        json!({"destination":"https://u:p@e.example/x?a=1","method":"GET","batch_events":true})
    );
    assert_eq!(
        echoed("webhook", &json!({"destination":"https://e.example/x"})),
        json!({"destination":"https://e.example/x","method":"POST","batch_events":false})
    );
}

#[test]
fn reads_a_stream_and_its_partition_key() {
    let least = json!({"arn": STREAM, "role_arn": ROLE, "external_id": "af71e0"});
    assert_eq!(echoed("kinesis", &least), least);
    for key in KinesisPartitionKey::ALL {
        let read =
            SinkConfiguration::parse("kinesis", &kinesis("partition_key", key.as_str().into()));
        let Ok(SinkConfiguration::Kinesis { partition_key, .. }) = read else { panic!("{key:?}") };
        assert_eq!(partition_key, key);
    }
}

#[test]
fn a_stream_is_refused_without_a_role_or_with_what_aws_would_refuse() {
    for key in ["arn", "role_arn", "external_id"] {
        let field = format!("SinkConfiguration.{key}");
        for value in [Value::Null, json!(""), json!(7)] {
            assert_eq!(refused("kinesis", &kinesis(key, value)), field);
        }
    }
    for arn in [
        "events",
        "arn:aws:kinesis:eu-west-1:111122223333:stream/",
        "arn:aws:kinesis:eu-west-1:11112222333:stream/events",
        "arn:aws:kinesis:eu-west-1:11112222333x:stream/events",
        "arn:aws:kinesis::111122223333:stream/events",
        "arn:aws:kinesis:eu-west-1.evil.example/:111122223333:stream/events",
        "arn:aws:kinesis:EU-west-1:111122223333:stream/events",
        "arn:aws:kinesis:eu--1:111122223333:stream/events",
        "arn:aws:kinesis:eu-west-1:111122223333:stream/a/b",
        "arn:aws:kinesis:eu-west-1:111122223333:stream/é",
        "arn:aws:firehose:eu-west-1:111122223333:stream/events",
        "arn:azure:kinesis:eu-west-1:111122223333:stream/events",
        "arn:aws-:kinesis:eu-west-1:111122223333:stream/events",
        " arn:aws:kinesis:eu-west-1:111122223333:stream/events",
    ] {
        assert_eq!(
            refused("kinesis", &kinesis("arn", arn.into())),
            "SinkConfiguration.arn",
            "{arn}"
        );
    }
    let long = format!("arn:aws:kinesis:eu-west-1:111122223333:stream/{}", "a".repeat(129));
    assert_eq!(refused("kinesis", &kinesis("arn", long.into())), "SinkConfiguration.arn");
    for role in [
        "arn:aws:iam::111122223333:user/x",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::1:role/x",
        "arn:aws:iam:eu-west-1:111122223333:role/x",
        "arn:aws:iam::111122223333:role/a b",
        "arn:aws-cn:iam::111122223333:role/x",
    ] {
        let field = refused("kinesis", &kinesis("role_arn", role.into()));
        assert_eq!(field, "SinkConfiguration.role_arn", "{role}");
    }
    for id in ["a", "a b", "é1", &"a".repeat(1_225)] {
        let refusal = refusal("kinesis", &kinesis("external_id", id.into()));
        assert_eq!(refusal.field, "SinkConfiguration.external_id");
        assert!(!refusal.message.contains("a b"), "a secret is not repeated");
    }
    let key = refused("kinesis", &kinesis("partition_key", "region".into()));
    assert_eq!(key, "SinkConfiguration.partition_key");
}

#[test]
fn reads_a_segment_source_and_refuses_what_is_no_key() {
    let us = json!({"write_key": "abcdefghijklmnopqrstuvwxyz012345"});
    assert_eq!(echoed("segment", &us), us);
    let eu = json!({"write_key": "abcdefghijklmnopqrstuvwxyz012345", "region": "eu"});
    assert_eq!(echoed("segment", &eu), eu);
    for key in ["", "short", "hunter2 hunter2", "key:key:key", &"a".repeat(129)] {
        let refusal = refusal("segment", &json!({ "write_key": key }).to_string());
        assert_eq!(refusal.field, "SinkConfiguration.write_key");
        assert!(!refusal.message.contains("hunter2"), "a secret is not repeated");
    }
    let moon = json!({"write_key": "abcdefghij", "region": "moon"});
    assert_eq!(refused("segment", &moon.to_string()), "SinkConfiguration.region");
}

#[test]
fn reads_a_receiver_of_cloudevents() {
    let least = json!({"destination": "https://e.example/v1/Events"});
    let shown = json!({"destination":"https://e.example/v1/Events","mode":"structured","batch_events":false});
    assert_eq!(echoed("cloudevents", &least), shown);
    let binary = json!({"destination":"https://e.example/","mode":"Binary","batch_events":false});
    assert_eq!(echoed("cloudevents", &binary)["mode"], "binary");
    for (field, wrong) in [
        (
            "batch_events",
            json!({"destination":"https://e.example/","mode":"binary","batch_events":true}),
        ),
        ("mode", json!({"destination":"https://e.example/","mode":"batched"})),
        ("destination", json!({"destination":"mailto:a@b"})),
        ("method", json!({"destination":"https://e.example/","method":"POST"})),
    ] {
        assert_eq!(
            refused("cloudevents", &wrong.to_string()),
            format!("SinkConfiguration.{field}")
        );
    }
}

#[test]
fn a_file_has_a_path_that_leads_nowhere_else() {
    for path in ["events.jsonl", "audit/2026/events-1.jsonl", "a/b/c/d/e", "v1.2b/7"] {
        assert_eq!(echoed("file", &json!({ "path": path }))["path"], path);
    }
    let long = "a".repeat(241);
    for path in [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        ".hidden",
        "a/.b",
        "a\\b",
        "c:x",
        "a b",
        "é",
        "a/b/c/d/e/f",
        "a\0b",
        "a\n",
        "events.jsonl.1",
        "a.20/b",
        &long,
    ] {
        let field = refused("file", &json!({ "path": path }).to_string());
        assert_eq!(field, "SinkConfiguration.path", "{path:?}");
    }
}

#[test]
fn a_refusal_names_its_field() {
    assert_eq!(refused("kinesis", "[]"), "SinkConfiguration");
    assert_eq!(refused("webhook", "{"), "SinkConfiguration");
    assert_eq!(refused("webhook", "[]"), "SinkConfiguration");
    for url in [
        "",
        "x",
        "ftp://a/b",
        "https://",
        "https://a/b#rc=2",
        "https://a/?bodySHA256=x",
        "mailto:a@b",
    ] {
        let field = refused("webhook", &json!({ "destination": url }).to_string());
        assert_eq!(field, "SinkConfiguration.destination", "{url}");
    }
    for (key, json) in [
        ("destination", r#"{"method":"POST"}"#),
        ("method", r#"{"destination":"https://a/","method":"PUT"}"#),
        ("batch_events", r#"{"destination":"https://a/","batch_events":"yes"}"#),
        ("batch", r#"{"destination":"https://a/","batch":true}"#),
    ] {
        assert_eq!(refused("webhook", json), format!("SinkConfiguration.{key}"));
    }
}

#[test]
fn a_type_that_is_not_known_is_refused_email_among_them() {
    for wrong in ["email", "", "Webhook", "cloud_events", "kafka"] {
        let refusal = refusal(wrong, "{}");
        assert_eq!(refusal.field, "SinkType", "{wrong}");
        assert!(refusal.message.contains("`kinesis`"), "{}", refusal.message);
    }
}

#[test]
fn what_is_stored_is_read_again_and_so_is_what_was_stored_before() {
    for (sink_type, json) in [
        ("kinesis", kinesis("partition_key", "subject".into())),
        ("segment", json!({"write_key": "abcdefghij", "region": "eu"}).to_string()),
        ("cloudevents", json!({"destination": "https://a/", "mode": "binary"}).to_string()),
        ("file", json!({"path": "a/b"}).to_string()),
    ] {
        let configuration = SinkConfiguration::parse(sink_type, &json).expect("valid");
        let stored = serde_json::to_value(&configuration).expect("JSON");
        assert_eq!(stored["sink_type"], sink_type);
        assert_eq!(
            serde_json::from_value::<SinkConfiguration>(stored).expect("read"),
            configuration
        );
        assert!(!format!("{configuration:?}").contains("abcdefghij"), "{configuration:?}");
    }
    let old = json!({"sink_type":"kinesis","arn":STREAM,"role_arn":ROLE,"external_id":"af"});
    let read = serde_json::from_value::<SinkConfiguration>(old).expect("read");
    assert_eq!(
        read,
        SinkConfiguration::parse("kinesis", &kinesis("external_id", "af".into())).expect("valid")
    );
}
