//! Requests that are asked again.

use std::time::Duration;

use futures::future;
use millrace_domain::Sink;

use super::{
    Backend,
    make::{self, LIMIT, NOW},
};
use crate::{
    Error, Resource, ResourceStore, Result,
    repeats::{Asked, KEPT, Name, once},
};

fn name(id: &str) -> Name {
    Name { caller: "AC1".to_owned(), id: id.to_owned() }
}

/// Makes a sink for the request of this name; its answer tells a secret.
async fn create(store: &dyn ResourceStore, name: Name, sink: &Sink, after: Duration) -> Result<()> {
    let asked = Asked {
        name,
        digest: [7; 32],
        now: NOW.plus(after),
        render: Box::new(|made| match made {
            Resource::Sink(sink) => Some(format!("{} {}", sink.sid, make::SECRET).into_bytes()),
            _ => None,
        }),
    };
    once(asked, store.create_sink(sink, LIMIT)).await.map(drop)
}

pub(super) async fn are_answered_as_the_first_time(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    assert_eq!(store.answered(&name("a"), NOW).await.expect("answers"), None);
    let sink = make::sink(1, &account);
    create(&*store, name("a"), &sink, Duration::ZERO).await.expect("new");
    let made = store.version().await.expect("answers");
    let found = store.answered(&name("a"), NOW).await.expect("answers").expect("was kept");
    let answer = format!("{} {}", sink.sid, make::SECRET).into_bytes();
    assert_eq!((found.digest, found.version, found.answer), ([7; 32], made, answer));
    let other = Name { caller: "AC2".to_owned(), id: "a".to_owned() };
    assert_eq!(store.answered(&other, NOW).await.expect("answers"), None, "another's");
    let contents = backend.contents().await;
    let secret = make::SECRET.as_bytes();
    assert!(!contents.windows(secret.len()).any(|part| part == secret), "an answer in clear");

    let refused = create(&*store, name("a"), &make::sink(2, &account), Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::Repeated)), "{refused:?}");
    let gone = store.sink(account.sid, make::sink(2, &account).sid).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "nothing came of the repeat");
    assert_eq!(store.version().await.expect("answers"), made);

    let refused = create(&*store, name("b"), &sink, Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    assert_eq!(store.answered(&name("b"), NOW).await.expect("answers"), None, "a refusal is none");
}

pub(super) async fn are_done_once_whoever_races(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    let elsewhere = make::open(backend).await;
    let sinks: Vec<_> = (0..8).map(|id| make::sink(id, &account)).collect();
    let stores = [&store, &elsewhere].into_iter().cycle();
    let all = sinks.iter().zip(stores);
    let all = all.map(|(sink, store)| create(&**store, name("a"), sink, Duration::ZERO));
    let results = future::join_all(all).await;
    let done = results.iter().filter(|result| result.is_ok()).count();
    let repeated = results.iter().filter(|result| matches!(result, Err(Error::Repeated))).count();
    assert_eq!((done, repeated), (1, 7), "{results:?}");
    let page = crate::Page { after: None, limit: 10 };
    let listed = store.sinks(account.sid, &crate::SinkFilter::default(), &page).await;
    assert_eq!(listed.expect("answers").len(), 1);
}

pub(super) async fn are_forgotten_after_a_day(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    create(&*store, name("a"), &make::sink(1, &account), Duration::ZERO).await.expect("new");
    let (last, late) = (NOW.plus(KEPT - Duration::from_millis(1)), NOW.plus(KEPT));
    assert!(store.answered(&name("a"), last).await.expect("answers").is_some());
    assert!(store.answered(&name("a"), late).await.expect("answers").is_none());
    assert_eq!(store.forget_answers(last).await.expect("answers"), 0);
    create(&*store, name("a"), &make::sink(2, &account), KEPT).await.expect("new again");
    assert!(store.answered(&name("a"), late).await.expect("answers").is_some());
    assert_eq!(store.forget_answers(late.plus(KEPT)).await.expect("answers"), 1);
    assert!(store.answered(&name("a"), late).await.expect("answers").is_none());
}
