//! Files: the suite, and what is on the disk.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_domain::{
    AccountSid, SinkConfiguration, SinkType,
    outcome::{Outcome, Reason},
};
use millrace_sinks::{
    Delivery, Driver, Drivers, FileOptions, Options, SinkSpec,
    conformance::{self, Behaviour, PATIENCE, Peer},
};
use tempfile::TempDir;

use crate::{NOW, options, spec};

struct Disk {
    root: TempDir,
    driver: Arc<dyn Driver>,
}

impl Disk {
    async fn new(deadline: Duration) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let file = FileOptions { root: root.path().to_owned(), max_bytes: 1 << 30, max_files: 2 };
        let drivers = Drivers::new(&Options { file: Some(file), ..options(deadline) });
        let driver = Arc::clone(drivers.expect("usable options").of(SinkType::File));
        Self { root, driver }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join(AccountSid::from_u128(1).to_string()).join("audit/events.jsonl")
    }
}

#[async_trait]
impl Peer for Disk {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.driver)
    }

    fn sink(&self) -> SinkSpec {
        spec(SinkConfiguration::File { path: "audit/events.jsonl".to_owned() })
    }

    async fn behave(&self, behaviour: Behaviour) -> bool {
        let path = self.path();
        match behaviour {
            Behaviour::Takes => {
                // What was in the way goes, what was written stays.
                if path.is_dir() {
                    fs::remove_dir(&path).expect("empty");
                }
                true
            }
            Behaviour::Fails => {
                assert!(!path.exists() || fs::remove_file(&path).is_ok());
                fs::create_dir_all(&path).is_ok()
            }
            _ => false,
        }
    }

    async fn taken(&self) -> Vec<String> {
        let Ok(text) = fs::read_to_string(self.path()) else { return Vec::new() };
        let id = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            event["id"].as_str().expect("an id").to_owned()
        };
        text.lines().map(id).collect()
    }

    async fn requests(&self) -> Option<usize> {
        None
    }
}

#[tokio::test]
async fn files_pass() {
    conformance::run(Disk::new).await;
}

#[tokio::test]
async fn an_event_is_a_line_whatever_white_space_it_has() {
    let disk = Disk::new(PATIENCE).await;
    let event = Delivery {
        id: "EZ1".to_owned(),
        account: None,
        traceparent: String::new(),
        event: Bytes::from_static(b"{\"id\":\"EZ1\",\r\n \"data\": {\"t\":\"a\\nb\"}\n}"),
        hash: None,
    };
    let attempt = disk.driver.deliver(&disk.sink(), &[event], NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Delivered], "{}", attempt.detail);
    let text = fs::read_to_string(disk.path()).expect("a file");
    assert_eq!(text, "{\"id\":\"EZ1\",   \"data\": {\"t\":\"a\\nb\"} }\n");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_worth_a_retry_and_shows_no_path_of_the_operator() {
    let disk = Disk::new(PATIENCE).await;
    let root = disk.root.path().display().to_string();
    fs::remove_dir(disk.root.path()).expect("empty");
    let event = Delivery {
        id: "EZ1".to_owned(),
        account: None,
        traceparent: String::new(),
        event: Bytes::from_static(b"{}"),
        hash: None,
    };
    let attempt = disk.driver.deliver(&disk.sink(), &[event], NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Retry { reason: Reason::Write, after: None }]);
    assert!(attempt.detail.contains("folder") && !attempt.detail.contains(&root), "{attempt:?}");
}
