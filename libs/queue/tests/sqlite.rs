//! The queue in SQLite passes the suite, in a file and in memory.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use millrace_queue::{
    Queue, SqliteOptions, SqliteQueue,
    conformance::{self, ATTEMPTS_MAX, Fixture, PARTITIONS, Store},
};
use tempfile::TempDir;
use tokio::{sync::Mutex, time::timeout};

struct InFiles;
struct InMemory;

#[async_trait]
impl Fixture for InFiles {
    async fn fresh(&self) -> Box<dyn Store> {
        Box::new(Directory::new(Some(tempfile::tempdir().expect("a directory"))))
    }
}

#[async_trait]
impl Fixture for InMemory {
    async fn fresh(&self) -> Box<dyn Store> {
        Box::new(Directory::new(None))
    }
}

struct Directory {
    directory: Option<TempDir>,
    /// When what was opened before is gone. There is one process at a time: the leases of the last are over only then.
    before: Mutex<BoxFuture<'static, ()>>,
}

impl Directory {
    fn new(directory: Option<TempDir>) -> Self {
        Self { directory, before: Mutex::new(Box::pin(std::future::ready(()))) }
    }
}

/// How long the last process may take to be gone.
const GONE: Duration = Duration::from_secs(10);

#[async_trait]
impl Store for Directory {
    async fn open(&self) -> Arc<dyn Queue> {
        let options = SqliteOptions {
            path: self.directory.as_ref().map(|directory| directory.path().join("queue.db")),
            partitions: PARTITIONS,
            attempts_max: ATTEMPTS_MAX,
            ..SqliteOptions::default()
        };
        let mut before = self.before.lock().await;
        timeout(GONE, &mut *before).await.expect("the queue that was opened before is dropped");
        let queue = SqliteQueue::open(options).await.expect("open");
        *before = Box::pin(queue.ended());
        Arc::new(queue)
    }

    fn is_durable(&self) -> bool {
        self.directory.is_some()
    }
}

#[tokio::test]
async fn ready_is_as_the_contract_says() {
    conformance::ready(&InFiles).await;
    conformance::ready(&InMemory).await;
}

#[tokio::test]
async fn marks_are_as_the_contract_says() {
    conformance::marks(&InFiles).await;
    conformance::marks(&InMemory).await;
}

#[tokio::test]
async fn room_is_as_the_contract_says() {
    conformance::room(&InFiles).await;
    conformance::room(&InMemory).await;
}

#[tokio::test]
async fn owners_are_as_the_contract_says() {
    conformance::owners(&InFiles).await;
    conformance::owners(&InMemory).await;
}

#[tokio::test]
async fn settlements_are_as_the_contract_says() {
    conformance::settlements(&InFiles).await;
    conformance::settlements(&InMemory).await;
}

#[tokio::test]
async fn parks_are_as_the_contract_says() {
    conformance::parks(&InFiles).await;
    conformance::parks(&InMemory).await;
}

#[tokio::test]
async fn reports_are_as_the_contract_says() {
    conformance::reports(&InFiles).await;
    conformance::reports(&InMemory).await;
}

#[tokio::test]
async fn crashes_lose_nothing() {
    conformance::crashes(&InFiles).await;
}

#[tokio::test]
async fn recovery_is_as_the_contract_says() {
    conformance::recovery(&InFiles).await;
    conformance::recovery(&InMemory).await;
}
