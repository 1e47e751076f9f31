//! How much room there is: in the server, and of each account's share.

use std::time::Duration;

use ::redis::cmd;
use millrace_domain::{AccountSid, Partition};

use super::{RedisQueue, script::SCRIPTS, setup::field};
use crate::{Error, Pressure, Result, chunk::MarkedChunk};

impl RedisQueue {
    pub(super) async fn append_unseen(
        &self,
        partition: Partition,
        chunk: MarkedChunk,
        keep: Duration,
    ) -> Result<Vec<usize>> {
        if chunk.events.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = SCRIPTS.append_new.call();
        call.key(self.keys.ready(partition));
        call.arg(keep.as_millis().max(1)).bytes(chunk.head);
        for (mark, event) in chunk.events {
            call.key(self.keys.seen(partition, mark)).bytes(event);
        }
        let seen = self.link.write_call(&call).await;
        seen.map_err(|failure| failure.during(|| format!("append to partition {}", partition.0)))
    }

    pub(super) async fn memory(&self) -> Result<Pressure> {
        let infos = self.link.on_all::<String>(cmd("INFO").arg("memory")).await;
        let infos =
            infos.map_err(|failure| failure.during(|| "ask for the memory in use".to_owned()))?;
        let pressures = infos.iter().map(|info| pressure(info)).collect::<Result<Vec<_>>>()?;
        // Of a cluster, that of the fullest server.
        let fullest = pressures
            .into_iter()
            .max_by(|a, b| fill(a).total_cmp(&fill(b)).then(a.used_bytes.cmp(&b.used_bytes)));
        fullest.ok_or_else(|| Error::Corrupt {
            what: "the memory in use".to_owned(),
            source: "no server tells".into(),
        })
    }

    pub(super) async fn say_full(&self, accounts: &[AccountSid], lasting: Duration) -> Result<()> {
        if accounts.is_empty() {
            return Ok(());
        }
        let mut call = SCRIPTS.set_full.call();
        call.key(self.keys.full()).arg(lasting.as_millis().max(1));
        for account in accounts {
            call.arg(account);
        }
        let said = self.link.call::<()>(&call).await;
        said.map_err(|failure| failure.during(|| "say which accounts are full".into()))
    }

    pub(super) async fn all_full(&self) -> Result<Vec<AccountSid>> {
        let mut call = SCRIPTS.full.call();
        call.key(self.keys.full());
        let full: Vec<String> = self
            .link
            .call(&call)
            .await
            .map_err(|failure| failure.during(|| "ask which accounts are full".into()))?;
        Ok(full.iter().filter_map(|sid| sid.parse().ok()).collect())
    }
}

/// Reads `INFO memory`.
fn pressure(info: &str) -> Result<Pressure> {
    let number = |name: &str| {
        field(info, name).parse::<u64>().map_err(|error| Error::Corrupt {
            what: format!("`{name}` of Redis"),
            source: Box::new(error),
        })
    };
    let (used_bytes, max) = (number("used_memory")?, number("maxmemory")?);
    Ok(Pressure { used_bytes, max_bytes: (max > 0).then_some(max) })
}

/// How full a server is: 1 is full. One without a bound never is.
#[expect(clippy::cast_precision_loss, reason = "it is for comparison only")]
fn fill(pressure: &Pressure) -> f64 {
    pressure.max_bytes.map_or(0.0, |max| pressure.used_bytes as f64 / max as f64)
}
