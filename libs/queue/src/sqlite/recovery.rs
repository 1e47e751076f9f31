//! What outlives an owner, and the way into quarantine and out of it, inside the writer's transaction.

use millrace_domain::Partition;
use sqlx::{Row, SqliteConnection};

use super::{
    clock::number,
    job::Ask,
    leases::Change,
    settle::{class_number, sink_bytes},
    writer::Writer,
};
use crate::{Ownership, Place, Settlement, Token, compress::decompress};

/// Remembers who holds a partition until it is released, and that a holder did not do so. A process that comes again itself
/// lives: the second half of its tokens tells.
pub(super) async fn remember(
    to: &mut SqliteConnection,
    ask: &Ask<(Vec<Partition>, Token, Change), Vec<Ownership>>,
) -> sqlx::Result<()> {
    let (partitions, token, change) = &ask.work;
    let held = ask.outcome().map(Vec::as_slice).unwrap_or_default();
    for (partition, ownership) in partitions.iter().zip(held) {
        let statement = match (change, ownership) {
            (Change::Acquire(..), Ownership::Held) => {
                "INSERT INTO owners (partition, token) VALUES (?1, ?2)
                ON CONFLICT (partition) DO UPDATE SET
                unclean = unclean OR coalesce(substr(token, 9) <> substr(excluded.token, 9), 0), token = excluded.token"
            }
            (Change::Release, _) => {
                "UPDATE owners SET token = NULL WHERE partition = ?1 AND token = ?2"
            }
            _ => continue,
        };
        let statement = sqlx::query(statement).bind(i64::from(partition.0));
        statement.bind(token.0.as_bytes().as_slice()).execute(&mut *to).await?;
    }
    Ok(())
}

/// Writes notes.
pub(super) async fn note(
    to: &mut SqliteConnection,
    partition: Partition,
    notes: &[(Place, u32)],
) -> sqlx::Result<()> {
    for (place, note) in notes {
        sqlx::query("INSERT OR REPLACE INTO suspects (partition, place, note) VALUES (?, ?, ?)")
            .bind(i64::from(partition.0))
            .bind(place.to_string())
            .bind(note)
            .execute(&mut *to)
            .await?;
    }
    Ok(())
}

/// Removes the notes that a settlement acquits of, and the doubt that it ends.
pub(super) async fn acquit(
    to: &mut SqliteConnection,
    partition: Partition,
    settlement: &Settlement,
) -> sqlx::Result<()> {
    let home = i64::from(partition.0);
    for place in &settlement.acquitted {
        let delete = "DELETE FROM suspects WHERE partition = ? AND place = ?";
        sqlx::query(delete).bind(home).bind(place.to_string()).execute(&mut *to).await?;
    }
    if settlement.trusted {
        let trust = "UPDATE owners SET unclean = 0 WHERE partition = ?";
        sqlx::query(trust).bind(home).execute(to).await?;
    }
    Ok(())
}

/// Copies a chunk to quarantine as it is stored; one that is not there, or expired, is nothing to keep.
pub(super) async fn quarantine(
    to: &mut SqliteConnection,
    partition: Partition,
    place: Place,
    reason: &str,
) -> sqlx::Result<()> {
    let home = i64::from(partition.0);
    let copy = match place {
        Place::Ready(id) => {
            let copy = "INSERT OR IGNORE INTO quarantined (partition, place, reason, chunk)
                SELECT partition, ?, ?, chunk FROM ready WHERE partition = ? AND id = ?";
            sqlx::query(copy).bind(place.to_string()).bind(reason).bind(home).bind(number(id))
        }
        Place::Parked(sink, class, id) => {
            let copy = "INSERT OR IGNORE INTO quarantined (partition, place, reason, chunk)
                SELECT partition, ?, ?, chunk FROM parked WHERE partition = ? AND sink = ?
                AND class = ? AND id = ? AND chunk IS NOT NULL";
            let copy = sqlx::query(copy).bind(place.to_string()).bind(reason).bind(home);
            let copy = copy.bind(sink_bytes(sink)).bind(class_number(class));
            copy.bind(id.0.as_bytes().to_vec())
        }
    };
    copy.execute(to).await?;
    Ok(())
}

/// Moves chunks from quarantine to the end of `ready`; tells how many were there.
pub(super) async fn redrive(
    writer: &mut Writer,
    to: &mut SqliteConnection,
    (partition, places): &(Partition, Vec<Place>),
) -> sqlx::Result<u64> {
    let home = i64::from(partition.0);
    let mut moved = 0;
    for place in places {
        let take = "DELETE FROM quarantined WHERE partition = ? AND place = ? RETURNING chunk";
        let taken = sqlx::query(take).bind(home).bind(place.to_string());
        let Some(row) = taken.fetch_optional(&mut *to).await? else { continue };
        let stored: Vec<u8> = row.try_get("chunk")?;
        let chunk = match place {
            Place::Ready(_) => stored.into(),
            Place::Parked(..) => decompress(stored),
        };
        let id = writer.ids.next(writer.clock.now_ms());
        sqlx::query("INSERT INTO ready (id, partition, chunk) VALUES (?, ?, ?)")
            .bind(id)
            .bind(home)
            .bind(chunk.as_ref())
            .execute(&mut *to)
            .await?;
        moved += 1;
    }
    Ok(moved)
}

/// Deletes chunks from quarantine; tells how many were there.
pub(super) async fn discard(
    to: &mut SqliteConnection,
    (partition, places): &(Partition, Vec<Place>),
) -> sqlx::Result<u64> {
    let mut gone = 0;
    for place in places {
        let delete = "DELETE FROM quarantined WHERE partition = ? AND place = ?";
        let delete = sqlx::query(delete).bind(i64::from(partition.0)).bind(place.to_string());
        gone += delete.execute(&mut *to).await?.rows_affected();
    }
    Ok(gone)
}
