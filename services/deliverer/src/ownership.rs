//! Which partitions this process owns: it announces itself, balances with the others, leases, takes over, gives back.
//!
//! Every process computes the same owner for a partition from who lives. One that should not own a partition any more drains
//! it and releases it; one that should, takes the lease as soon as it is free: at once after a release, or when the lease of
//! a dead owner is over.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use millrace_domain::Partition;
use millrace_queue::{Error, Member, Ownership, Result, Token};
use tokio::{
    sync::{Notify, futures::Notified},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{context::Context, metrics, tenure::Tenure};

/// How soon to ask again for partitions that are still another's.
const ACQUIRE_AGAIN: Duration = Duration::from_millis(250);

/// Tenures that are begun at once.
const BEGIN_AT_ONCE: usize = 32;

/// The tenures of this process.
#[derive(Default)]
pub(crate) struct Tenures {
    held: Mutex<BTreeMap<Partition, Arc<Tenure>>>,
    changed: Notify,
}

impl Tenures {
    /// Those that take chunks.
    pub(crate) fn serving(&self) -> HashMap<Partition, Arc<Tenure>> {
        self.lock()
            .iter()
            .filter(|(_, tenure)| !tenure.stopping.is_cancelled())
            .map(|(partition, tenure)| (*partition, Arc::clone(tenure)))
            .collect()
    }

    /// Partitions that are held, draining ones included.
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        self.lock().keys().copied().collect()
    }

    /// Waits until [`Self::serving`] may differ from what it was when this was called.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, Arc<Tenure>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, tenure: Arc<Tenure>) {
        self.lock().insert(tenure.partition, tenure);
        self.changed.notify_waiters();
    }

    /// Removes a tenure, unless a newer one has its place.
    fn remove(&self, tenure: &Tenure) {
        let mut held = self.lock();
        if held.get(&tenure.partition).is_some_and(|other| other.token == tenure.token) {
            held.remove(&tenure.partition);
        }
        drop(held);
        self.changed.notify_waiters();
    }

    /// The tenure of a partition, a draining one included.
    pub(crate) fn of(&self, partition: Partition) -> Option<Arc<Tenure>> {
        self.lock().get(&partition).cloned()
    }

    /// All of them, draining ones included.
    pub(crate) fn all(&self) -> Vec<Arc<Tenure>> {
        self.lock().values().cloned().collect()
    }
}

/// What ownership is given.
pub(crate) struct Owner {
    pub(crate) cx: Arc<Context>,
    pub(crate) tenures: Arc<Tenures>,
    pub(crate) member: Member,
    pub(crate) partitions: u16,
    pub(crate) lease: Duration,
    pub(crate) renew: Duration,
    pub(crate) grace: Duration,
}

