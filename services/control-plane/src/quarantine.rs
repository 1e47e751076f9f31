//! What operators do with chunks that deliverers set aside.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use millrace_domain::Partition;
use millrace_queue::{Error, NoPlace, Place, Quarantined};
use millrace_store::{ResourceStore, audit::Deed};
use serde_json::Value;

use crate::{
    auth::Caller,
    queue::QueueHandle,
    status::{About, Failure, Kind, code, unavailable},
};

/// Most chunks in one request.
const NAMES_MAX: usize = 1_000;

/// The operations on chunks in quarantine; for platform keys only.
#[derive(Clone)]
pub(crate) struct Quarantine {
    /// Where what is done to chunks is written down.
    pub(crate) store: Arc<dyn ResourceStore>,
    pub(crate) queue: QueueHandle,
    pub(crate) partitions: u16,
}

/// Names a chunk in quarantine. As text: partition, a slash, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) partition: Partition,
    pub(crate) place: Place,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition.0, self.place)
    }
}

impl FromStr for Name {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (partition, place) = text.split_once('/').ok_or(NoPlace)?;
        let partition = Partition(partition.parse().map_err(|_| NoPlace)?);
        Ok(Self { partition, place: place.parse()? })
    }
}

/// A chunk in quarantine, and where.
pub(crate) struct Listed {
    pub(crate) name: Name,
    pub(crate) chunk: Quarantined,
}

impl Quarantine {
    /// Up to `limit` chunks by name, after one of them.
    pub(crate) async fn list(
        &self,
        caller: Caller,
        after: Option<Name>,
        limit: usize,
    ) -> Result<Vec<Listed>, Failure> {
        caller.must_be_platform()?;
        let (queue, mut found) = (self.queue.get()?, Vec::new());
        let first = after.map_or(0, |name| name.partition.0);
        for partition in (first..self.partitions).map(Partition) {
            let chunks = queue.quarantined(partition).await.map_err(of_queue)?;
            let named = chunks
                .into_iter()
                .map(|chunk| Listed { name: Name { partition, place: chunk.place }, chunk });
            found.extend(named.filter(|listed| after.is_none_or(|after| listed.name > after)));
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// One chunk, with its bytes.
    pub(crate) async fn fetch(
        &self,
        caller: Caller,
        name: Name,
    ) -> Result<(Listed, Bytes), Failure> {
        caller.must_be_platform()?;
        let queue = self.queue.get()?;
        let missing = || {
            let message = format!("`{name}` is not in quarantine");
            Failure::new(Kind::NotFound, code::NOT_FOUND, message)
        };
        if name.partition.0 >= self.partitions {
            return Err(missing());
        }
        let chunks = queue.quarantined(name.partition).await.map_err(of_queue)?;
        let chunk =
            chunks.into_iter().find(|chunk| chunk.place == name.place).ok_or_else(missing)?;
        let bytes = queue.quarantined_chunk(name.partition, name.place).await.map_err(of_queue)?;
        Ok((Listed { name, chunk }, bytes.ok_or_else(missing)?))
    }

    /// Has chunks delivered after all; tells how many were there.
    pub(crate) async fn redrive(&self, caller: Caller, names: &[Name]) -> Result<u64, Failure> {
        let (queue, mut moved) = (self.asked(caller, names)?, 0);
        self.note("redrive", names).await?;
        for (partition, places) in self.by_partition(names) {
            moved += queue.redrive(partition, &places).await.map_err(of_queue)?;
        }
        tracing::info!(moved, "chunks were taken out of quarantine, to be delivered");
        Ok(moved)
    }

    /// Deletes chunks; tells how many were there.
    pub(crate) async fn discard(&self, caller: Caller, names: &[Name]) -> Result<u64, Failure> {
        let (queue, mut gone) = (self.asked(caller, names)?, 0);
        self.note("discard", names).await?;
        for (partition, places) in self.by_partition(names) {
            gone += queue.discard(partition, &places).await.map_err(of_queue)?;
        }
        tracing::info!(gone, "chunks were discarded from quarantine");
        Ok(gone)
    }

    /// Writes down what is about to be done: nothing is done that is not written.
    async fn note(&self, action: &'static str, names: &[Name]) -> Result<(), Failure> {
        let deed = |name: &Name| Deed {
            action,
            kind: "quarantined_chunk",
            key: name.to_string(),
            account: None,
            detail: Value::Null,
        };
        let deeds: Vec<_> = names.iter().map(deed).collect();
        let noted = self.store.audit(&deeds).await;
        noted.map_err(|error| Failure::of_store(error, About::Account))
    }

    fn asked(
        &self,
        caller: Caller,
        names: &[Name],
    ) -> Result<std::sync::Arc<dyn millrace_queue::Queue>, Failure> {
        caller.must_be_platform()?;
        if names.is_empty() || names.len() > NAMES_MAX {
            let message = format!("must be from 1 to {NAMES_MAX} names");
            return Err(Failure::invalid(code::BAD_REQUEST, "names", message));
        }
        self.queue.get()
    }

    /// In partitions that there are; nothing is in the others.
    fn by_partition(&self, names: &[Name]) -> BTreeMap<Partition, Vec<Place>> {
        let mut places: BTreeMap<Partition, Vec<Place>> = BTreeMap::new();
        for name in names.iter().filter(|name| name.partition.0 < self.partitions) {
            places.entry(name.partition).or_default().push(name.place);
        }
        places
    }
}

fn of_queue(error: Error) -> Failure {
    if matches!(error, Error::Full) {
        let message = "the queue is full: try again when it has room";
        return Failure::new(Kind::LimitReached, code::UNAVAILABLE, message);
    }
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "the queue did not serve a request about the quarantine"
    );
    unavailable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "7/1700000000000-3",
            "0/DG00000000000000000000000000000007:backlog:00000000000000000000000000000009",
        ] {
            assert_eq!(text.parse::<Name>().expect("a name").to_string(), text);
        }
        for wrong in ["", "7", "7/", "/5-1", "70000/5-1", "7/5-1/2", "x/5-1"] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }
}
