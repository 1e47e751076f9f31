//! Event types and schema versions.

use std::time::Duration;

use futures::future;
use millrace_domain::schema::{
    EventType, EventTypeStatus, EventTypeUpdate, SchemaVersion, Validation,
};

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
        validation: Validation::Off,
        created: later,
        updated: later,
        ..types[1].clone()
    };
    let mut forged = schema_version("A", 2);
    forged.document = Some("{}".to_owned());
    store.register(&[types[0].clone(), changed.clone()], &[forged]).await.expect("known");
    assert_eq!(make::log(&*store).await.len(), 5, "one differs");
    let read = store.event_type("com.example.b").await.expect("is there");
    let validation = Validation::Enforce;
    assert_eq!(read, EventType { created: NOW, validation, ..changed }, "validation stays");
    let read = store.schema_version("A", Some(2)).await.expect("is there");
    assert_eq!(read, versions[1], "a schema version is never changed");

    let mut known = schema_version("A", 1);
    known.document = Some("{}".to_owned());
    store.register(&[], std::slice::from_ref(&known)).await.expect("known");
    assert_eq!(make::log(&*store).await.len(), 6, "one whose fields were not known gets them");
    assert_eq!(store.schema_version("A", Some(1)).await.expect("is there"), known);
}

pub(super) async fn types_change_in_part(backend: &dyn Backend) {
    let store = make::open(backend).await;
    let made = event_type("com.example.a", "A");
    let first = store.register(std::slice::from_ref(&made), &[]).await.expect("new");
    let later = NOW.plus(Duration::from_secs(60));
    let update = EventTypeUpdate {
        status: Some(EventTypeStatus::Restricted),
        validation: Some(Validation::Off),
        ..EventTypeUpdate::default()
    };
    let (changed, version) =
        store.update_event_type(&made.name, &update, later).await.expect("is there");
    let expected = EventType {
        status: EventTypeStatus::Restricted,
        validation: Validation::Off,
        updated: later,
        ..made.clone()
    };
    assert_eq!(changed, expected);
    assert_eq!(store.event_type(&made.name).await.expect("is there"), expected);
    assert!(version.seq > first.seq);
    let (again, same) = store.update_event_type(&made.name, &update, NOW).await.expect("is there");
    assert_eq!((again, same), (expected.clone(), version), "a repeat is none");
    assert_eq!(make::log(&*store).await.len(), 2);

    let back = EventTypeUpdate { documentation_url: Some(None), ..EventTypeUpdate::default() };
    let (same, _) = store.update_event_type(&made.name, &back, NOW).await.expect("is there");
    assert_eq!(same, expected);
    let refused = store.update_event_type("com.example.x", &update, NOW).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
}

pub(super) async fn versions_are_added_one_by_one(backend: &dyn Backend) {
    let store = make::open(backend).await;
    let elsewhere = make::open(backend).await;
    let version = |number, document: &str| SchemaVersion {
        document: Some(document.to_owned()),
        ..schema_version("A", number)
    };
    let gap = store.add_schema_version(&version(2, "{}")).await;
    assert!(matches!(gap, Err(Error::NotFound { .. })), "{gap:?}");
    store.register(&[], &[schema_version("A", 1)]).await.expect("new");
    store.add_schema_version(&version(1, "{}")).await.expect("had no document");
    assert_eq!(store.schema_version("A", None).await.expect("is there"), version(1, "{}"));

    let documents: Vec<_> = (0..8).map(|n| version(2, &format!(r#"{{"title":"{n}"}}"#))).collect();
    let stores = [&store, &elsewhere].into_iter().cycle();
    let added =
        documents.iter().zip(stores).map(|(version, store)| store.add_schema_version(version));
    let added = future::join_all(added).await;
    let place = added.iter().position(Result::is_ok).expect("one wins");
    let lost = added.iter().filter(|it| matches!(it, Err(Error::AlreadyExists { .. }))).count();
    assert_eq!(lost, 7, "{added:?}");
    assert_eq!(store.schema_version("A", None).await.expect("is there"), documents[place]);
    assert_eq!(make::log(&*store).await.len(), 3);
    let older = store.add_schema_version(&version(1, "{}")).await;
    assert!(matches!(older, Err(Error::AlreadyExists { .. })), "{older:?}");
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
