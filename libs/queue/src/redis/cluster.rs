//! A cluster: who serves which slot, found again when that changes, and calls that are sent to whom they are about.
//!
//! A command that a server did not do (it says so: MOVED, ASK, TRYAGAIN, CLUSTERDOWN) is sent again, elsewhere or
//! later, within the time that a call may take. One that may have been done never is.

mod map;
mod reading;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::redis::{
    Cmd, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value, cmd, from_redis_value,
};
use futures::future::join_all;
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, sleep, timeout},
};

pub(crate) use self::{map::Map, reading::Reads};
use super::{
    failure::{Failure, Redirect},
    node::{Node, Terms},
    sentinel::Find,
    setup::{Check, Meta},
    slots::slot_of,
    target::Address,
};

/// Least time between two looks at who serves what.
const REFRESH_EVERY: Duration = Duration::from_millis(100);
/// First and longest pause before a command is sent again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// How often `meta` is looked at.
const META_EVERY: Duration = Duration::from_secs(2);
/// Longest wait for that look: others' calls must not wait for a server that is silent.
const META_WAIT: Duration = Duration::from_millis(500);

/// The way to a cluster.
pub(crate) struct Cluster {
    seeds: Vec<ConnectionInfo>,
    terms: Arc<Terms>,
    /// Every server that was spoken to and still serves.
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    map: RwLock<Arc<Map>>,
    /// Whether the map is wrong, or a server gone.
    stale: AtomicBool,
    refreshed: AsyncMutex<Option<Instant>>,
    meta_at: Mutex<Instant>,
}

/// A command on its way.
struct Sent {
    index: usize,
    command: Cmd,
    slot: Option<u16>,
    /// Where to ask for a key that is being moved.
    ask: Option<Address>,
    durable: bool,
}

/// Commands that go to one server.
type Group = (Arc<Node>, Vec<Sent>);

impl Cluster {
    /// Finds the servers, and connects to all that answer.
    pub(crate) async fn open(
        seeds: Vec<ConnectionInfo>,
        terms: Arc<Terms>,
    ) -> Result<Self, Failure> {
        let cluster = Self {
            seeds,
            terms,
            nodes: Mutex::default(),
            map: RwLock::default(),
            stale: AtomicBool::new(true),
            refreshed: AsyncMutex::default(),
            meta_at: Mutex::new(Instant::now() + META_EVERY),
        };
        cluster.refresh(&cluster.map()).await?;
        let map = cluster.map();
        for result in join_all(map.nodes().iter().map(|node| node.connect())).await {
            // One that is down is waited for, and its partitions with it; one that must not be used is not.
            if let Err(failure @ Failure::Refused(_)) = result {
                return Err(failure);
            }
        }
        cluster.check_meta().await?;
        Ok(cluster)
    }

    /// Who serves what, as far as is known.
    pub(crate) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends one command.
    pub(crate) async fn one(&self, command: &Cmd, durable: bool) -> Result<Value, Failure> {
        self.look_at_meta().await?;
        let slot = slot_of(command);
        let sent = Sent { index: 0, command: command.clone(), slot, ask: None, durable };
        let mut answers = self.send(vec![sent]).await;
        answers.pop().unwrap_or_else(|| Err(nobody()))
    }

    /// Sends commands, in one go to each server concerned.
    pub(crate) async fn each(&self, commands: Vec<Cmd>) -> Vec<Result<Value, Failure>> {
        if let Err(failure) = self.look_at_meta().await {
            return vec![Err(failure); commands.len()];
        }
        let sent = |(index, command): (usize, Cmd)| {
            let slot = slot_of(&command);
            Sent { index, command, slot, ask: None, durable: false }
        };
        self.send(commands.into_iter().enumerate().map(sent).collect()).await
    }

    /// Sends a command to every server; gives what those answer that do. An error where none does.
    pub(crate) async fn on_all(&self, command: &Cmd) -> Result<Vec<Value>, Failure> {
        self.refresh_if_stale().await;
        let map = self.map();
        let answers = join_all(map.nodes().iter().map(|node| node.query(command))).await;
        let (mut values, mut failed) = (Vec::new(), nobody());
        for answer in answers {
            match answer {
                Ok(value) => values.push(value),
                Err(failure) => {
                    self.note(&failure);
                    failed = failure;
                }
            }
        }
        if values.is_empty() { Err(failed) } else { Ok(values) }
    }

