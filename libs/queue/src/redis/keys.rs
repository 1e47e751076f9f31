//! The names of the keys. All of a partition share a hash tag, so that they stand in one slot of a cluster.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{mr:p}:ready` | stream | chunks that are not settled; one field, `c`: the encoded chunk, a large one packed by LZ4 |
//! | `{mr:p}:owner` | string with expiry | the owner's token, 32 hex digits, a space, its address |
//! | `{mr:p}:backlogs` | hash | SID of a sink → `BacklogState` |
//! | `{mr:p}:parked:<DG>`, `{mr:p}:delayed:<DG>` | sorted set | id of a parked chunk → ms |
//! | `{mr:p}:chunk:<DG>:<id>` | string with expiry | a parked chunk, zstd |
//! | `{mr:p}:quarantine` | hash | place of a chunk → its raw bytes, place + `:why` → the reason |
//! | `{mr:p}:suspects` | hash | `owner`: token of the last that did not release, `unclean`: another did not, place of a chunk → what is noted of it |
//! | `{mr:p}:attempts`, `{mr:p}:drops` | stream | reports; one field, `r`: the encoded message |
//! | `{mr:p}:seen:<mark>` | string with expiry | nothing: an event with this mark was appended |
//! | `mr:full` | sorted set with expiry | account that has as much waiting as it may → until when, ms |
//! | `mr:deliverers` | sorted set | id of a deliverer → until when it is taken to live, ms |
//! | `{mr:deliverers}:members` | hash | id of a deliverer → since when, ms, a space, its address |
//! | `mr:meta` | hash | `partitions`: P, `format`: of these keys and values |

use millrace_domain::{Mark, Partition, SinkSid};

use crate::{Class, ParkedId, ReportKind};

/// Version of all that is stored; another one is refused.
pub(crate) const FORMAT: &str = "1";
/// The field of an entry of `ready` that holds the chunk.
pub(crate) const CHUNK_FIELD: &[u8] = b"c";
/// The field of an entry of a stream of reports that holds the message.
pub(crate) const REPORT_FIELD: &[u8] = b"r";
/// The group that reads reports.
pub(crate) const REPORT_GROUP: &str = "control-plane";

/// Names keys under a prefix, `mr` but for tests.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// Names keys under `prefix`.
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(crate) fn ready(&self, partition: Partition) -> String {
        self.of(partition, "ready")
    }

    /// The partition whose `ready` it names; `None`: it is no such name.
    pub(crate) fn partition_of_ready(&self, key: &str) -> Option<Partition> {
        let number = key.strip_prefix('{')?.strip_prefix(&*self.prefix)?.strip_prefix(':')?;
        number.strip_suffix("}:ready")?.parse().ok().map(Partition)
    }

    pub(crate) fn owner(&self, partition: Partition) -> String {
        self.of(partition, "owner")
    }

    pub(crate) fn backlogs(&self, partition: Partition) -> String {
        self.of(partition, "backlogs")
    }

    pub(crate) fn quarantine(&self, partition: Partition) -> String {
        self.of(partition, "quarantine")
    }

    pub(crate) fn suspects(&self, partition: Partition) -> String {
        self.of(partition, "suspects")
    }

    pub(crate) fn reports(&self, partition: Partition, kind: ReportKind) -> String {
        match kind {
            ReportKind::Attempts => self.of(partition, "attempts"),
            ReportKind::Drops => self.of(partition, "drops"),
        }
    }

    /// The set of a sink's parked chunks of one class.
    pub(crate) fn parked(&self, partition: Partition, sink: SinkSid, class: Class) -> String {
        match class {
            Class::Backlog => format!("{{{}:{}}}:parked:{sink}", self.prefix, partition.0),
            Class::Delayed => format!("{{{}:{}}}:delayed:{sink}", self.prefix, partition.0),
        }
    }

    /// A parked chunk.
    pub(crate) fn chunk(&self, partition: Partition, sink: SinkSid, id: ParkedId) -> String {
        format!("{{{}:{}}}:chunk:{sink}:{}", self.prefix, partition.0, id.0.simple())
    }

    /// That an event was appended.
    pub(crate) fn seen(&self, partition: Partition, mark: Mark) -> String {
        format!("{{{}:{}}}:seen:{mark}", self.prefix, partition.0)
    }

    /// The accounts that are full.
    pub(crate) fn full(&self) -> String {
        format!("{}:full", self.prefix)
    }

    pub(crate) fn deliverers(&self) -> String {
        format!("{}:deliverers", self.prefix)
    }

    /// In the slot of [`Keys::deliverers`]: its hash tag is that key.
    pub(crate) fn members(&self) -> String {
        format!("{{{}:deliverers}}:members", self.prefix)
    }

    pub(crate) fn meta(&self) -> String {
        format!("{}:meta", self.prefix)
    }

    fn of(&self, partition: Partition, name: &str) -> String {
        format!("{{{}:{}}}:{name}", self.prefix, partition.0)
    }
}

#[cfg(test)]
mod tests {
    use millrace_domain::AccountSid;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn keys_are_fixed_for_ever_and_carry_the_tag_of_their_partition() {
        let (keys, p, sink) = (Keys::new("mr"), Partition(7), SinkSid::from_u128(1));
        assert_eq!(keys.ready(p), "{mr:7}:ready");
        assert_eq!(keys.partition_of_ready("{mr:7}:ready"), Some(p));
        assert_eq!(keys.partition_of_ready("{mr:7}:drops"), None);
        assert_eq!(keys.owner(p), "{mr:7}:owner");
        assert_eq!(keys.backlogs(p), "{mr:7}:backlogs");
        assert_eq!(keys.quarantine(p), "{mr:7}:quarantine");
        assert_eq!(keys.suspects(p), "{mr:7}:suspects");
        assert_eq!(keys.reports(p, ReportKind::Attempts), "{mr:7}:attempts");
        assert_eq!(keys.reports(p, ReportKind::Drops), "{mr:7}:drops");
        assert_eq!(
            keys.parked(p, sink, Class::Backlog),
            "{mr:7}:parked:DG00000000000000000000000000000001"
        );
        assert_eq!(
            keys.parked(p, sink, Class::Delayed),
            "{mr:7}:delayed:DG00000000000000000000000000000001"
        );
        assert_eq!(
            keys.chunk(p, sink, ParkedId(Uuid::from_u128(2))),
            "{mr:7}:chunk:DG00000000000000000000000000000001:00000000000000000000000000000002"
        );
        let mark = Mark::of(AccountSid::from_u128(1), "a");
        assert_eq!(keys.seen(p, mark), format!("{{mr:7}}:seen:{mark}"));
        assert_eq!(keys.full(), "mr:full");
        assert_eq!(keys.deliverers(), "mr:deliverers");
        assert_eq!(keys.members(), "{mr:deliverers}:members");
        assert_eq!(keys.meta(), "mr:meta");
    }
}
