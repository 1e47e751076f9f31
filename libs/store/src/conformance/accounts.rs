//! Accounts and API keys.

use std::time::Duration;

use millrace_domain::{Account, AccountSid, AccountStatus, ApiKey, ApiKeySid};

use super::{
    Backend,
    make::{self, LIMIT, NOW},
};
use crate::{AccountFilter, Error, Page, Resource};

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
    store.create_api_key(&key, LIMIT).await.expect("new");
    let read = store.api_key(key.sid).await.expect("is there");
    assert_eq!((read.account, &read.friendly_name), (key.account, &key.friendly_name));
    assert!(read.secret_hash.matches(&key.secret_hash));
    assert_eq!((read.access, read.updated), (key.access, key.updated));

    let repeated = store.create_api_key(&key, LIMIT).await;
    assert!(matches!(repeated, Err(Error::AlreadyExists { .. })), "{repeated:?}");
    let homeless = store.create_api_key(&make::api_key(2, &make::account(9)), LIMIT).await;
    assert!(matches!(homeless, Err(Error::NotFound { .. })), "{homeless:?}");
    let missing = store.api_key(ApiKeySid::from_u128(2)).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

pub(super) async fn have_keys_that_change(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    let other = make::account(2);
    store.create_account(&other).await.expect("new");
    for (id, owner) in [(1, &account), (2, &other), (3, &account), (4, &account)] {
        store.create_api_key(&make::api_key(id, owner), LIMIT).await.expect("new");
    }
    let sids = |keys: Vec<ApiKey>| keys.iter().map(|key| key.sid.as_u128()).collect::<Vec<_>>();
    let list = async |after: Option<u128>, limit| {
        let page = Page { after: after.map(ApiKeySid::from_u128), limit };
        sids(store.api_keys(account.sid, &page).await.expect("answers"))
    };
    assert_eq!(list(None, 10).await, [1, 3, 4]);
    assert_eq!(list(Some(1), 1).await, [3]);

    let (sid, later) = (ApiKeySid::from_u128(1), NOW.plus(Duration::from_secs(60)));
    let (renamed, _) =
        store.rename_api_key(account.sid, sid, "new", later).await.expect("is there");
    assert_eq!((renamed.friendly_name.as_str(), renamed.updated), ("new", later));
    let read = store.api_key(sid).await.expect("is there");
    assert_eq!((read.friendly_name.as_str(), read.updated, read.created), ("new", later, NOW));
    let foreign = store.rename_api_key(other.sid, sid, "mine", later).await.map(drop);
    assert!(matches!(foreign, Err(Error::NotFound { .. })), "{foreign:?}");
    let foreign = store.delete_api_key(other.sid, sid).await;
    assert!(matches!(foreign, Err(Error::NotFound { .. })), "{foreign:?}");
    store.delete_api_key(account.sid, sid).await.expect("is there");
    let again = store.delete_api_key(account.sid, sid).await;
    assert!(matches!(again, Err(Error::NotFound { .. })), "{again:?}");
    assert_eq!(list(None, 10).await, [3, 4]);
}

pub(super) async fn are_listed(backend: &dyn Backend) {
    let (store, parent) = make::with_account(backend).await;
    let suspended = make::turned(AccountStatus::Suspended);
    for id in 2..6 {
        let child = Account { parent: Some(parent.sid), ..make::account(id) };
        store.create_subaccount(&child, LIMIT).await.expect("there is room");
    }
    store.update_account(AccountSid::from_u128(3), &suspended, NOW).await.expect("is open");
    store.create_account(&make::account(9)).await.expect("new");
    let list = async |filter: AccountFilter, after: Option<u128>, limit| {
        let page = Page { after: after.map(AccountSid::from_u128), limit };
        let found = store.accounts(&filter, &page).await.expect("answers");
        found.iter().map(|account| account.sid.as_u128()).collect::<Vec<_>>()
    };
    let family = || AccountFilter { family: Some(parent.sid), ..AccountFilter::default() };
    assert_eq!(list(AccountFilter::default(), None, 10).await, [1, 2, 3, 4, 5, 9]);
    assert_eq!(list(family(), None, 10).await, [1, 2, 3, 4, 5]);
    assert_eq!(list(family(), Some(2), 2).await, [3, 4]);
    let status = Some(AccountStatus::Suspended);
    assert_eq!(list(AccountFilter { status, ..family() }, None, 10).await, [3]);
    let friendly_name = Some("account 4".to_owned());
    assert_eq!(list(AccountFilter { friendly_name, ..family() }, None, 10).await, [4]);
    let childless = AccountFilter { family: Some(AccountSid::from_u128(2)), ..family() };
    assert_eq!(list(childless, None, 10).await, [2], "a subaccount sees itself alone");
}

