//! Who lives and who owns: members and leases.

use std::{collections::HashMap, time::Duration};

use ::redis::cmd;
use millrace_domain::{Partition, Timestamp};

use super::{
    RedisQueue,
    failure::Failure,
    script::{Call, SCRIPTS},
};
use crate::{Member, Ownership, Result, Token};

impl RedisQueue {
    pub(super) async fn announce_member(
        &self,
        member: &Member,
        lease: Duration,
    ) -> Result<Vec<Member>> {
        let mut call = SCRIPTS.announce.call();
        call.key(self.keys.deliverers()).key(self.keys.members());
        call.arg(&member.id).arg(&member.address).arg(lease.as_millis());
        let members: HashMap<String, String> =
            self.link.call(&call).await.map_err(|failure| failure.during(|| "announce".into()))?;
        self.set_address(&member.address);
        let mut members: Vec<_> = members
            .into_iter()
            .map(|(id, since_and_address)| {
                let address = since_and_address.split_once(' ').map_or("", |(_, address)| address);
                Member { id, address: address.to_owned() }
            })
            .collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(members)
    }

    pub(super) async fn withdraw_member(&self, id: &str) -> Result<()> {
        let mut call = SCRIPTS.withdraw.call();
        call.key(self.keys.deliverers()).key(self.keys.members()).arg(id);
        let result = self.link.call::<()>(&call).await;
        result.map_err(|failure| failure.during(|| "withdraw".into()))
    }

    pub(super) async fn acquire_leases(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<Vec<Ownership>> {
        let address = self.address();
        let calls = self.each(partitions, |partition, owner| {
            let mut call = SCRIPTS.acquire.call();
            call.key(owner).key(self.keys.suspects(partition));
            call.arg(text(token)).arg(&address).arg(millis(lease));
            call
        });
        let held = self.link.call_each(&calls).await;
        ownerships(held).map_err(|failure| failure.during(|| "acquire partitions".into()))
    }

    pub(super) async fn renew_leases(
        &self,
        partitions: &[Partition],
        token: Token,
        lease: Duration,
    ) -> Result<(Vec<Ownership>, Timestamp)> {
        let calls = self.each(partitions, |_, owner| {
            let mut call = SCRIPTS.renew.call();
            call.key(owner).arg(text(token)).arg(millis(lease));
            call
        });
        let during = |failure: Failure| failure.during(|| "renew leases".into());
        let (held, now) = self.link.call_each_and(&calls, cmd("TIME")).await;
        let held = ownerships(held).map_err(during)?;
        Ok((held, now.map(timestamp).map_err(during)?))
    }

    pub(super) async fn release_leases(
        &self,
        partitions: &[Partition],
        token: Token,
    ) -> Result<()> {
        let calls = self.each(partitions, |partition, owner| {
            let mut call = SCRIPTS.release.call();
            call.key(owner).key(self.keys.suspects(partition)).arg(text(token));
            call
        });
        for released in self.link.call_each::<i64>(&calls).await {
            released.map_err(|failure| failure.during(|| "release partitions".into()))?;
        }
        Ok(())
    }

    pub(super) async fn address_of_owner(&self, partition: Partition) -> Result<Option<String>> {
        let mut get = cmd("GET");
        get.arg(self.keys.owner(partition));
        let held: Option<String> =
            self.link.query(&get).await.map_err(|failure| {
                failure.during(|| format!("find the owner of {}", partition.0))
            })?;
        // A token and an address, as `acquire.lua` writes them.
        Ok(held.and_then(|held| Some(held.split_once(' ')?.1.to_owned())))
    }

    pub(super) async fn time(&self) -> Result<Timestamp> {
        let time = self.link.query(&cmd("TIME")).await;
        time.map(timestamp).map_err(|failure| failure.during(|| "ask for the time".into()))
    }

    /// A call for each partition, given the key of its owner.
    fn each(
        &self,
        partitions: &[Partition],
        call: impl Fn(Partition, String) -> Call,
    ) -> Vec<Call> {
        partitions.iter().map(|partition| call(*partition, self.keys.owner(*partition))).collect()
    }
}

/// A token as the owner's key holds it: always 32 hex digits.
pub(super) fn text(token: Token) -> String {
    token.0.simple().to_string()
}

/// An expiry that Redis takes: at least a millisecond.
fn millis(lease: Duration) -> u128 {
    lease.as_millis().max(1)
}

/// One that failed is not known, unless all did.
fn ownerships(held: Vec<Result<i64, Failure>>) -> Result<Vec<Ownership>, Failure> {
    let all_failed = held.iter().all(Result::is_err);
    held.into_iter()
        .map(|held| match held {
            Ok(1) => Ok(Ownership::Held),
            Ok(_) => Ok(Ownership::Lost),
            Err(failure) if all_failed => Err(failure),
            Err(_) => Ok(Ownership::Unknown),
        })
        .collect()
}

/// What `TIME` answers: seconds, and microseconds of the second.
fn timestamp((seconds, micros): (i64, i64)) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000 + micros / 1_000)
}
