//! Chunks in quarantine: listed, shown, moved back to `ready`, deleted.

use ::redis::cmd;
use bytes::Bytes;
use millrace_domain::Partition;

use super::{RedisQueue, failure::Failure, script::SCRIPTS};
use crate::{
    Place, Quarantined, Result,
    compress::{decompress, unpack},
};

impl RedisQueue {
    pub(super) async fn all_quarantined(&self, partition: Partition) -> Result<Vec<Quarantined>> {
        let failed =
            |failure: Failure| failure.during(|| format!("list quarantine {}", partition.0));
        let key = self.keys.quarantine(partition);
        let fields: Vec<String> = self.link.query(cmd("HKEYS").arg(&key)).await.map_err(failed)?;
        let mut places: Vec<Place> = fields.iter().filter_map(|field| field.parse().ok()).collect();
        places.sort_unstable();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = ::redis::pipe();
        for place in &places {
            pipeline.cmd("HGET").arg(&key).arg(format!("{place}:why"));
            pipeline.cmd("HSTRLEN").arg(&key).arg(place.to_string());
        }
        let answers: Vec<::redis::Value> = self.link.pipeline(&pipeline).await.map_err(failed)?;
        let mut found = Vec::with_capacity(places.len());
        for (place, answer) in places.into_iter().zip(answers.as_chunks::<2>().0) {
            let read =
                |error: ::redis::ParsingError| failed(::redis::RedisError::from(error).into());
            let why: Option<Vec<u8>> = ::redis::from_redis_value_ref(&answer[0]).map_err(read)?;
            let bytes: u64 = ::redis::from_redis_value_ref(&answer[1]).map_err(read)?;
            let reason = String::from_utf8_lossy(&why.unwrap_or_default()).into_owned();
            found.push(Quarantined { place, reason, bytes });
        }
        Ok(found)
    }

    pub(super) async fn one_quarantined(
        &self,
        partition: Partition,
        place: Place,
    ) -> Result<Option<Bytes>> {
        let mut get = cmd("HGET");
        get.arg(self.keys.quarantine(partition)).arg(place.to_string());
        let stored: Option<Vec<u8>> = self
            .link
            .query(&get)
            .await
            .map_err(|failure| failure.during(|| format!("read quarantine {}", partition.0)))?;
        Ok(stored.map(|stored| match place {
            Place::Ready(_) => unpack(stored.into()),
            Place::Parked(..) => decompress(stored),
        }))
    }

    pub(super) async fn redrive_places(
        &self,
        partition: Partition,
        places: &[Place],
    ) -> Result<u64> {
        let mut moved = 0;
        for place in places {
            let mut call = SCRIPTS.redrive.call();
            call.key(self.keys.quarantine(partition)).key(self.keys.ready(partition)).arg(place);
            // What was parked is a zstd frame, which nothing in `ready` is.
            let unpacked = match place {
                Place::Ready(_) => Some(Bytes::new()),
                Place::Parked(..) => self.one_quarantined(partition, *place).await?,
            };
            let Some(unpacked) = unpacked else { continue };
            call.bytes(unpacked);
            let one: u64 = self
                .link
                .call(&call)
                .await
                .map_err(|failure| failure.during(|| format!("re-drive `{place}`")))?;
            moved += one;
        }
        Ok(moved)
    }

    pub(super) async fn discard_places(
        &self,
        partition: Partition,
        places: &[Place],
    ) -> Result<u64> {
        if places.is_empty() {
            return Ok(0);
        }
        let mut delete = cmd("HDEL");
        delete.arg(self.keys.quarantine(partition));
        for place in places {
            delete.arg(place.to_string()).arg(format!("{place}:why"));
        }
        let fields: u64 =
            self.link.query(&delete).await.map_err(|failure| {
                failure.during(|| format!("empty quarantine {}", partition.0))
            })?;
        Ok(fields / 2)
    }
}
