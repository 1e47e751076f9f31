//! Settling: what `settle.lua` does for Redis, inside the writer's transaction.

use millrace_domain::{Partition, SinkSid};
use millrace_proto::internal::DropReports;
use prost::Message;
use sqlx::SqliteConnection;

use super::{
    clock::number,
    numbers, recovery,
    reports::{self, kind_number},
    writer::Writer,
};
use crate::{Class, KEPT_AFTER_WINDOW, Park, Place, ReportKind, Settled, Settlement, Token};

/// Settles; `None`, and nothing is changed, where the token is stale.
pub(super) async fn settle(
    writer: &mut Writer,
    to: &mut SqliteConnection,
    (partition, token, settlement): &(Partition, Token, Settlement),
) -> sqlx::Result<Option<Settled>> {
    let now_ms = writer.clock.now_ms();
    if !writer.leases.holds(*partition, *token, now_ms) {
        return Ok(None);
    }
    let asked = settlement.entries.len() + settlement.unparked.len() + settlement.quarantined.len();
    let gone = consume(to, *partition, settlement).await?;
    if asked > 0 && gone == 0 {
        return Ok(Some(Settled::Already));
    }
    for park in &settlement.parks {
        keep(to, *partition, park).await?;
    }
    set_backlogs(to, *partition, settlement).await?;
    recovery::acquit(to, *partition, settlement).await?;
    if !settlement.attempts.attempts.is_empty() {
        let body = settlement.attempts.encode_to_vec();
        append_report(writer, to, *partition, ReportKind::Attempts, body).await?;
        let trimmed = trim(writer, to, *partition).await?;
        writer.count_trimmed(trimmed);
    }
    if settlement.drops != DropReports::default() {
        let body = settlement.drops.encode_to_vec();
        append_report(writer, to, *partition, ReportKind::Drops, body).await?;
    }
    Ok(Some(Settled::Done))
}

/// Removes what is done with; tells how much of it was there.
async fn consume(
    to: &mut SqliteConnection,
    partition: Partition,
    settlement: &Settlement,
) -> sqlx::Result<u64> {
    let home = i64::from(partition.0);
    let (mut entries, mut unparked) = (settlement.entries.clone(), settlement.unparked.clone());
    for (place, reason) in &settlement.quarantined {
        recovery::quarantine(to, partition, *place, reason).await?;
        match place {
            Place::Ready(id) => entries.push(*id),
            Place::Parked(sink, class, id) => unparked.push((*sink, *class, *id)),
        }
    }
    let ids = numbers(entries.into_iter().map(number));
    let mut gone = 0;
    if ids != "[]" {
        let delete =
            "DELETE FROM ready WHERE partition = ? AND id IN (SELECT value FROM json_each(?))";
        gone += sqlx::query(delete).bind(home).bind(ids).execute(&mut *to).await?.rows_affected();
    }
    for (sink, class, id) in &unparked {
        let delete = "DELETE FROM parked WHERE partition = ? AND sink = ? AND class = ? AND id = ?";
        let delete = sqlx::query(delete).bind(home).bind(sink_bytes(*sink));
        let delete = delete.bind(class_number(*class)).bind(id.0.as_bytes().as_slice());
        gone += delete.execute(&mut *to).await?.rows_affected();
    }
    Ok(gone)
}

async fn keep(to: &mut SqliteConnection, partition: Partition, park: &Park) -> sqlx::Result<()> {
    let insert = "INSERT INTO parked (partition, sink, class, id, at, expires, chunk)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (partition, sink, class, id)
        DO UPDATE SET at = excluded.at, expires = excluded.expires, chunk = excluded.chunk";
    sqlx::query(insert)
        .bind(i64::from(partition.0))
        .bind(sink_bytes(park.sink))
        .bind(class_number(park.class))
        .bind(park.id.0.as_bytes().as_slice())
        .bind(park.at.as_millis())
        .bind(park.expires.plus(KEPT_AFTER_WINDOW).as_millis())
        .bind(park.chunk.as_ref())
        .execute(to)
        .await?;
    Ok(())
}

async fn set_backlogs(
    to: &mut SqliteConnection,
    partition: Partition,
    settlement: &Settlement,
) -> sqlx::Result<()> {
    let home = i64::from(partition.0);
    for (sink, state) in &settlement.backlogs {
        // Whatever the owner thinks: a sink that has something parked must be found by the next owner.
        let changes: &[&str] = match state {
            Some(_) => {
                &["INSERT OR REPLACE INTO backlogs (partition, sink, state) VALUES (?1, ?2, ?3)"]
            }
            None => &[
                "DELETE FROM backlogs WHERE partition = ?1 AND sink = ?2 AND NOT EXISTS (
                    SELECT 1 FROM parked WHERE partition = ?1 AND sink = ?2)",
                "INSERT OR IGNORE INTO backlogs (partition, sink, state)
                    SELECT ?1, ?2, ?3 WHERE EXISTS (
                    SELECT 1 FROM parked WHERE partition = ?1 AND sink = ?2)",
            ],
        };
        let state = state.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        for change in changes {
            let change = sqlx::query(*change).bind(home).bind(sink_bytes(*sink));
            change.bind(state.as_slice()).execute(&mut *to).await?;
        }
    }
    Ok(())
}

async fn append_report(
    writer: &mut Writer,
    to: &mut SqliteConnection,
    partition: Partition,
    kind: ReportKind,
    body: Vec<u8>,
) -> sqlx::Result<()> {
    let id = writer.ids.next(writer.clock.now_ms());
    sqlx::query("INSERT INTO reports (id, kind, partition, body) VALUES (?, ?, ?, ?)")
        .bind(id)
        .bind(kind_number(kind))
        .bind(i64::from(partition.0))
        .bind(body)
        .execute(to)
        .await?;
    Ok(())
}

/// Keeps a partition's reports of attempts to about their bound, now and then; tells how many went.
async fn trim(
    writer: &mut Writer,
    to: &mut SqliteConnection,
    partition: Partition,
) -> sqlx::Result<u64> {
    let slack = (writer.attempts_max / 16).max(1);
    let untrimmed = writer.untrimmed.entry(partition).or_insert(slack);
    *untrimmed += 1;
    if *untrimmed <= slack {
        return Ok(0);
    }
    *untrimmed = 0;
    reports::trim_attempts(to, partition, writer.attempts_max).await
}

/// How a sink is stored.
pub(super) fn sink_bytes(sink: SinkSid) -> Vec<u8> {
    sink.as_u128().to_be_bytes().to_vec()
}

/// How a class is stored.
pub(super) fn class_number(class: Class) -> i64 {
    match class {
        Class::Backlog => 0,
        Class::Delayed => 1,
    }
}