    /// Looks who serves what, unless another did since `seen`.
    pub(crate) async fn refresh(&self, seen: &Arc<Map>) -> Result<(), Failure> {
        let mut refreshed = self.refreshed.lock().await;
        if !Arc::ptr_eq(&self.map(), seen) {
            return Ok(());
        }
        let known = self.map().addresses().cloned().collect::<Vec<_>>();
        let found = map::ask_any(&self.seeds, &known, &self.terms).await;
        *refreshed = Some(Instant::now());
        let ranges = found?;
        let mut nodes = lock(&self.nodes);
        let mut map = Map::default();
        for (range, address) in ranges {
            map.assign(range, address.clone(), self.node(&mut nodes, address)?);
        }
        nodes.retain(|address, _| map.addresses().any(|used| used == address));
        drop(nodes);
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
        self.stale.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Notes that a server is gone, or serves no more what it did.
    pub(crate) fn note(&self, failure: &Failure) {
        let moved = matches!(failure, Failure::Redis(error) if Redirect::of(error).is_some());
        if moved || failure.ends_connection() {
            self.stale.store(true, Ordering::Relaxed);
        }
    }

    /// Looks again who serves what, where that is in doubt.
    pub(crate) async fn refresh_if_stale(&self) {
        if !self.stale.load(Ordering::Relaxed) {
            return;
        }
        let due = match self.refreshed.try_lock() {
            Ok(at) => at.is_none_or(|at| at.elapsed() >= REFRESH_EVERY),
            Err(_) => false,
        };
        if due {
            // Where nobody tells, it stays in doubt, and whoever is next looks again.
            self.refresh(&self.map()).await.ok();
        }
    }

    fn node(
        &self,
        nodes: &mut HashMap<Address, Arc<Node>>,
        address: Address,
    ) -> Result<Arc<Node>, Failure> {
        if let Some(node) = nodes.get(&address) {
            return Ok(Arc::clone(node));
        }
        let seed = self.seeds.first().ok_or_else(nobody)?;
        let find = Find::at(address.with(seed), &self.terms)?;
        let node = Arc::new(Node::new(find, Arc::clone(&self.terms), Check::InCluster));
        nodes.insert(address, Arc::clone(&node));
        Ok(node)
    }

    async fn send(&self, sent: Vec<Sent>) -> Vec<Result<Value, Failure>> {
        let deadline = Instant::now() + self.terms.response_timeout;
        let mut answers: Vec<_> = sent.iter().map(|_| Err(nobody())).collect();
        let (mut open, mut pause) = (sent, PAUSES.0);
        loop {
            self.refresh_if_stale().await;
            let map = self.map();
            let (groups, unserved) = self.groups(open, &map);
            let done = join_all(groups.into_iter().map(go)).await;
            let mut later = !unserved.is_empty();
            open = unserved;
            for (mut one, answer) in done.into_iter().flatten() {
                one.ask = None;
                if let Err(failure) = &answer {
                    self.note(failure);
                    if let Failure::Redis(error) = failure
                        && let Some(redirect) = Redirect::of(error)
                    {
                        later |= self.follow(&mut one, &redirect, &map);
                        answers[one.index] = answer;
                        open.push(one);
                        continue;
                    }
                }
                answers[one.index] = answer;
            }
            if open.is_empty() || Instant::now() + pause > deadline {
                return answers;
            }
            if later {
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }

    /// Turns a command to where it is to go; tells whether that is to be after a pause.
    fn follow(&self, one: &mut Sent, redirect: &Redirect<'_>, map: &Arc<Map>) -> bool {
        let asked = one.slot.and_then(|slot| map.address(slot)).cloned();
        let there = |text| asked.as_ref().and_then(|asked| Address::parse(text, asked));
        match redirect {
            Redirect::Ask(text) => {
                one.ask = there(text);
                one.ask.is_none()
            }
            Redirect::Moved(text) => {
                if let (Some(slot), Some(address)) = (one.slot, there(text)) {
                    self.move_to(slot, address, map);
                }
                true
            }
            Redirect::Later => true,
        }
    }

    /// Believes a server that says who serves a slot now, unless the map was made anew meanwhile.
    fn move_to(&self, slot: u16, address: Address, seen: &Arc<Map>) {
        let Ok(node) = self.node(&mut lock(&self.nodes), address.clone()) else { return };
        let mut current = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if current.address(slot) == seen.address(slot) {
            let mut map = Map::clone(&current);
            map.assign(slot..=slot, address, node);
            *current = Arc::new(map);
        }
    }

    /// Commands by the server that they go to, and those for slots that nobody serves.
    fn groups(&self, open: Vec<Sent>, map: &Map) -> (Vec<Group>, Vec<Sent>) {
        let mut groups: Vec<Group> = Vec::new();
        let mut unserved = Vec::new();
        for one in open {
            let node = match (&one.ask, one.slot) {
                (Some(address), _) => self.node(&mut lock(&self.nodes), address.clone()).ok(),
                (None, Some(slot)) => map.node(slot).cloned(),
                (None, None) => {
                    let mut all = map.nodes().iter();
                    all.clone().find(|node| node.is_up()).or_else(|| all.next()).cloned()
                }
            };
            let Some(node) = node else {
                self.stale.store(true, Ordering::Relaxed);
                unserved.push(one);
                continue;
            };
            match groups.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &node)) {
                Some((_, group)) => group.push(one),
                None => groups.push((node, vec![one])),
            }
        }
        (groups, unserved)
    }

    /// Looks at `meta` where that is due: one caller does it, the others go on.
    async fn look_at_meta(&self) -> Result<(), Failure> {
        {
            let mut due = lock(&self.meta_at);
            if Instant::now() < *due {
                return Ok(());
            }
            *due = Instant::now() + META_EVERY;
        }
        match timeout(META_WAIT, self.check_meta()).await {
            // The server of `meta` alone does not answer, or not soon: what the others hold is served.
            Ok(Err(refused @ Failure::Refused(_))) => {
                *lock(&self.meta_at) = Instant::now();
                Err(refused)
            }
            _ => Ok(()),
        }
    }

    async fn check_meta(&self) -> Result<(), Failure> {
        let setup = &self.terms.setup;
        let mut meta = self.read_meta().await?;
        if setup.is_missing(&meta) {
            for command in setup.write() {
                let slot = slot_of(&command);
                let sent = Sent { index: 0, command, slot, ask: None, durable: false };
                self.send(vec![sent]).await.into_iter().collect::<Result<Vec<_>, _>>()?;
            }
            meta = self.read_meta().await?;
        }
        setup.judge(&meta)
    }

    async fn read_meta(&self) -> Result<Meta, Failure> {
        let command = self.terms.setup.read();
        let slot = slot_of(&command);
        let sent = Sent { index: 0, command, slot, ask: None, durable: false };
        let answer = self.send(vec![sent]).await.pop().unwrap_or_else(|| Err(nobody()))?;
        Ok(from_redis_value(answer).map_err(RedisError::from)?)
    }
}

/// Sends a group to its server.
async fn go((node, group): Group) -> Vec<(Sent, Result<Value, Failure>)> {
    if let [one] = group.as_slice()
        && (one.durable || one.ask.is_none())
    {
        let answer = match one.durable {
            true => node.write(&one.command, one.ask.is_some()).await,
            false => node.query(&one.command).await,
        };
        return group.into_iter().map(|one| (one, answer.clone())).collect();
    }
    let mut pipeline = ::redis::pipe();
    for one in &group {
        if one.ask.is_some() {
            pipeline.add_command(cmd("ASKING"));
        }
        pipeline.add_command(one.command.clone());
    }
    let answers = match node.batch(pipeline).await {
        Ok(answers) => answers,
        Err(failure) => {
            return group.into_iter().map(|one| (one, Err(failure.clone()))).collect();
        }
    };
    let mut answers = answers.into_iter();
    let answer_to = |one: &Sent| {
        if one.ask.is_some() {
            answers.next();
        }
        answers.next().map_or_else(|| Err(nobody()), |answer| answer.map_err(Failure::from))
    };
    let answers: Vec<_> = group.iter().map(answer_to).collect();
    group.into_iter().zip(answers).collect()
}

/// No server serves it now.
fn nobody() -> Failure {
    let down = ErrorKind::Server(ServerErrorKind::ClusterDown);
    RedisError::from((down, "no server of the cluster serves this slot")).into()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
