//! Who serves which slot.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use ::redis::{
    ConnectionInfo, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value, cmd,
    from_redis_value,
};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use crate::redis::{
    failure::Failure,
    node::{self, Node, Terms},
    slots::SLOTS,
    target::{Address, client},
};

/// Longest wait for a server to tell.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// The place of a slot that nobody serves.
const NOBODY: u16 = u16::MAX;

/// Who serves which slot.
#[derive(Clone, Default)]
pub(crate) struct Map {
    /// Place in `nodes`, by slot; empty: nothing is known.
    places: Vec<u16>,
    addresses: Vec<Address>,
    nodes: Vec<Arc<Node>>,
}

impl Map {
    /// The server of a slot.
    pub(crate) fn node(&self, slot: u16) -> Option<&Arc<Node>> {
        self.nodes.get(usize::from(*self.places.get(usize::from(slot))?))
    }

    /// Where it is.
    pub(crate) fn address(&self, slot: u16) -> Option<&Address> {
        self.addresses.get(usize::from(*self.places.get(usize::from(slot))?))
    }

    /// Every server of slots.
    pub(crate) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Where they are.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter()
    }

    /// Gives slots to a server.
    pub(super) fn assign(&mut self, slots: RangeInclusive<u16>, at: Address, node: Arc<Node>) {
        let place = self.addresses.iter().position(|known| *known == at).unwrap_or_else(|| {
            self.addresses.push(at);
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        self.places.resize(usize::from(SLOTS), NOBODY);
        for slot in slots {
            if let Some(of) = self.places.get_mut(usize::from(slot)) {
                *of = u16::try_from(place).unwrap_or(NOBODY);
            }
        }
    }
}

/// Slots, and where their server is.
type Ranges = Vec<(RangeInclusive<u16>, Address)>;

/// Asks all servers that are known, over connections of their own, and takes the first answer.
pub(super) async fn ask_any(
    seeds: &[ConnectionInfo],
    known: &[Address],
    terms: &Terms,
) -> Result<Ranges, Failure> {
    let mut whom: Vec<Address> = known.to_vec();
    whom.extend(seeds.iter().map(Address::of).filter(|seed| !known.contains(seed)));
    let mut asked: FuturesUnordered<_> =
        whom.iter().map(|address| timeout(ASK_TIMEOUT, ask(address, seeds, terms))).collect();
    let mut failure = None;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(Ok(ranges)) => return Ok(ranges),
            Ok(Err(other)) => failure = Some(other),
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(|| {
        RedisError::from((ErrorKind::Io, "no server of the cluster answers in time")).into()
    }))
}

async fn ask(
    address: &Address,
    seeds: &[ConnectionInfo],
    terms: &Terms,
) -> Result<Ranges, Failure> {
    let seed = seeds.first().ok_or_else(super::nobody)?;
    let client = client(address.with(seed), terms.tls_ca.as_deref())?;
    let mut connection = node::open(&client, ASK_TIMEOUT).await?;
    let answer = cmd("CLUSTER").arg("SLOTS").query_async::<Vec<Vec<Value>>>(&mut connection).await;
    let ranges = match answer {
        Err(error) if error.to_string().contains("cluster support disabled") => {
            let why = "this Redis is no node of a cluster: name it by `redis://` in `queue.url`";
            return Err(Failure::Refused(why.to_owned()));
        }
        answer => answer?,
    };
    let ranges =
        ranges.into_iter().map(|range| read(range, address)).collect::<RedisResult<_>>()?;
    check(ranges)
}

/// Reads one range of `CLUSTER SLOTS`: first and last slot, then the primary and its replicas.
fn read(range: Vec<Value>, asked: &Address) -> RedisResult<(RangeInclusive<u16>, Address)> {
    let wrong = || RedisError::from((ErrorKind::UnexpectedReturnType, "no range of slots"));
    let mut fields = range.into_iter();
    let mut next = || fields.next().ok_or_else(wrong);
    let (first, last) = (from_redis_value(next()?)?, from_redis_value(next()?)?);
    let mut primary = from_redis_value::<Vec<Value>>(next()?)?.into_iter();
    let mut next = || primary.next().ok_or_else(wrong);
    // Without a host where it is the one that was asked.
    let host = from_redis_value::<Option<String>>(next()?)?.filter(|host| !host.is_empty());
    let host = host.filter(|host| host != "?").unwrap_or_else(|| asked.host.clone());
    Ok((first..=last, Address { host, port: from_redis_value(next()?)? }))
}

/// One that was just started, or left the cluster, knows nothing.
fn check(ranges: Ranges) -> Result<Ranges, Failure> {
    if ranges.is_empty() {
        let down = ErrorKind::Server(ServerErrorKind::ClusterDown);
        return Err(RedisError::from((down, "the server knows of no slots")).into());
    }
    Ok(ranges)
}
