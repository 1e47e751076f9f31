//! What deliverers report of attempts, and what of that was trimmed: asked of each.

use std::collections::BTreeSet;

use millrace_domain::Partition;
use millrace_proto::internal::{ListPartitionsRequest, ListPartitionsResponse};

use super::{Deliverers, TIMEOUT, away, silent};
use crate::status::Failure;

impl Deliverers {
    /// What each deliverer that owns a partition says of itself; one that does not answer says nothing.
    pub(crate) async fn reporting(&self) -> Result<Vec<ListPartitionsResponse>, Failure> {
        let mut told = Vec::new();
        for address in self.addresses().await? {
            if let Ok(answer) = self.list(&address).await {
                told.push(answer);
            }
        }
        Ok(told)
    }

    async fn addresses(&self) -> Result<BTreeSet<String>, Failure> {
        let queue = self.queue.get()?;
        let mut addresses = BTreeSet::new();
        for partition in (0..self.partitions).map(Partition) {
            let owner = queue.owner_of(partition).await;
            addresses.extend(owner.map_err(|_| away("the queue does not answer"))?);
        }
        Ok(addresses)
    }

    async fn list(&self, address: &str) -> Result<ListPartitionsResponse, Failure> {
        let request = self.authorized(ListPartitionsRequest {}, address)?;
        let answer = self.client(address, TIMEOUT).await?.list_partitions(request).await;
        Ok(answer.map_err(|status| silent(address, &status))?.into_inner())
    }
}
