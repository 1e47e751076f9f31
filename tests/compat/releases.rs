//! The bytes that each release wrote: what it left in Redis, and what it told those who watch its configuration. Every later one
//! reads them. `MILLRACE_FIXTURE=NAME` (`make fixtures`) has this one write its own, which are never written again.
//!
//! A directory of `fixtures` is a release: `queue.resp` has the commands that make its keys, as in an append-only file; `watch.binpb`
//! the messages of a watch, each after its length; the JSON beside them what they mean.

mod meaning;
mod sample;

use std::{
    fs,
    path::{Path, PathBuf},
};

use millrace_proto::internal::WatchResponse;
use millrace_queue::{RedisOptions, RedisQueue};
use millrace_testkit::redis::{Server, ServerOptions};
use prost::Message as _;
use serde_json::Value;

/// What the keys of a fixture begin with, and how many partitions it has.
const PREFIX: &str = "mr";
const PARTITIONS: u16 = 4;
/// Names the fixture to write.
const WRITE: &str = "MILLRACE_FIXTURE";
/// The files of a release.
const QUEUE: [&str; 2] = ["queue.resp", "queue.json"];
const WATCH: [&str; 2] = ["watch.binpb", "watch.json"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/fixtures")
}

/// The directory of each release, in order.
fn releases() -> Vec<PathBuf> {
    let entries = fs::read_dir(fixtures()).expect("fixtures are there");
    let mut releases: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    releases.sort();
    assert!(!releases.is_empty(), "the first release wrote some");
    releases
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it is there")).expect("JSON")
}

async fn redis() -> Server {
    Server::start(ServerOptions::default()).await.expect("install redis-server")
}

async fn queue_on(redis: &Server) -> RedisQueue {
    let options = RedisOptions {
        url: redis.url(),
        prefix: PREFIX.to_owned(),
        partitions: PARTITIONS,
        ..RedisOptions::default()
    };
    RedisQueue::connect(options).await.expect("Redis is as this release wants it")
}

async fn read_queue(release: &Path) -> Value {
    let redis = redis().await;
    let bytes = fs::read(release.join(QUEUE[0])).expect("it is there");
    redis.load(&bytes).await.expect("Redis takes it");
    meaning::of_queue(&queue_on(&redis).await, PARTITIONS).await
}

fn read_watch(release: &Path) -> Value {
    let bytes = fs::read(release.join(WATCH[0])).expect("it is there");
    let (mut rest, mut messages) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        messages.push(WatchResponse::decode_length_delimited(&mut rest).expect("a message"));
    }
    messages.iter().map(meaning::of_watch).collect()
}

/// Writes what this release writes.
async fn write(release: &Path) {
    fs::create_dir(release).expect("a fixture is never written again");
    let redis = redis().await;
    sample::fill(&queue_on(&redis).await).await;
    // A lease is of its time.
    let bytes = redis.dump(|key| !key.ends_with(":owner")).await.expect("Redis answers");
    fs::write(release.join(QUEUE[0]), bytes).expect("written");
    let watch: Vec<u8> =
        sample::watch().iter().flat_map(WatchResponse::encode_length_delimited_to_vec).collect();
    fs::write(release.join(WATCH[0]), watch).expect("written");
    let text = |meaning: &Value| serde_json::to_string_pretty(meaning).expect("JSON") + "\n";
    fs::write(release.join(QUEUE[1]), text(&read_queue(release).await)).expect("written");
    fs::write(release.join(WATCH[1]), text(&read_watch(release))).expect("written");
}

#[tokio::test]
async fn what_every_release_left_in_redis_is_read() {
    for release in releases() {
        let meaning = json(&release.join(QUEUE[1]));
        assert_eq!(read_queue(&release).await, meaning, "{}", release.display());
    }
}

#[test]
fn what_every_release_told_of_the_configuration_is_read() {
    for release in releases() {
        assert_eq!(read_watch(&release), json(&release.join(WATCH[1])), "{}", release.display());
    }
}

/// What this release writes means what it should: the newest fixture says so, but for what was added since.
#[tokio::test]
async fn this_release_writes_what_it_reads() {
    let directory = tempfile::tempdir().expect("a directory");
    let own = directory.path().join("own");
    write(&own).await;
    let chunks = json(&own.join(QUEUE[1]));
    let bytes = fs::read(own.join(QUEUE[0])).expect("it is there");
    assert!(bytes.windows(4).any(|four| four == b"\0lz4"), "a chunk is packed");
    let of = |pointer: &str| chunks.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(of("/1/ready/0/events/0/id"), "EZ-ready");
    assert_eq!(of("/1/ready/1/events/19/id"), "EZ-packed-19");
    assert_eq!(of("/1/parked/0/chunk/events/0/variants/0/event/specversion"), "1.0");
    assert_eq!(of("/1/quarantine/0/reason"), "its owners died of it");
    assert_eq!(of("/1/attempts/0/attempts/0/outcome"), "ATTEMPT_OUTCOME_RETRY");
    let Some(name) = std::env::var_os(WRITE).filter(|name| !name.is_empty()) else { return };
    let release = fixtures().join(name);
    assert!(!release.exists(), "{} is of a release: it is never written again", release.display());
    fs::create_dir(&release).expect("it was not there");
    for file in [QUEUE, WATCH].concat() {
        fs::copy(own.join(file), release.join(file)).expect("copied");
    }
    println!("wrote {}", release.display());
}
