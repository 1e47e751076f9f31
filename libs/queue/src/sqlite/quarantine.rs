//! What is read of owners before and of the quarantine, beside the writer.

use bytes::Bytes;
use millrace_domain::Partition;
use sqlx::{Row, sqlite::SqliteRow};

use super::{SqliteQueue, clock::entry_id, failure::during};
use crate::{Inheritance, Place, Quarantined, Result, compress::decompress};

impl SqliteQueue {
    pub(super) async fn inherited(&self, partition: Partition) -> Result<Inheritance> {
        let home = i64::from(partition.0);
        let read = async {
            let select = "SELECT max(id) AS last,
                (SELECT unclean FROM owners WHERE partition = ?1) AS unclean
                FROM ready WHERE partition = ?1";
            let row = sqlx::query(select).bind(home).fetch_one(&self.reader).await?;
            let select = "SELECT place, note FROM suspects WHERE partition = ? ORDER BY place";
            let notes = sqlx::query(select).bind(home).fetch_all(&self.reader).await?;
            Ok(Inheritance {
                unclean: row.try_get::<Option<i64>, _>("unclean")? == Some(1),
                last: row.try_get::<Option<i64>, _>("last")?.map(entry_id),
                notes: notes.iter().filter_map(note_of).collect(),
            })
        };
        let found: sqlx::Result<_> = read.await;
        found.map_err(|error| during(error, || format!("read what was noted of {}", partition.0)))
    }

    pub(super) async fn all_quarantined(&self, partition: Partition) -> Result<Vec<Quarantined>> {
        let select =
            "SELECT place, reason, length(chunk) AS bytes FROM quarantined WHERE partition = ?";
        let rows = sqlx::query(select).bind(i64::from(partition.0)).fetch_all(&self.reader).await;
        let rows =
            rows.map_err(|error| during(error, || format!("list quarantine {}", partition.0)))?;
        let mut found: Vec<_> = rows.iter().filter_map(quarantined_of).collect();
        found.sort_by_key(|chunk| chunk.place);
        Ok(found)
    }

    pub(super) async fn one_quarantined(
        &self,
        partition: Partition,
        place: Place,
    ) -> Result<Option<Bytes>> {
        let select = "SELECT chunk FROM quarantined WHERE partition = ? AND place = ?";
        let read = async {
            let query = sqlx::query(select).bind(i64::from(partition.0)).bind(place.to_string());
            let row = query.fetch_optional(&self.reader).await?;
            row.map(|row| row.try_get::<Vec<u8>, _>("chunk")).transpose()
        };
        let stored: sqlx::Result<_> = read.await;
        let stored =
            stored.map_err(|error| during(error, || format!("read quarantine {}", partition.0)))?;
        Ok(stored.map(|stored| match place {
            Place::Ready(_) => stored.into(),
            Place::Parked(..) => decompress(stored),
        }))
    }
}

fn note_of(row: &SqliteRow) -> Option<(Place, u32)> {
    let place: String = row.try_get("place").ok()?;
    Some((place.parse().ok()?, row.try_get("note").ok()?))
}

fn quarantined_of(row: &SqliteRow) -> Option<Quarantined> {
    let place: String = row.try_get("place").ok()?;
    let bytes: i64 = row.try_get("bytes").ok()?;
    Some(Quarantined {
        place: place.parse().ok()?,
        reason: row.try_get("reason").ok()?,
        bytes: u64::try_from(bytes).ok()?,
    })
}
