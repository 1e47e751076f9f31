//! The judge of every fault: what was acknowledged is delivered, quarantined, or dropped with a report; what came again was
//! unsettled when something broke.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use millrace_testkit::receiver::Receiver;
use tokio::time::sleep;

use crate::{Load, Published, Stack};

/// How long nothing may move before what is missing is taken for lost.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// What became of all events of a test on servers.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What producers noted.
    pub published: Published,
    /// Ids that a receiver accepted.
    pub delivered: BTreeSet<String>,
    /// Ids that were dropped with a report.
    pub dropped: BTreeSet<String>,
    /// Ids in chunks that were quarantined, which an operator may send on their way again.
    pub quarantined: BTreeSet<String>,
    /// How often an event was accepted once more.
    pub duplicates: usize,
}

impl Verdict {
    /// Ends producers, and waits until each event that was acknowledged has its fate; prints what became of them. Each
    /// event is for one sink.
    ///
    /// # Panics
    /// If one is lost, or a signature was wrong.
    pub async fn of(stack: &mut Stack, load: Load, receivers: &[&Receiver]) -> Self {
        Self::on(stack, load.stop().await, receivers).await
    }

    /// As [`Verdict::of`], of what was published before.
    ///
    /// # Panics
    /// As [`Verdict::of`].
    pub async fn on(stack: &mut Stack, published: Published, receivers: &[&Receiver]) -> Self {
        let mut missing: Vec<&String> = published.acknowledged.iter().collect();
        let (mut dropped, mut quarantined) = (BTreeSet::new(), BTreeSet::new());
        let mut since = Instant::now();
        // What was found is not looked for again: the receivers are busy in this very process.
        while !missing.is_empty() {
            let before = missing.len();
            missing.retain(|id| !receivers.iter().any(|receiver| receiver.has_accepted(id)));
            if !missing.is_empty() {
                let drops = stack.servers().dropped().await;
                dropped.extend(drops.into_iter().map(|drop| drop.event_id));
                quarantined = stack.servers().quarantined_ids().await;
                missing.retain(|id| !dropped.contains(*id) && !quarantined.contains(*id));
            }
            if missing.len() < before {
                since = Instant::now();
            }
            if since.elapsed() > PATIENCE {
                let (lost, parked) = (missing.len(), stack.servers().parked_events().await);
                let some: Vec<_> = missing.iter().take(20).collect();
                panic!("{lost} are lost, as {some:?}; {parked} stay parked");
            }
            sleep(PAUSE).await;
        }
        let delivered = receivers.iter().flat_map(|receiver| receiver.accepted_ids()).collect();
        let duplicates = receivers.iter().map(|receiver| receiver.duplicates()).sum();
        let verdict = Self { published, delivered, dropped, quarantined, duplicates };
        for receiver in receivers {
            assert_eq!(receiver.signature_failures(), [""; 0]);
        }
        verdict.print();
        verdict
    }

    /// As [`Verdict::on`], of events that were all acknowledged.
    ///
    /// # Panics
    /// As [`Verdict::of`].
    pub async fn on_ids(stack: &mut Stack, ids: &[String], receivers: &[&Receiver]) -> Self {
        let acknowledged = ids.iter().cloned().collect();
        let published = Published { sent: ids.len(), acknowledged, ..Published::default() };
        Self::on(stack, published, receivers).await
    }

    fn print(&self) {
        println!(
            "{} acknowledged, {} publishes failed: {} delivered, {} dropped with a report, {} quarantined, 0 lost; {} came again; slowest publish {:?}",
            self.published.acknowledged.len(),
            self.published.failures,
            self.delivered.len(),
            self.dropped.len(),
            self.quarantined.len(),
            self.duplicates,
            self.published.slowest,
        );
    }
}
