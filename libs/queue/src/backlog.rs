//! The state of a sink's backlog, as it was stored.

use millrace_domain::{Partition, SinkSid};
use millrace_proto::internal::BacklogState;
use prost::Message;

use crate::{Place, Settlement};

/// The states to write, and each sink of which something is unparked: an owner that lost count of a sink does not
/// name it, and its state would stay when the last of it is gone.
pub(crate) fn named(settlement: &Settlement) -> Vec<(SinkSid, Option<BacklogState>)> {
    let mut backlogs = settlement.backlogs.clone();
    let quarantined = settlement.quarantined.iter().filter_map(|(place, _)| match place {
        Place::Parked(sink, ..) => Some(sink),
        Place::Ready(_) => None,
    });
    for sink in settlement.unparked.iter().map(|(sink, ..)| sink).chain(quarantined) {
        if backlogs.iter().all(|(named, _)| named != sink) {
            backlogs.push((*sink, None));
        }
    }
    backlogs
}

/// Reads a state. One that is damaged counts as the default: the sink is listed all the same, so that what is parked
/// for it goes out, and no other sink of the partition suffers.
pub(crate) fn decode(partition: Partition, sink: SinkSid, state: &[u8]) -> BacklogState {
    BacklogState::decode(state).unwrap_or_else(|error| {
        tracing::error!(partition = partition.0, %sink, %error, "the state of a backlog is damaged, starting anew");
        BacklogState::default()
    })
}

/// Says that a state belongs to no sink, so that nobody can be given it.
pub(crate) fn warn_of_no_sink(partition: Partition, name: &[u8]) {
    let name = name.escape_ascii();
    tracing::error!(partition = partition.0, %name, "the state of a backlog names no sink, left alone");
}