pub(super) async fn change_and_close(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    let later = NOW.plus(Duration::from_secs(60));
    let turn = async |status| {
        store.update_account(account.sid, &make::turned(status), later).await.map(|(now, _)| now)
    };
    let named = store.update_account(account.sid, &make::named("new"), later).await;
    let expected = Account { friendly_name: "new".to_owned(), updated: later, ..account.clone() };
    assert_eq!(named.expect("is open").0, expected);
    for status in [AccountStatus::Suspended, AccountStatus::Active, AccountStatus::Closed] {
        let turned = turn(status).await.expect("is open");
        assert_eq!(turned, Account { status, ..expected.clone() });
        assert_eq!(store.account(account.sid).await.expect("is there"), turned);
    }
    let closed = [
        turn(AccountStatus::Active).await.map(drop),
        store.update_account(account.sid, &make::named("x"), later).await.map(drop),
        store.create_sink(&make::sink(1, &account), LIMIT).await.map(drop),
        store.create_api_key(&make::api_key(1, &account), LIMIT).await.map(drop),
        store.add_secondary_auth_token(account.sid, &make::secondary()).await.map(drop),
        store
            .create_subaccount(&Account { parent: Some(account.sid), ..make::account(2) }, LIMIT)
            .await
            .map(drop),
    ];
    for refused in closed {
        assert!(matches!(refused, Err(Error::Closed { .. })), "{refused:?}");
    }
    let unknown = store.update_account(AccountSid::from_u128(9), &make::named("x"), NOW).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
}

pub(super) async fn take_all_along(backend: &dyn Backend) {
    let (store, parent) = make::with_account(backend).await;
    let child = Account { parent: Some(parent.sid), ..make::account(2) };
    let stranger = make::account(3);
    store.create_subaccount(&child, LIMIT).await.expect("there is room");
    store.create_account(&stranger).await.expect("new");
    let accounts = [&parent, &child, &stranger];
    for (id, account) in (1..).zip(accounts) {
        let sink = make::sink(id, account);
        store.create_sink(&sink, LIMIT).await.expect("new");
        store.create_subscription(&make::subscription(id, &sink), LIMIT).await.expect("new");
        store.create_api_key(&make::api_key(id, account), LIMIT).await.expect("new");
        store.add_secondary_auth_token(account.sid, &make::secondary()).await.expect("has none");
    }
    let closed = make::turned(AccountStatus::Closed);
    store.update_account(child.sid, &closed, NOW).await.expect("is open");
    assert_eq!(store.account(parent.sid).await.expect("is there").status, AccountStatus::Active);
    store.update_account(parent.sid, &closed, NOW).await.expect("is open");

    let (_, left) = store.snapshot().await.expect("answers");
    let (mut tombstones, mut alive) = (Vec::new(), Vec::new());
    for resource in left {
        match resource {
            Resource::SinkTombstone(_, account) => tombstones.push(account.as_u128()),
            Resource::Sink(sink) => alive.push(sink.account.as_u128()),
            Resource::Subscription(subscription) => alive.push(subscription.account.as_u128()),
            Resource::ApiKey(key) => alive.push(key.account.as_u128()),
            Resource::Account(account) => {
                let closed = account.status == AccountStatus::Closed;
                assert_eq!(closed, account.sid != stranger.sid, "{account:?}");
                assert_eq!(account.secondary_auth_token.is_none(), closed, "{account:?}");
            }
            Resource::EventType(_) | Resource::SchemaVersion(_) => {}
        }
    }
    assert_eq!((tombstones, alive), (vec![1, 2], vec![3; 3]), "only the stranger's are left");
}

pub(super) async fn rotate_tokens(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    let (second, later) = (make::secondary(), NOW.plus(Duration::from_secs(60)));
    let none = store.promote_secondary_auth_token(account.sid, later).await.map(drop);
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
    let none = store.remove_secondary_auth_token(account.sid, later).await.map(drop);
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
    assert_eq!(store.account(account.sid).await.expect("is there"), account);

    let (with_both, _) =
        store.add_secondary_auth_token(account.sid, &second).await.expect("has none");
    let expected = Account { secondary_auth_token: Some(second.clone()), ..account.clone() };
    assert_eq!(with_both, expected);
    assert_eq!(store.account(account.sid).await.expect("is there"), expected);
    for token in [&account.auth_token, &second.token] {
        assert!(with_both.takes(&token.sha256()));
    }
    let again = store.add_secondary_auth_token(account.sid, &second).await.map(drop);
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    store.remove_secondary_auth_token(account.sid, later).await.expect("has one");
    store.add_secondary_auth_token(account.sid, &second).await.expect("has none again");
    let (promoted, _) =
        store.promote_secondary_auth_token(account.sid, later).await.expect("has one");
    assert_eq!(
        promoted,
        Account { auth_token: second.token.clone(), updated: later, ..account.clone() }
    );
    assert_eq!(store.account(account.sid).await.expect("is there"), promoted);
    assert!(!promoted.takes(&account.auth_token.sha256()), "the old one opens nothing");
}
