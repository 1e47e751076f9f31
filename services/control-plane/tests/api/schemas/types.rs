//! Event types of the platform's own: registered, updated in part, and who may subscribe to them.

use serde_json::{Value, json};

use super::{ORDER, PAID, document, post, register};
use crate::harness::{SENT, refused, start, text};

#[tokio::test]
async fn a_type_is_registered_and_updated_in_part() {
    let it = start().await;
    let form = [("Type", PAID), ("SchemaId", ORDER), ("Description", "An order was paid.")];
    let (status, made) = post(&it, "/v1/Types", &form).await;
    assert_eq!(status.as_u16(), 201, "{made}");
    assert_eq!((&made["status"], made.get("validation")), (&json!("available"), None));
    let (status, _) = post(&it, "/v1/Types", &form).await;
    assert_eq!(status.as_u16(), 200, "a repeat changes nothing");
    // Its schema's first version was made with it, and has no fields yet.
    let (status, first) = register(&it, &document(&["id"])).await;
    assert_eq!((status.as_u16(), &first["schema_version"]), (201, &json!(1)), "{first}");

    let path = format!("/v1/Types/{PAID}");
    let update = [
        ("Status", "deprecated"),
        ("Validation", "off"),
        ("DocumentationUrl", "https://e.example/"),
    ];
    let (status, updated) = post(&it, &path, &update).await;
    assert_eq!(status.as_u16(), 200, "{updated}");
    assert_eq!(
        (text(&updated, "status"), text(&updated, "validation")),
        ("deprecated".to_owned(), "off".to_owned())
    );
    assert_eq!(updated["description"], "An order was paid.");
    let (_, cleared) = post(&it, &path, &[("DocumentationUrl", "")]).await;
    assert_eq!(cleared["documentation_url"], Value::Null);

    let long = "x".repeat(3_000);
    for (form, field) in [
        (("Status", "ended"), "Status"),
        (("Validation", "maybe"), "Validation"),
        (("DocumentationUrl", "javascript:alert(1)"), "DocumentationUrl"),
        (("Description", &*long), "Description"),
        (("SchemaId", "Other"), "SchemaId"),
        (("Type", "com.example.other"), "Type"),
    ] {
        let (status, _, message) = refused(post(&it, &path, &[form]).await);
        assert!(status == 400 && message.starts_with(field), "{message}");
    }
    let unknown = post(&it, "/v1/Types/com.example.unknown", &[("Status", "available")]).await;
    assert_eq!(refused(unknown).0, 404);
}

#[tokio::test]
async fn the_status_of_a_type_decides_who_may_subscribe() {
    let it = start().await;
    post(&it, "/v1/Types", &[("Type", PAID), ("SchemaId", ORDER)]).await;
    let sink = it.sink().await;
    let existing = it.subscription(&sink, PAID).await;
    let other = it.subscription(&sink, SENT).await;
    let types = format!(r#"{{"type": "{PAID}"}}"#);
    for (status, may) in
        [("deprecated", true), ("restricted", false), ("discontinued", false), ("available", true)]
    {
        post(&it, &format!("/v1/Types/{PAID}"), &[("Status", status)]).await;
        let form = [("Description", "s"), ("SinkSid", &*sink), ("Types", &types)];
        let (answer, body) = it.post("/v1/Subscriptions", &form).await;
        assert_eq!(answer.as_u16(), if may { 201 } else { 400 }, "{status}: {body}");
        let added = it
            .post(&format!("/v1/Subscriptions/{other}/SubscribedEvents"), &[("Type", PAID)])
            .await;
        assert_eq!(added.0.as_u16(), if may { 201 } else { 400 }, "{status}: {}", added.1);
        it.delete(&format!("/v1/Subscriptions/{other}/SubscribedEvents/{PAID}")).await;
        // Whoever has it may pin it to another version all the same.
        let pinned = it
            .post(
                &format!("/v1/Subscriptions/{existing}/SubscribedEvents/{PAID}"),
                &[("SchemaVersion", "1")],
            )
            .await;
        assert_eq!(pinned.0.as_u16(), 200, "{status}: {}", pinned.1);
    }
}
