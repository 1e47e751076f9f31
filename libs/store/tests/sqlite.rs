//! SQLite passes the suite, and what only SQLite does.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use millrace_store::{
    Changes, Keyring, OpenError, ResourceStore,
    conformance::{self, Backend, logs::LogBackend},
    logs::{LogStore, open_sqlite},
    sqlite,
};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

struct File {
    directory: TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.directory.path().join("a file's name?#%20.db")
    }
}

#[async_trait]
impl Backend for File {
    async fn open(&self, keyring: Keyring) -> Arc<dyn ResourceStore> {
        Arc::new(sqlite::open(&self.path(), keyring).await.expect("opens"))
    }

    async fn contents(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.directory.path()).expect("is there");
        files
            .flat_map(|file| std::fs::read(file.expect("is there").path()).expect("reads"))
            .collect()
    }
}

#[async_trait]
impl LogBackend for File {
    async fn open(&self) -> Arc<dyn LogStore> {
        Arc::new(open_sqlite(&self.path()).await.expect("opens"))
    }

    fn refuses_nul(&self) -> bool {
        false
    }
}

fn keyring() -> Keyring {
    Keyring::parse(Keyring::generate("test").reveal()).expect("a generated key is one")
}

#[tokio::test]
async fn sqlite_does_what_every_store_must() {
    conformance::run(async || {
        let directory = TempDir::new().expect("there is room");
        Box::new(File { directory }) as Box<dyn Backend>
    })
    .await;
}

#[tokio::test]
async fn sqlite_does_what_all_logs_must() {
    conformance::logs::run(async || {
        let directory = TempDir::new().expect("there is room");
        Box::new(File { directory }) as Box<dyn LogBackend>
    })
    .await;
}

#[tokio::test]
async fn a_file_keeps_what_was_committed_and_its_epoch() {
    let file = File { directory: TempDir::new().expect("there is room") };
    let keyring = keyring();
    let store = sqlite::open(&file.path(), keyring.clone()).await.expect("opens");
    let account = conformance::account(1);
    let version = conformance::as_test(store.create_account(&account)).await.expect("new");
    store.close().await;

    assert!(file.path().is_file(), "it is named as asked");
    let store = sqlite::open(&file.path(), keyring).await.expect("opens again");
    assert_eq!(store.version().await.expect("answers"), version);
    assert_eq!(store.account(account.sid).await.expect("is there"), account);
}

#[tokio::test]
async fn a_database_in_memory_outlives_calls_that_are_dropped() {
    let store = sqlite::open_ephemeral(keyring()).await.expect("opens");
    let account = conformance::account(1);
    conformance::as_test(store.create_account(&account)).await.expect("new");
    for id in 1..50 {
        let sink = conformance::sink(id, &account);
        // Dropped at its first await, whether or not it had come further.
        drop(futures::poll!(std::pin::pin!(conformance::as_test(store.create_sink(&sink, 100)))));
        let all = futures::future::join_all((0..4).map(|_| store.account(account.sid))).await;
        assert!(all.into_iter().all(|found| found.is_ok_and(|found| found == account)), "{id}");
    }
    let other = sqlite::open_ephemeral(keyring()).await.expect("opens");
    let (version, other) = (store.version().await, other.version().await);
    let (version, other) = (version.expect("answers"), other.expect("answers"));
    assert_eq!(other.seq, 0, "each is a database of its own");
    assert_ne!(other.epoch, version.epoch, "and of an epoch of its own");
}

#[tokio::test]
async fn changes_before_what_was_compacted_are_gone() {
    let file = File { directory: TempDir::new().expect("there is room") };
    let store = sqlite::open(&file.path(), keyring()).await.expect("opens");
    let mut version = store.version().await.expect("answers");
    for id in 1..=3 {
        conformance::as_test(store.create_account(&conformance::account(id))).await.expect("new");
    }
    let options = SqliteConnectOptions::new().filename(file.path());
    let mut connection = options.connect().await.expect("connects");
    let compact = "DELETE FROM changes WHERE seq <= 2; UPDATE meta SET compacted_through = 2";
    sqlx::raw_sql(compact).execute(&mut connection).await.expect("compacts");

    for (seq, expected) in [(0, None), (1, None), (2, Some(1)), (3, Some(0))] {
        version.seq = seq;
        let left = match store.changes(version, 10).await.expect("answers") {
            Changes::Some(changes) => Some(changes.len()),
            Changes::Gone => None,
        };
        assert_eq!(left, expected, "after {seq}");
    }
}

#[tokio::test]
async fn a_file_that_a_newer_release_took_something_from_is_refused() {
    let file = File { directory: TempDir::new().expect("there is room") };
    let keyring = keyring();
    sqlite::open(&file.path(), keyring.clone()).await.expect("opens").close().await;
    let mut other =
        SqliteConnectOptions::new().filename(file.path()).connect().await.expect("connects");
    let mut say = async |sql| sqlx::raw_sql(sql).execute(&mut other).await.expect("says");
    say("UPDATE meta SET needs = 9999; ALTER TABLE sinks DROP COLUMN description").await;
    let refused = sqlite::open(&file.path(), keyring).await;
    let Err(error @ OpenError::TooNew { needs: 9999, .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("run a newer release"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let file = File { directory: TempDir::new().expect("there is room") };
    std::fs::write(file.path(), "no database".repeat(1_000)).expect("writes");
    let refused = sqlite::open(&file.path(), keyring()).await;
    assert!(matches!(refused, Err(OpenError::Connect { .. })), "{refused:?}");
}