impl Owner {
    /// Owns what this process should, until `stopping`; then drains everything, gives it back, and leaves.
    pub(crate) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        // Cut off between two calls of the queue: every call is whole, and leases that were taken meanwhile end by themselves.
        stopping.run_until_cancelled(self.own()).await;
        self.leave().await;
    }

    async fn own(self: &Arc<Self>) {
        let (mut told, mut pause) = (false, Duration::from_millis(100));
        loop {
            let round = self.round();
            let next = match round.await {
                Ok(complete) => {
                    (told, pause) = (false, Duration::from_millis(100));
                    if complete { self.renew } else { ACQUIRE_AGAIN }
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "cannot renew leases, will try again"
                        );
                    }
                    pause = (pause * 2).min(self.renew);
                    pause
                }
            };
            self.give_up_what_is_over();
            sleep(next).await;
        }
    }

    /// Renews, gives back, takes over. Tells whether everything that should be held is held.
    async fn round(self: &Arc<Self>) -> Result<bool> {
        // At once, and the leases whatever comes of the list: of several servers, the one that has it may be down alone.
        let (asked, announce) = (Instant::now(), self.cx.queue.announce(&self.member, self.lease));
        let (announced, renewed) = tokio::join!(announce, self.renew());
        renewed?;
        let members = announced?;
        self.cx.living.heard(asked, &members);
        let ids: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
        let mine = |partition: Partition| {
            partition.owner(ids.iter().copied()) == Some(self.member.id.as_str())
        };
        for tenure in self.tenures.all() {
            if !mine(tenure.partition) && !tenure.stopping.is_cancelled() {
                self.give_back(tenure);
            }
        }
        let held = self.tenures.partitions();
        let wanted: Vec<_> = (0..self.partitions)
            .map(Partition)
            .filter(|partition| mine(*partition) && held.binary_search(partition).is_err())
            .collect();
        let taken = self.take_over(&wanted).await?;
        let draining =
            held.len() - self.tenures.serving().len().saturating_sub(taken).min(held.len());
        Ok(taken == wanted.len() && draining == 0)
    }

    async fn renew(&self) -> Result<()> {
        let mut by_token: HashMap<Token, Vec<Arc<Tenure>>> = HashMap::new();
        for tenure in self.tenures.all() {
            by_token.entry(tenure.token).or_default().push(tenure);
        }
        // Beside one another: those of a server that does not answer take time.
        let renewals = by_token.iter().map(|(token, tenures)| self.renew_all(*token, tenures));
        futures::future::join_all(renewals).await.into_iter().collect()
    }

    async fn renew_all(&self, token: Token, tenures: &[Arc<Tenure>]) -> Result<()> {
        let partitions: Vec<_> = tenures.iter().map(|tenure| tenure.partition).collect();
        let asked = Instant::now();
        let (ownerships, now) = self.cx.queue.renew(&partitions, token, self.lease).await?;
        self.cx.clock.set(now);
        for (tenure, ownership) in tenures.iter().zip(ownerships) {
            match ownership {
                // The lease began no earlier than it was asked for.
                Ownership::Held => tenure.renewed(asked + self.lease),
                Ownership::Lost => self.lose(tenure, "another deliverer took it"),
                // It may be held still, until it is over.
                Ownership::Unknown => {}
            }
        }
        Ok(())
    }

    async fn take_over(&self, wanted: &[Partition]) -> Result<usize> {
        if wanted.is_empty() {
            return Ok(0);
        }
        let (token, asked) = (self.cx.living.token(), Instant::now());
        let ownerships = self.cx.queue.acquire(wanted, token, self.lease).await?;
        let held = wanted.iter().zip(ownerships).filter_map(|(partition, ownership)| {
            (ownership == Ownership::Held).then_some(*partition)
        });
        let (mut taken, mut failed, mut first_error) = (Vec::new(), Vec::new(), None);
        for (partition, error) in self.begin(held.collect(), token, asked).await {
            match error {
                None => taken.push(partition.0),
                Some(error) => {
                    failed.push(partition);
                    first_error.get_or_insert(error);
                }
            }
        }
        taken.sort_unstable();
        if !taken.is_empty() {
            metrics::partitions("taken", taken.len());
            tracing::info!(partitions = ?taken, "owns partitions");
        }
        match first_error {
            None => Ok(taken.len()),
            // One partition that cannot be begun must not keep the others from being served, here or elsewhere.
            Some(error) => self.cx.queue.release(&failed, token).await.and(Err(error)),
        }
    }

    /// Begins tenures, some at a time, each served as soon as it is begun. Tells which could not be begun. Leases are renewed
    /// meanwhile: with many partitions, or a slow queue, it may take longer than one lasts.
    async fn begin(
        &self,
        partitions: Vec<Partition>,
        token: Token,
        asked: Instant,
    ) -> Vec<(Partition, Option<Error>)> {
        let mut until = asked + self.lease;
        let begin = |partition: Partition| {
            let begun = Tenure::begin(partition, token, until, Arc::clone(&self.cx));
            async move { (partition, begun.await) }
        };
        let begins: Vec<_> = partitions.iter().map(|partition| begin(*partition)).collect();
        let mut begins = futures::stream::iter(begins).buffer_unordered(BEGIN_AT_ONCE);
        let mut done = Vec::with_capacity(partitions.len());
        let mut renewal = Instant::now() + self.renew;
        loop {
            // What is begun is handed over whole, and the others go on where they were.
            tokio::select! {
                begun = begins.next() => match begun {
                    None => return done,
                    Some((partition, Ok(tenure))) => {
                        tenure.renewed(until);
                        self.tenures.insert(tenure);
                        done.push((partition, None));
                    }
                    Some((partition, Err(error))) => done.push((partition, Some(error))),
                },
                () = sleep_until(renewal) => {
                    let asked = Instant::now();
                    // Those that were lost are found out by the next renewal of their tenure.
                    if self.cx.queue.renew(&partitions, token, self.lease).await.is_ok() {
                        until = asked + self.lease;
                    }
                    drop(self.renew().await);
                    drop(self.cx.queue.announce(&self.member, self.lease).await);
                    renewal = Instant::now() + self.renew;
                }
            }
        }
    }

    /// Drains a tenure and releases its partition, without holding up the others.
    fn give_back(self: &Arc<Self>, tenure: Arc<Tenure>) {
        let owner = Arc::clone(self);
        tenure.stopping.cancel();
        self.tenures.changed.notify_waiters();
        self.cx.tasks.spawn(format!("drain-partition-{}", tenure.partition.0), |_| async move {
            owner.end(&tenure).await;
            Ok(())
        });
    }

    async fn end(&self, tenure: &Tenure) {
        tenure.drain(self.grace).await;
        if !tenure.aborted.is_cancelled() {
            if let Err(error) = tenure.take_back_notes().await {
                tracing::warn!(
                    partition = tenure.partition.0,
                    error = &error as &dyn std::error::Error,
                    "cannot take back what was noted of chunks and not begun: it counts as one more death"
                );
            }
            match self.cx.queue.release(&[tenure.partition], tenure.token).await {
                Ok(()) => metrics::partitions("released", 1),
                Err(error) => tracing::warn!(
                    partition = tenure.partition.0,
                    error = &error as &dyn std::error::Error,
                    "cannot release a partition: its lease ends by itself"
                ),
            }
        }
        self.tenures.remove(tenure);
    }

    fn give_up_what_is_over(&self) {
        for tenure in self.tenures.all() {
            if tenure.lease_is_over() || tenure.aborted.is_cancelled() {
                self.lose(&tenure, "its lease could not be renewed");
            }
        }
    }

    fn lose(&self, tenure: &Tenure, why: &str) {
        if !tenure.aborted.is_cancelled() {
            metrics::partitions("lost", 1);
            tracing::warn!(partition = tenure.partition.0, "gives a partition up: {why}");
        }
        tenure.abort();
        self.tenures.remove(tenure);
    }

    /// Drains and releases everything. Leases are renewed meanwhile, so that nobody takes over what is being finished.
    async fn leave(self: &Arc<Self>) {
        let tenures = self.tenures.all();
        tenures.iter().for_each(|tenure| tenure.stopping.cancel());
        self.tenures.changed.notify_waiters();
        let ends = futures::future::join_all(tenures.iter().map(|tenure| self.end(tenure)));
        let renews = async {
            loop {
                sleep(self.renew).await;
                drop(self.renew().await);
                self.give_up_what_is_over();
            }
        };
        // The renewals end when everything is released.
        tokio::select! { _ = ends => {}, () = renews => {} }
        if let Err(error) = self.cx.queue.withdraw(&self.member.id).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "cannot say goodbye: the others will notice"
            );
        }
    }
}
