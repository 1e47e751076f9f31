//! Who owns what in the embedded queue. In memory: one process has the file, and its end is the end of its leases.

use std::{collections::HashMap, sync::Arc, time::Duration};

use millrace_domain::Partition;

use crate::{Ownership, Token};

/// The leases. Only the writer has them, so that a change of owner and a settlement never overlap.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<Partition, Lease>,
}

#[derive(Debug)]
struct Lease {
    token: Token,
    until_ms: i64,
    address: Arc<str>,
}

/// What to do with leases.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// For so long, by who is at this address.
    Acquire(Duration, Arc<str>),
    Renew(Duration),
    Release,
}

impl Leases {
    /// Whether `token` holds the partition.
    pub(super) fn holds(&self, partition: Partition, token: Token, now_ms: i64) -> bool {
        self.holder(partition, now_ms) == Some(token)
    }

    /// Where the owner of a partition is.
    pub(super) fn address_of_owner(&self, partition: Partition, now_ms: i64) -> Option<&str> {
        self.current(partition, now_ms).map(|lease| &*lease.address)
    }

    /// Changes the leases of `token`; tells which of `partitions` it holds after that.
    pub(super) fn change(
        &mut self,
        partitions: &[Partition],
        token: Token,
        change: &Change,
        now_ms: i64,
    ) -> Vec<Ownership> {
        partitions
            .iter()
            .map(|partition| {
                let holder = self.holder(*partition, now_ms);
                match change {
                    Change::Acquire(lease, address) if holder.is_none_or(|it| it == token) => {
                        let (until_ms, address) = (end(now_ms, *lease), Arc::clone(address));
                        self.held.insert(*partition, Lease { token, until_ms, address });
                        Ownership::Held
                    }
                    Change::Renew(lease) if holder == Some(token) => {
                        let renewed = self.held.get_mut(partition);
                        renewed.into_iter().for_each(|held| held.until_ms = end(now_ms, *lease));
                        Ownership::Held
                    }
                    Change::Release if holder == Some(token) => {
                        self.held.remove(partition);
                        Ownership::Lost
                    }
                    _ => Ownership::Lost,
                }
            })
            .collect()
    }

    fn holder(&self, partition: Partition, now_ms: i64) -> Option<Token> {
        self.current(partition, now_ms).map(|lease| lease.token)
    }

    fn current(&self, partition: Partition, now_ms: i64) -> Option<&Lease> {
        self.held.get(&partition).filter(|lease| lease.until_ms > now_ms)
    }
}

fn end(now_ms: i64, lease: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
}
