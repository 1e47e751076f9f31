//! Who owns what in the embedded queue. In memory: one process has the file, and its end is the end of its leases.

use std::{collections::HashMap, time::Duration};

use millrace_domain::Partition;

use crate::{Ownership, Token};

/// The leases. Only the writer has them, so that a change of owner and a settlement never overlap.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<Partition, (Token, i64)>,
}

/// What to do with leases.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Acquire(Duration),
    Renew(Duration),
    Release,
}

impl Leases {
    /// Whether `token` holds the partition.
    pub(super) fn holds(&self, partition: Partition, token: Token, now_ms: i64) -> bool {
        self.holder(partition, now_ms) == Some(token)
    }

    /// Changes the leases of `token`; tells which of `partitions` it holds after that.
    pub(super) fn change(
        &mut self,
        partitions: &[Partition],
        token: Token,
        change: Change,
        now_ms: i64,
    ) -> Vec<Ownership> {
        partitions
            .iter()
            .map(|partition| {
                let holder = self.holder(*partition, now_ms);
                match change {
                    Change::Acquire(lease) if holder.is_none_or(|holder| holder == token) => {
                        self.hold(*partition, token, now_ms, lease)
                    }
                    Change::Renew(lease) if holder == Some(token) => {
                        self.hold(*partition, token, now_ms, lease)
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
        let (token, expires) = self.held.get(&partition)?;
        (*expires > now_ms).then_some(*token)
    }

    fn hold(
        &mut self,
        partition: Partition,
        token: Token,
        now_ms: i64,
        lease: Duration,
    ) -> Ownership {
        let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        self.held.insert(partition, (token, now_ms.saturating_add(lease)));
        Ownership::Held
    }
}
