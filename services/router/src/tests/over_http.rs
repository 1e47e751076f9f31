//! CloudEvents over HTTP.

use millrace_queue::Error;

use super::*;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

#[tokio::test]
async fn an_event_is_taken_structured_plain_or_binary() {
    let router = Fixture::start().await;
    for (content_type, id) in [(STRUCTURED, "1"), ("application/json", "2")] {
        let answer = router.post(content_type, &event("com.example.paid", id, "{}")).await;
        assert_eq!(answer.status, 202);
        let expected = json!({"results": [{"id": id, "status": "accepted", "sinks": 4}]});
        assert_eq!(answer.body, expected);
    }
    let headers = format!(
        "authorization: {}\r\nce-specversion: 1.0\r\nce-id: 3%203\r\nce-type: com.example.paid\r\nce-source: /a\r\ntraceparent: {TRACE}\r\n",
        own()
    );
    let answer = router.post_with(&headers, "application/json", r#"{"a":1}"#).await;
    assert_eq!((answer.status, &answer.body["results"][0]["id"]), (202, &json!("3 3")));
    assert_eq!(router.queue.ids().await.concat(), ["1", "2", "3 3"]);
    let chunks = router.queue.chunks().await;
    assert_eq!(chunks[2].1.events[0].traceparent, TRACE);
}

#[tokio::test]
async fn results_and_events_stay_in_order_while_schemas_are_compiled() {
    let router = Fixture::start().await;
    let version = |json: String, number: u32| {
        let named = format!(r#""dataschema":"https://s/Checked/{number}","id""#);
        json.replace(r#""id""#, &named)
    };
    let checked = |id: &str, data: &str| event("com.example.checked", id, data);
    let events = [
        event("com.example.paid", "1", "{}"),
        version(checked("2", r#"{"a":1}"#), 1),
        event("com.example.paid", "3", "{}"),
        "7".to_owned(),
        version(checked("4", r#"{"a":"x","b":"y"}"#), 2),
        version(checked("5", r#"{"a":"x","b":"y"}"#), 1),
        event("com.example.warned", "6", r#"{"a":1}"#),
        event("com.example.paid", "8", "{}").replace(r#""id":"8","#, ""),
        event("com.example.paid", "9", "{}"),
    ];
    let batch = format!("[{}]", events.join(","));
    // Then once more, with everything compiled.
    for _ in 0..2 {
        let answer = router.post(BATCHED, &batch).await;
        let results = answer.body["results"].as_array().expect("results");
        let summary: Vec<Value> =
            results.iter().map(|r| json!([r["id"], r["status"], r["field"]])).collect();
        let given = results[7]["id"].as_str().expect("given");
        assert!(given.starts_with("EZ"), "{given}");
        assert_eq!(
            summary,
            [
                json!(["1", "accepted", null]),
                json!(["2", "rejected", "data.a"]),
                json!(["3", "accepted", null]),
                json!([null, "rejected", ""]),
                json!(["4", "rejected", "data.b"]),
                json!(["5", "accepted", null]),
                json!(["6", "accepted", null]),
                json!([given, "accepted", null]),
                json!(["9", "accepted", null]),
            ]
        );
        assert_eq!(router.queue.ids().await.last().expect("a chunk"), &["1", "3", given, "9"]);
    }
}

#[tokio::test]
async fn one_bad_event_does_not_fail_its_neighbours() {
    let router = Fixture::start().await;
    let batch = format!(
        r#"[{}, 7, {{"id":"bad"}}, {}, {}, {}]"#,
        event("com.example.paid", "1", "{}"),
        event("com.example.unknown", "4", "{}"),
        event("com.example.unwatched", "5", "{}"),
        event("com.example.paid", "1", "{}").replace(r#""id":"1","#, ""),
    );
    for content_type in [BATCHED, "application/json"] {
        let answer = router.post(content_type, &batch).await;
        assert_eq!(answer.status, 207);
        let results = answer.body["results"].as_array().expect("results");
        let summary: Vec<Value> =
            results.iter().map(|r| json!([r["id"], r["status"], r["code"], r["field"]])).collect();
        let given = results[5]["id"].as_str().expect("given");
        assert!(given.starts_with("EZ") && given.len() == 34, "{given}");
        assert_eq!(
            summary,
            [
                json!(["1", "accepted", null, null]),
                json!([null, "rejected", "invalid_argument", ""]),
                json!(["bad", "rejected", "invalid_argument", "specversion"]),
                json!(["4", "rejected", "not_found", "type"]),
                json!(["5", "accepted", null, null]),
                json!([given, "accepted", null, null]),
            ]
        );
        assert_eq!(results[4]["sinks"], 0);
        assert_eq!(router.queue.ids().await.last().expect("a chunk"), &["1", given]);
    }
    let empty = router.post(BATCHED, " [ ] ").await;
    assert_eq!((empty.status, &empty.body), (202, &json!({"results": []})));
}

#[tokio::test]
async fn a_platform_key_names_the_account_and_the_name_is_not_delivered() {
    let router = Fixture::start().await;
    let named = |sid: &str| {
        event("com.example.paid", "1", "{}")
            .replace(r#""source""#, &format!(r#""accountsid":"{sid}","source""#))
    };
    let platform = "authorization: Bearer platform\r\n";
    let other = named(&OTHER.to_string());
    let answer = router.post_with(platform, STRUCTURED, &other).await;
    assert_eq!((answer.status, &answer.body["results"][0]["sinks"]), (202, &json!(1)));
    let (home, chunk) = router.queue.chunks().await.remove(0);
    assert_eq!(home, millrace_domain::Partition::home_of(OTHER, 8));
    let delivered = String::from_utf8(chunk.events[0].variants[0].event.to_vec()).expect("UTF-8");
    assert!(!delivered.contains("accountsid") && !delivered.contains(&OTHER.to_string()));

    let nobody = event("com.example.paid", "1", "{}");
    for (headers, body, code) in [
        (platform, &nobody, "invalid_argument"),
        (platform, &named(&SUSPENDED.to_string()), "permission_denied"),
        (platform, &named("AC1"), "invalid_argument"),
        (&*format!("authorization: {}\r\n", own()), &other, "permission_denied"),
    ] {
        let answer = router.post_with(headers, STRUCTURED, body).await;
        let result = &answer.body["results"][0];
        assert_eq!((answer.status, &result["code"]), (400, &json!(code)), "{body}");
        assert_eq!(result["field"], "accountsid");
    }
}

#[tokio::test]
async fn what_is_no_publish_is_told_what_would_be_one() {
    let router = Fixture::start().await;
    let array = router.post(BATCHED, r#"[{"id":"1"},"#).await;
    assert_eq!((array.status, &array.body["code"]), (400, &json!("invalid_argument")));
    let single = router.post(STRUCTURED, "{").await;
    assert_eq!((single.status, &single.body["results"][0]["id"]), (400, &Value::Null));
    let kind = router.post("text/plain", "hello").await;
    assert_eq!((kind.status, &kind.body["field"]), (415, &json!("content-type")));
    let headers = format!("authorization: {}\r\ncontent-encoding: gzip\r\n", own());
    let packed = router.post_with(&headers, BATCHED, "x").await;
    assert_eq!((packed.status, &packed.body["field"]), (415, &json!("content-encoding")));
}

#[tokio::test]
async fn another_method_is_told_which() {
    let router = Fixture::start().await;
    let answer = router.get("/v1/Events").await;
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("allow: post"), "{}", answer.head);
    assert!(answer.body["message"].as_str().is_some_and(|text| text.contains("POST")));
}

#[tokio::test]
async fn too_large_a_publish_is_refused_before_all_of_it_has_come() {
    let router = Fixture::start().await;
    let announced = format!(
        "authorization: {}\r\ncontent-type: {BATCHED}\r\ncontent-length: 5000000\r\n",
        own()
    );
    let answer = router.send(&announced, b"[").await;
    assert_eq!((answer.status, &answer.body["code"]), (413, &json!("too_large")));
    let many = format!("[{}0]", "0,".repeat(10_000));
    assert_eq!(router.post(BATCHED, &many).await.status, 413);
    let large = event("com.example.paid", "1", &format!(r#"{{"a":"{}"}}"#, "x".repeat(300_000)));
    let answer = router.post(STRUCTURED, &large).await;
    let result = &answer.body["results"][0];
    assert_eq!(
        (answer.status, &result["id"], &result["code"]),
        (413, &json!("1"), &json!("too_large"))
    );
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let watch = Watch::fixed(fixture::configuration());
    let soon = |settings: &mut Settings| settings.router.read_timeout = Duration::from_millis(100);
    let router = Fixture::on(Fickle::open(8).await, watch, soon).await;
    let head = format!(
        "authorization: {}\r\ncontent-type: {BATCHED}\r\ntransfer-encoding: chunked\r\n",
        own()
    );
    let answer = router.send(&head, b"1\r\n[\r\n").await;
    assert_eq!((answer.status, &answer.body["code"]), (408, &json!("deadline_exceeded")));
}

#[tokio::test]
async fn a_queue_that_is_full_or_silent_is_told_as_such() {
    let queue = Fickle::open(8).await.then([Some(Error::Full), Some(no_answer())]);
    let router = Fixture::on(queue, Watch::fixed(fixture::configuration()), |_| {}).await;
    let body = event("com.example.paid", "1", "{}");
    for (status, code) in [(429, "resource_exhausted"), (503, "unavailable")] {
        let answer = router.post(STRUCTURED, &body).await;
        assert_eq!((answer.status, &answer.body["results"][0]["code"]), (status, &json!(code)));
        assert!(answer.head.contains("retry-after: 1"));
    }
    assert_eq!(router.post(STRUCTURED, &body).await.status, 202);
}
