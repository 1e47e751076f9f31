//! A cluster of three primaries, and of three replicas where they are wanted, whose slots can be moved.

use std::{fmt::Write, time::Duration};

use anyhow::{Context, Result, bail};
use redis::{cmd, pipe};
use tokio::time::{Instant, sleep};

use super::{Server, ServerOptions};

/// How many primaries there are.
const PRIMARIES: usize = 3;
/// How many slots every cluster has.
const SLOTS: usize = 16_384;
/// Longest time until all nodes agree, on a busy machine.
const AGREE_DEADLINE: Duration = Duration::from_secs(30);

/// A private cluster: ends when it is dropped.
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts three primaries that share the slots evenly, and waits until each takes commands.
    ///
    /// # Errors
    /// If `redis-server` is not installed or does not start, or the nodes do not find each other.
    pub async fn start(durable: bool) -> Result<Self> {
        Self::of(PRIMARIES, durable).await
    }

    /// As [`Cluster::start`], with a replica of each primary, which takes over about 3 s after its primary is gone.
    /// Node `n + 3` is the replica of node `n`.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_with_replicas(durable: bool) -> Result<Self> {
        let cluster = Self::of(2 * PRIMARIES, durable).await?;
        for number in 0..PRIMARIES {
            let id = cluster.id(number).await?;
            let replicate = cmd("CLUSTER").arg("REPLICATE").arg(id).take();
            cluster.nodes[number + PRIMARIES].run::<()>(&replicate).await?;
        }
        for node in &cluster.nodes[PRIMARIES..] {
            super::replicated::in_step(node).await?;
        }
        Ok(cluster)
    }

    async fn of(count: usize, durable: bool) -> Result<Self> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            let options = ServerOptions { durable, clustered: true, ..ServerOptions::default() };
            nodes.push(Server::start(options).await?);
        }
        let first = nodes[0].port();
        for (number, node) in nodes.iter().enumerate() {
            let mut join = pipe();
            join.cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(number + 1).ignore();
            if number < PRIMARIES {
                let slot = |share: usize| share * SLOTS / PRIMARIES;
                let (from, to) = (slot(number), slot(number + 1) - 1);
                join.cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(from).arg(to).ignore();
            }
            join.cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(first).ignore();
            let client = redis::Client::open(node.url())?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            join.exec_async(&mut connection).await?;
        }
        let cluster = Self { nodes };
        cluster.agree().await?;
        Ok(cluster)
    }

    /// What `queue.url` is to be.
    pub fn url(&self) -> String {
        let mut url = "redis+cluster://".to_owned();
        for (number, node) in self.nodes.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(url, "{comma}127.0.0.1:{}", node.port()).ok();
        }
        url
    }

    /// Its nodes, primaries first.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// One of them, to stop, kill, freeze or start again.
    pub fn node(&mut self, number: usize) -> &mut Server {
        &mut self.nodes[number]
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn slot_of(&self, key: &str) -> Result<u16> {
        self.nodes[0].run(cmd("CLUSTER").arg("KEYSLOT").arg(key)).await
    }

    /// The primary that serves a slot, by number.
    ///
    /// # Errors
    /// If nobody does.
    pub async fn owner_of(&self, slot: u16) -> Result<usize> {
        for number in 0..self.nodes.len() {
            // One that was stopped is asked no more.
            let Ok(line) = self.line(number).await else { continue };
            let serves = |range: &str| {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                from.parse().is_ok_and(|from: u16| from <= slot)
                    && to.parse().is_ok_and(|to: u16| slot <= to)
            };
            if line.contains("master") && line.split(' ').skip(8).any(serves) {
                return Ok(number);
            }
        }
        bail!("nobody serves slot {slot}")
    }

    /// Moves a slot with its keys to another primary, as an operator does under load.
    ///
    /// # Errors
    /// If a node does not answer.
    pub async fn move_slot(&self, slot: u16, to: usize) -> Result<()> {
        let from = self.owner_of(slot).await?;
        if from != to {
            self.open_slot(slot, from, to).await?;
            self.move_keys(slot, from, to).await?;
            self.close_slot(slot, from, to).await?;
        }
        Ok(())
    }

    /// Begins a move: from here on, keys that are not there yet come to be at `to`.
    ///
    /// # Errors
    /// If a node does not answer.
    pub async fn open_slot(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let set = |state: &str, id: &str| {
            cmd("CLUSTER").arg("SETSLOT").arg(slot).arg(state).arg(id).take()
        };
        let (from_id, to_id) = (self.id(from).await?, self.id(to).await?);
        self.nodes[to].run::<()>(&set("IMPORTING", &from_id)).await?;
        self.nodes[from].run(&set("MIGRATING", &to_id)).await
    }

    /// Moves the keys that the slot has now.
    ///
    /// # Errors
    /// If a node does not answer.
    pub async fn move_keys(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        loop {
            let some = cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(10).take();
            let keys: Vec<String> = self.nodes[from].run(&some).await?;
            if keys.is_empty() {
                return Ok(());
            }
            let mut migrate = cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(self.nodes[to].port()).arg("").arg(0).arg(5_000);
            self.nodes[from].run::<()>(migrate.arg("KEYS").arg(&keys)).await?;
        }
    }

    /// Ends a move: `to` serves the slot.
    ///
    /// # Errors
    /// If a node does not answer.
    pub async fn close_slot(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let id = self.id(to).await?;
        let set = cmd("CLUSTER").arg("SETSLOT").arg(slot).arg("NODE").arg(id).take();
        self.nodes[to].run::<()>(&set).await?;
        self.nodes[from].run(&set).await
    }

    async fn id(&self, number: usize) -> Result<String> {
        self.nodes[number].run(cmd("CLUSTER").arg("MYID")).await
    }

    /// What a node says of itself.
    async fn line(&self, number: usize) -> Result<String> {
        let all: String = self.nodes[number].run(cmd("CLUSTER").arg("NODES")).await?;
        let own = all.lines().find(|line| line.contains("myself"));
        Ok(own.context("a node that does not know itself")?.to_owned())
    }

    /// Waits until every node knows all others, and takes commands.
    async fn agree(&self) -> Result<()> {
        let deadline = Instant::now() + AGREE_DEADLINE;
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        for node in &self.nodes {
            loop {
                let info: String = node.run(cmd("CLUSTER").arg("INFO")).await?;
                let says = |line: &str| info.lines().any(|found| found.trim() == line);
                if says("cluster_state:ok") && says(&known) {
                    break;
                }
                if Instant::now() > deadline {
                    bail!("the nodes of the cluster do not agree:\n{info}");
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }
}
