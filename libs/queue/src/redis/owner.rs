//! Who lives and who owns: members and leases.

use std::{collections::HashMap, time::Duration};

use ::redis::cmd;
use millrace_domain::{Partition, Timestamp};

use super::{
    RedisQueue,
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
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let held: Vec<i64> = self
            .link
            .call_all(&calls, None)
            .await
            .map_err(|failure| failure.during(|| "acquire partitions".into()))?;
        Ok(held.into_iter().map(ownership).collect())
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
        let during = |failure: super::failure::Failure| failure.during(|| "renew leases".into());
        let mut answers: Vec<::redis::Value> =
            self.link.call_all(&calls, Some(cmd("TIME"))).await.map_err(during)?;
        let time = answers.pop().unwrap_or_default();
        let now = ::redis::from_redis_value(time)
            .map(timestamp)
            .map_err(|error| during(::redis::RedisError::from(error).into()))?;
        let held = answers
            .into_iter()
            .map(|answer| ::redis::from_redis_value(answer).map(ownership))
            .collect::<Result<_, _>>()
            .map_err(|error| during(::redis::RedisError::from(error).into()))?;
        Ok((held, now))
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
        if calls.is_empty() {
            return Ok(());
        }
        let result = self.link.call_all::<Vec<i64>>(&calls, None).await;
        result.map_err(|failure| failure.during(|| "release partitions".into()))?;
        Ok(())
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

fn ownership(held: i64) -> Ownership {
    if held == 1 { Ownership::Held } else { Ownership::Lost }
}

/// What `TIME` answers: seconds, and microseconds of the second.
fn timestamp((seconds, micros): (i64, i64)) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000 + micros / 1_000)
}
