//! Which events were appended before: what `append_new.lua` does for Redis, inside the writer's transaction.

use bytes::{Bytes, BytesMut};
use sqlx::SqliteConnection;

use super::job::AppendNew;

/// Marks what has no mark. Gives the chunk of what was marked, unless that is nothing, and the places of the rest.
pub(super) async fn unseen(
    to: &mut SqliteConnection,
    AppendNew { partition, chunk, keep }: &AppendNew,
    now_ms: i64,
) -> sqlx::Result<(Option<Bytes>, Vec<usize>)> {
    let expires = now_ms.saturating_add(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
    let (mut whole, mut seen) = (BytesMut::from(&*chunk.head), Vec::new());
    for (place, (mark, event)) in chunk.events.iter().enumerate() {
        let insert = "INSERT INTO seen (partition, mark, expires) VALUES (?, ?, ?)
            ON CONFLICT DO UPDATE SET expires = excluded.expires WHERE expires <= ?";
        let marked = sqlx::query(insert)
            .bind(i64::from(partition.0))
            .bind(mark.as_bytes().as_slice())
            .bind(expires)
            .bind(now_ms)
            .execute(&mut *to)
            .await?;
        if marked.rows_affected() == 0 {
            seen.push(place);
        } else {
            whole.extend_from_slice(event);
        }
    }
    let none = seen.len() == chunk.events.len();
    Ok(((!none).then(|| whole.freeze()), seen))
}

/// Forgets marks that expired.
pub(super) async fn forget(to: &mut SqliteConnection, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM seen WHERE expires <= ?").bind(now_ms).execute(to).await?;
    Ok(())
}
