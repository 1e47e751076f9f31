//! What deliverers report of attempts, and what of that was trimmed: asked of each.

use std::collections::BTreeSet;

use millrace_domain::Partition;
use millrace_proto::internal::{ListPartitionsRequest, ListPartitionsResponse};

use super::{Deliverers, TIMEOUT, away, silent};
use crate::status::Failure;

impl Deliverers {
    /// What each deliverer that owns a partition says of itself; one that does not answer says nothing.
    ///
    /// Each says which partitions it owns: the queue is asked for one of its partitions only, not for all of them every minute.
    pub(crate) async fn reporting(&self) -> Result<Vec<ListPartitionsResponse>, Failure> {
        let queue = self.queue.get()?;
        let (mut told, mut asked, mut known) =
            (Vec::new(), BTreeSet::new(), BTreeSet::<u32>::new());
        for partition in 0..self.partitions {
            if known.contains(&u32::from(partition)) {
                continue;
            }
            let owner = queue.owner_of(Partition(partition)).await;
            let Some(address) = owner.map_err(|_| away("the queue does not answer"))? else {
                continue;
            };
            if !asked.insert(address.clone()) {
                continue;
            }
            if let Ok(answer) = self.list(&address).await {
                known.extend(&answer.partitions);
                told.push(answer);
            }
        }
        Ok(told)
    }

    async fn list(&self, address: &str) -> Result<ListPartitionsResponse, Failure> {
        let request = self.authorized(ListPartitionsRequest {}, address)?;
        let answer = self.client(address, TIMEOUT).await?.list_partitions(request).await;
        Ok(answer.map_err(|status| silent(address, &status))?.into_inner())
    }
}
