//! Settling: a settlement becomes the keys and arguments of `settle.lua`, in the order in which it takes them.

use millrace_domain::Partition;
use prost::Message;

use super::{
    RedisQueue,
    keys::Keys,
    owner::text,
    script::{Call, SCRIPTS},
};
use crate::{
    Class, Error, KEPT_AFTER_WINDOW, ReportKind, Result, Settled, Settlement, Token, backlog,
    compress::compress_parks,
};

impl RedisQueue {
    pub(super) async fn settle_in(
        &self,
        partition: Partition,
        token: Token,
        mut settlement: Settlement,
    ) -> Result<Settled> {
        let operation = || format!("settle in partition {}", partition.0);
        backlog::name_unparked(&mut settlement);
        settlement.parks = compress_parks(settlement.parks)
            .await
            .map_err(|error| Error::Unavailable { operation: operation(), source: error.into() })?;
        let call = call(&self.keys, partition, token, settlement, self.attempts_max);
        let answer: Vec<i64> =
            self.link.call(&call).await.map_err(|failure| failure.during(operation))?;
        match answer.as_slice() {
            [1, trimmed] => {
                self.count_trimmed(*trimmed);
                Ok(Settled::Done)
            }
            [0, ..] => Ok(Settled::Already),
            _ => Err(Error::Stale),
        }
    }
}

fn call(
    keys: &Keys,
    partition: Partition,
    token: Token,
    settlement: Settlement,
    attempts_max: u64,
) -> Call {
    let mut call = SCRIPTS.settle.call();
    call.key(keys.owner(partition))
        .key(keys.ready(partition))
        .key(keys.backlogs(partition))
        .key(keys.quarantine(partition))
        .key(keys.reports(partition, ReportKind::Attempts))
        .key(keys.reports(partition, ReportKind::Drops));
    call.arg(text(token));
    consumed(&mut call, keys, partition, &settlement);
    kept(&mut call, keys, partition, &settlement);
    // No reports encode to nothing, which the script does not append.
    call.bytes(settlement.attempts.encode_to_vec()).arg(attempts_max);
    call.bytes(settlement.drops.encode_to_vec());
    call
}

/// What is done with.
fn consumed(call: &mut Call, keys: &Keys, partition: Partition, settlement: &Settlement) {
    call.arg(settlement.quarantined.len());
    for (id, reason) in &settlement.quarantined {
        call.arg(id).arg(reason);
    }
    call.arg(settlement.entries.len());
    for id in &settlement.entries {
        call.arg(id);
    }
    call.arg(settlement.unparked.len());
    for (sink, class, id) in &settlement.unparked {
        call.arg(id.0.simple());
        call.key(keys.parked(partition, *sink, *class)).key(keys.chunk(partition, *sink, *id));
    }
}

/// What waits.
fn kept(call: &mut Call, keys: &Keys, partition: Partition, settlement: &Settlement) {
    call.arg(settlement.parks.len());
    for park in &settlement.parks {
        // Redis takes no expiry before 1970.
        let expires = park.expires.plus(KEPT_AFTER_WINDOW).as_millis().max(1);
        call.arg(park.id.0.simple()).arg(park.at.as_millis()).arg(expires);
        call.bytes(park.chunk.clone());
        call.key(keys.parked(partition, park.sink, park.class));
        call.key(keys.chunk(partition, park.sink, park.id));
    }
    call.arg(settlement.backlogs.len());
    for (sink, state) in &settlement.backlogs {
        call.arg(sink).arg(u8::from(state.is_some()));
        call.bytes(state.as_ref().map(Message::encode_to_vec).unwrap_or_default());
        for class in [Class::Backlog, Class::Delayed] {
            call.key(keys.parked(partition, *sink, class));
        }
    }
}
