//! Event types and schema versions.

use std::time::Duration;

use millrace_domain::schema::{EventType, EventTypeStatus};

use super::{
    Backend,
    make::{self, NOW, event_type, schema_version},
};
use crate::{Error, Page};

pub(super) async fn types_are_registered_once(backend: &dyn Backend) {
    let store = make::open(backend).await;
    let types = [event_type("com.example.a", "A"), event_type("com.example.b", "A")];
    let versions = [schema_version("A", 1), schema_version("A", 2)];
    let first = store.register(&types, &versions).await.expect("new");
    assert_eq!(make::log(&*store).await.len(), 4);
    assert_eq!(store.register(&types, &versions).await.expect("known"), first, "a repeat is none");

    let later = NOW.plus(Duration::from_secs(60));
    let changed = EventType {
        status: EventTypeStatus::Deprecated,
        documentation_url: Some("https://example.com/b".to_owned()),
        created: later,
        updated: later,
        ..types[1].clone()
    };
    let mut forged = schema_version("A", 1);
    forged.document = Some("{}".to_owned());
    store.register(&[types[0].clone(), changed.clone()], &[forged]).await.expect("known");
    assert_eq!(make::log(&*store).await.len(), 5, "one differs");
    let read = store.event_type("com.example.b").await.expect("is there");
    assert_eq!(read, EventType { created: NOW, ..changed });
    let read = store.schema_version("A", Some(1)).await.expect("is there");
    assert_eq!(read, versions[0], "a schema version is never changed");
}

pub(super) async fn is_listed(backend: &dyn Backend) {
    let store = make::open(backend).await;
    let types = ["com.example.b", "com.example.B", "com.example-a", "com.example.a"]
        .map(|name| event_type(name, if name.ends_with('b') { "B" } else { "A" }));
    let versions = [2, 10, 1].map(|version| schema_version("A", version));
    store.register(&types, &versions).await.expect("new");

    let names = async |schema_id, after: Option<&str>, limit| {
        let page = Page { after: after.map(str::to_owned), limit };
        let types = store.event_types(schema_id, &page).await.expect("answers");
        types.into_iter().map(|event_type| event_type.name).collect::<Vec<_>>()
    };
    let all = ["com.example-a", "com.example.B", "com.example.a", "com.example.b"];
    assert_eq!(names(None, None, 10).await, all, "in order of bytes");
    assert_eq!(names(None, Some("com.example.B"), 1).await, ["com.example.a"]);
    assert_eq!(names(Some("B"), None, 10).await, ["com.example.b"]);
    assert_eq!(names(Some("C"), None, 10).await, [""; 0]);

    let numbers = async |after, limit| {
        let page = Page { after, limit };
        let versions = store.schema_versions("A", &page).await.expect("answers");
        versions.into_iter().map(|version| version.version).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, 10).await, [1, 2, 10]);
    assert_eq!(numbers(Some(1), 1).await, [2]);
    assert_eq!(numbers(Some(10), 1).await, [0; 0]);
    assert_eq!(store.schema_version("A", None).await.expect("is there").version, 10);

    let refusals = [
        store.event_type("com.example.x").await.err(),
        store.schema_version("A", Some(3)).await.err(),
        store.schema_version("C", None).await.err(),
        store.schema_versions("C", &Page { after: None, limit: 1 }).await.err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(Error::NotFound { .. })), "{refusal:?}");
    }
}
