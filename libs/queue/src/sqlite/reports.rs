//! Reports in the embedded queue.

use bytes::Bytes;
use millrace_domain::Partition;
use sqlx::{Row, SqliteConnection};

use super::{
    clock::{entry_id, number},
    job::TakeReports,
    numbers, partition_of,
};
use crate::{EntryId, Report, ReportKind};

/// From then on, what a consumer has in hand is another's to take.
const TAKEN_OVER_AFTER_MS: i64 = 60_000;

/// Puts reports into a consumer's hands.
pub(super) async fn take(
    to: &mut SqliteConnection,
    wanted: &TakeReports,
    now_ms: i64,
) -> sqlx::Result<Vec<Report>> {
    let take = "UPDATE reports SET consumer = ?, since = ? WHERE id IN (
            SELECT id FROM reports WHERE kind = ? AND (consumer IS NULL OR since <= ?)
            ORDER BY id LIMIT ?)
        RETURNING id, partition, body";
    let rows = sqlx::query(take)
        .bind(&wanted.consumer)
        .bind(now_ms)
        .bind(kind_number(wanted.kind))
        .bind(now_ms - TAKEN_OVER_AFTER_MS)
        .bind(i64::try_from(wanted.limit).unwrap_or(i64::MAX))
        .fetch_all(to)
        .await?;
    let mut reports = rows
        .iter()
        .map(|row| {
            Ok(Report {
                partition: partition_of(row.try_get("partition")?),
                id: entry_id(row.try_get("id")?),
                body: Bytes::from(row.try_get::<Vec<u8>, _>("body")?),
            })
        })
        .collect::<sqlx::Result<Vec<_>>>()?;
    reports.sort_by_key(|report| report.id);
    Ok(reports)
}

/// Removes reports.
pub(super) async fn remove(
    to: &mut SqliteConnection,
    reports: &[(Partition, EntryId)],
) -> sqlx::Result<()> {
    let ids = numbers(reports.iter().map(|(_, id)| number(*id)));
    let delete = "DELETE FROM reports WHERE id IN (SELECT value FROM json_each(?))";
    sqlx::query(delete).bind(ids).execute(to).await?;
    Ok(())
}

/// Removes all but the newest `most` reports of attempts; tells how many.
pub(super) async fn trim_attempts(
    to: &mut SqliteConnection,
    partition: Partition,
    most: u64,
) -> sqlx::Result<u64> {
    let delete = "DELETE FROM reports WHERE kind = ?1 AND partition = ?2 AND id <= (
        SELECT id FROM reports WHERE kind = ?1 AND partition = ?2
        ORDER BY id DESC LIMIT 1 OFFSET ?3)";
    let trimmed = sqlx::query(delete)
        .bind(kind_number(ReportKind::Attempts))
        .bind(i64::from(partition.0))
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .execute(to)
        .await?;
    Ok(trimmed.rows_affected())
}

/// How a kind is stored.
pub(super) fn kind_number(kind: ReportKind) -> i64 {
    match kind {
        ReportKind::Attempts => 0,
        ReportKind::Drops => 1,
    }
}
