//! Files of JSON Lines on the deliverer's disk: an event a line, on the disk before it counts as delivered.
//!
//! A file is `<root>/<account>/<path>`. No part of it below the root may be a symbolic link, nor become one meanwhile: each part is
//! opened in the one before. A write that failed or was cut off leaves half a line at most, which is taken back when the file is
//! opened again: it was never acknowledged.

mod folder;
mod log;
mod place;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use millrace_domain::{
    SinkConfiguration,
    outcome::{Outcome, Reason},
};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout_at},
};

use self::{log::Log, place::Place};
use crate::{Attempt, BatchLimits, Delivery, Driver, SinkSpec, blocking, http::Verdict};

/// Most events and bytes of one write, which is one wait for the disk.
const LIMITS: BatchLimits = BatchLimits { events: 1_000, bytes: 1024 * 1024 };
/// Files that are kept open.
const OPEN_FILES: usize = 256;

/// Where files are, and how large they get.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// The folder that all of them are below; an absolute path.
    pub root: PathBuf,
    /// Bytes from which on a file is set aside and a new one begun.
    pub max_bytes: u64,
    /// Most files that are kept of a sink, the one that is written included.
    pub max_files: u32,
}

/// Delivers to files.
pub(crate) struct File {
    options: FileOptions,
    deadline: Duration,
    open: Mutex<HashMap<Place, Arc<AsyncMutex<Log>>>>,
}

impl File {
    /// A driver that gives up a write after `deadline`.
    pub(crate) fn new(options: FileOptions, deadline: Duration) -> Self {
        Self { options, deadline, open: Mutex::default() }
    }

    fn log(&self, place: Place) -> Arc<AsyncMutex<Log>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_FILES && !open.contains_key(&place) {
            open.retain(|_, log| Arc::strong_count(log) > 1);
        }
        let log = open.entry(place).or_insert_with_key(|place| {
            Arc::new(AsyncMutex::new(Log::new(place.clone(), &self.options)))
        });
        Arc::clone(log)
    }

    /// Appends lines, and waits until the disk has them. Dropped or late, it may still append them.
    async fn append(&self, place: Place, lines: Vec<u8>) -> Result<(), Failure> {
        let deadline = Instant::now() + self.deadline;
        let late = |_| Failure::Late;
        let log = self.log(place);
        // Whoever waits for the disk holds the log, so that a disk that hangs holds one thread for each file.
        let mut log = timeout_at(deadline, log.lock_owned()).await.map_err(late)?;
        let writing = blocking::run(move || log.append(&lines));
        let written = timeout_at(deadline, writing).await.map_err(late)?;
        written.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(Failure::Failed)
    }
}

/// Why lines are not known to be on the disk.
enum Failure {
    Late,
    Failed(io::Error),
}

#[async_trait]
impl Driver for File {
    fn limits(&self, _: &SinkSpec) -> BatchLimits {
        LIMITS
    }

    async fn deliver(&self, sink: &SinkSpec, batch: &[Delivery], _: i64) -> Attempt {
        let started = Instant::now();
        let SinkConfiguration::File { path } = &sink.configuration else {
            return Verdict::unusable("this is not a file".to_owned()).for_all(batch, started);
        };
        let place = Place { account: sink.account, path: path.clone() };
        let lines = lines(batch);
        let bytes = lines.len();
        let (outcome, detail) = match self.append(place, lines).await {
            Ok(()) => (Outcome::Delivered, format!("appended {bytes} bytes to `{path}`")),
            Err(Failure::Late) => (
                Outcome::Retry { reason: Reason::Timeout, after: None },
                format!("the disk did not take `{path}` within {:?}", self.deadline),
            ),
            Err(Failure::Failed(error)) => (
                Outcome::Retry { reason: Reason::Write, after: None },
                format!("cannot write `{path}`: {error}"),
            ),
        };
        Verdict { outcome, http_status: None, detail }.for_all(batch, started)
    }
}

/// A line for each event. A line feed in JSON is white space between its tokens, nothing else.
fn lines(batch: &[Delivery]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(batch.iter().map(|it| it.event.len() + 1).sum());
    for delivery in batch {
        let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
        lines.extend(delivery.event.iter().map(|byte| if breaks(byte) { b' ' } else { *byte }));
        lines.push(b'\n');
    }
    lines
}
