//! Settling: a settlement becomes the keys and arguments of `settle.lua`, in the order in which it takes them.

use bytes::Bytes;
use millrace_domain::Partition;
use prost::Message;

use super::{
    RedisQueue,
    keys::Keys,
    owner::text,
    script::{Call, SCRIPTS},
};
use crate::{
    Class, Error, KEPT_AFTER_WINDOW, Place, ReportKind, Result, Settled, Settlement, Token,
    backlog, compress::compress_parks,
};

impl RedisQueue {
    pub(super) async fn settle_in(
        &self,
        partition: Partition,
        token: Token,
        settlement: &Settlement,
    ) -> Result<Settled> {
        let operation = || format!("settle in partition {}", partition.0);
        let chunks = compress_parks(&settlement.parks)
            .await
            .map_err(|error| Error::Unavailable { operation: operation(), source: error.into() })?;
        let call = Written { keys: &self.keys, partition, settlement, chunks }
            .call(token, self.attempts_max);
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

/// A settlement to write, and the chunks it parks as they are stored.
struct Written<'a> {
    keys: &'a Keys,
    partition: Partition,
    settlement: &'a Settlement,
    chunks: Vec<Bytes>,
}

impl Written<'_> {
    fn call(self, token: Token, attempts_max: u64) -> Call {
        let Self { keys, partition, settlement, .. } = self;
        let mut call = SCRIPTS.settle.call();
        call.key(keys.owner(partition))
            .key(keys.ready(partition))
            .key(keys.backlogs(partition))
            .key(keys.quarantine(partition))
            .key(keys.reports(partition, ReportKind::Attempts))
            .key(keys.reports(partition, ReportKind::Drops))
            .key(keys.suspects(partition));
        call.arg(text(token));
        self.consumed(&mut call);
        self.kept(&mut call);
        // No reports encode to nothing, which the script does not append.
        call.bytes(settlement.attempts.encode_to_vec()).arg(attempts_max);
        call.bytes(settlement.drops.encode_to_vec());
        call
    }

    /// What is done with.
    fn consumed(&self, call: &mut Call) {
        let Self { keys, partition, settlement, .. } = self;
        let (mut entries, mut parked) = (Vec::new(), Vec::new());
        for (place, reason) in &settlement.quarantined {
            match place {
                Place::Ready(id) => entries.push((id, reason)),
                Place::Parked(sink, class, id) => {
                    parked.push((place, (*sink, *class, *id), reason))
                }
            }
        }
        call.arg(entries.len());
        for (id, reason) in entries {
            call.arg(id).arg(reason);
        }
        call.arg(settlement.entries.len());
        for id in &settlement.entries {
            call.arg(id);
        }
        call.arg(settlement.unparked.len());
        for (sink, class, id) in &settlement.unparked {
            call.arg(id.0.simple());
            call.key(keys.parked(*partition, *sink, *class));
            call.key(keys.chunk(*partition, *sink, *id));
        }
        call.arg(parked.len());
        for (place, (sink, class, id), reason) in parked {
            call.arg(id.0.simple()).arg(place).arg(reason);
            call.key(keys.parked(*partition, sink, class)).key(keys.chunk(*partition, sink, id));
        }
    }

    /// What waits.
    fn kept(&self, call: &mut Call) {
        let Self { keys, partition, settlement, chunks } = self;
        call.arg(settlement.parks.len());
        for (park, chunk) in settlement.parks.iter().zip(chunks) {
            // Redis takes no expiry before 1970.
            let expires = park.expires.plus(KEPT_AFTER_WINDOW).as_millis().max(1);
            call.arg(park.id.0.simple()).arg(park.at.as_millis()).arg(expires);
            call.bytes(chunk.clone());
            call.key(keys.parked(*partition, park.sink, park.class));
            call.key(keys.chunk(*partition, park.sink, park.id));
        }
        let backlogs = backlog::named(settlement);
        call.arg(backlogs.len());
        for (sink, state) in &backlogs {
            call.arg(sink).arg(u8::from(state.is_some()));
            call.bytes(state.as_ref().map(Message::encode_to_vec).unwrap_or_default());
            for class in [Class::Backlog, Class::Delayed] {
                call.key(keys.parked(*partition, *sink, class));
            }
        }
        call.arg(settlement.acquitted.len());
        for place in &settlement.acquitted {
            call.arg(place);
        }
        call.arg(u8::from(settlement.trusted));
    }
}
