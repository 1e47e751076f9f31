//! Accounts and API keys.

use millrace_domain::{AccountSid, ApiKeySid};

use super::{Backend, make};
use crate::Error;

pub(super) async fn are_kept(backend: &dyn Backend) {
    let (store, parent) = make::with_account(backend).await;
    let mut child = make::account(2);
    child.parent = Some(parent.sid);
    let version = store.create_account(&child).await.expect("new");
    assert_eq!(version, store.version().await.expect("answers"), "a write tells its version");
    assert_eq!(store.account(parent.sid).await.expect("is there"), parent);
    assert_eq!(store.account(child.sid).await.expect("is there"), child);

    let repeated = store.create_account(&child).await;
    assert!(matches!(repeated, Err(Error::AlreadyExists { .. })), "{repeated:?}");
    let mut orphan = make::account(3);
    orphan.parent = Some(AccountSid::from_u128(99));
    let orphaned = store.create_account(&orphan).await;
    assert!(matches!(orphaned, Err(Error::NotFound { .. })), "{orphaned:?}");
    let missing = store.account(orphan.sid).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    assert_eq!(store.version().await.expect("answers"), version, "refusals are no changes");
}

pub(super) async fn have_keys(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    let key = make::api_key(1, &account);
    store.create_api_key(&key).await.expect("new");
    let read = store.api_key(key.sid).await.expect("is there");
    assert_eq!((read.account, &read.friendly_name), (key.account, &key.friendly_name));
    assert!(read.secret_hash.matches(&key.secret_hash));

    let repeated = store.create_api_key(&key).await;
    assert!(matches!(repeated, Err(Error::AlreadyExists { .. })), "{repeated:?}");
    let homeless = store.create_api_key(&make::api_key(2, &make::account(9))).await;
    assert!(matches!(homeless, Err(Error::NotFound { .. })), "{homeless:?}");
    let missing = store.api_key(ApiKeySid::from_u128(2)).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}
