//! Secrets at rest.

use millrace_domain::{Secret, Sink};

use super::{
    Backend,
    make::{self, LIMIT, NOW, SECRET},
};
use crate::{Error, Keyring};

pub(super) async fn hides_every_secret(backend: &dyn Backend) {
    let (store, sink) = make::with_sink(backend).await;
    let account = make::account(1);
    store.create_api_key(&make::api_key(1, &account), LIMIT).await.expect("new");
    store.add_secondary_auth_token(account.sid, &make::secondary()).await.expect("has none");
    store.create_subscription(&make::subscription(1, &sink), LIMIT).await.expect("new");
    let update = make::described("described");
    store.update_sink(account.sid, sink.sid, &update, NOW).await.expect("is there");

    let contents = backend.contents().await;
    let holds = |text: &str| contents.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("described"), "what is no secret can be read");
    assert!(!holds(SECRET), "a secret is stored in clear");
}

pub(super) async fn keys_are_rotated(backend: &dyn Backend) {
    let (old, new) = (Keyring::generate("old"), Keyring::generate("new"));
    let ring = |keys: &[&Secret]| {
        let keys = keys.iter().map(|key| key.reveal()).collect::<Vec<_>>().join(",");
        Keyring::parse(&keys).expect("generated keys are keys")
    };
    let account = make::account(1);
    let (first, second) = (make::sink(1, &account), make::sink(2, &account));
    let before = backend.open(ring(&[&old])).await;
    before.create_account(&account).await.expect("new");
    before.create_sink(&first, LIMIT).await.expect("new");

    let during = backend.open(ring(&[&new, &old])).await;
    during.create_sink(&second, LIMIT).await.expect("new");
    for sink in [&first, &second] {
        assert_eq!(&during.sink(account.sid, sink.sid).await.expect("opens"), sink);
    }
    assert_eq!(make::log(&*during).await.len(), 3);

    let after = backend.open(ring(&[&new])).await;
    assert_eq!(after.sink(account.sid, second.sid).await.expect("opens"), second);
    let lost = after.sink(account.sid, first.sid).await;
    let names = |sink: &Sink| format!("sinks/{}", sink.sid);
    assert!(matches!(&lost, Err(Error::Unsealable { what }) if *what == names(&first)), "{lost:?}");
    let snapshot = after.snapshot().await;
    assert!(matches!(snapshot, Err(Error::Unsealable { .. })), "{:?}", snapshot.map(drop));
    after.delete_sink(account.sid, first.sid, NOW).await.expect("needs no key");
}
