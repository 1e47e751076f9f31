//! What an event costs on 1, 2 and 4 deliverers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use super::Context;
use crate::{
    bench::{Bench, Measured},
    cost::by_process,
    figures::{Figure, Target},
    load::{Audience, Load},
    report::Outcome,
    setup::Wanted,
};

/// Accounts, and so partitions that have something to do.
const ACCOUNTS: usize = 16;
/// Events a second, the same for all: what more processes cost shows where each has less to do.
const UNBATCHED_RATE: u32 = 8_000;
const BATCHED_RATE: u32 = 16_000;
/// Events of a publish.
const BATCH: usize = 100;
/// Longest time that deliverers take to share the partitions.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// How much more an event may cost on four deliverers than on one.
const MOST: f64 = 1.1;

/// An installation with so many deliverers.
struct Installation {
    bench: Bench,
    deliverers: usize,
    unbatched: Audience,
    batched: Audience,
}

/// What one kind of sink cost, in the order of the installations, round by round.
#[derive(Default)]
struct Costs {
    each: [Vec<f64>; 3],
}

impl Costs {
    /// Of each round, what an event cost on one installation over what it cost on another.
    fn ratios(&self, of: usize, to: usize) -> Vec<f64> {
        self.each[of].iter().zip(&self.each[to]).map(|(of, to)| of / to).collect()
    }
}

/// Three installations take turns under the same load; each ratio is of two runs that follow one another.
pub(super) async fn scale(context: &Context) -> Result<Outcome> {
    let mut installations = Vec::new();
    for deliverers in [1, 2, 4] {
        installations.push(Installation::start(context, deliverers).await?);
    }
    let mut outcome = Outcome::default();
    let (mut unbatched, mut batched) = (Costs::default(), Costs::default());
    for round in 0..context.pairs {
        for (at, installation) in installations.iter().enumerate() {
            outcome.drift.sample();
            let measured = installation.run(context, &installation.unbatched, UNBATCHED_RATE);
            unbatched.each[at].push(noted(&mut outcome, measured.await?, round, installation));
            let measured = installation.run(context, &installation.batched, BATCHED_RATE);
            batched.each[at].push(noted(&mut outcome, measured.await?, round, installation));
        }
    }
    tell(&mut outcome, &unbatched, UNBATCHED);
    tell(&mut outcome, &batched, BATCHED);
    for installation in installations {
        installation.bench.stop().await?;
    }
    Ok(outcome)
}

/// What the figures are called: on 1, 2 and 4 deliverers, then 2 over 1 and 4 over 1.
type Names = [&'static str; 5];
const UNBATCHED: Names = [
    "unbatched, 1 deliverer: CPU-µs a delivery",
    "unbatched, 2 deliverers: CPU-µs a delivery",
    "unbatched, 4 deliverers: CPU-µs a delivery",
    "unbatched, 2 over 1",
    "unbatched, 4 over 1",
];
const BATCHED: Names = [
    "batched, 1 deliverer: CPU-µs a delivery",
    "batched, 2 deliverers: CPU-µs a delivery",
    "batched, 4 deliverers: CPU-µs a delivery",
    "batched, 2 over 1",
    "batched, 4 over 1",
];

fn tell(outcome: &mut Outcome, costs: &Costs, names: Names) {
    for (name, each) in names.into_iter().zip(&costs.each) {
        outcome.figure(Figure::median(name, each.clone(), None));
    }
    outcome.figure(Figure::median(names[3], costs.ratios(1, 0), None));
    outcome.figure(Figure::median(names[4], costs.ratios(2, 0), Some(Target::AtMost(MOST))));
}

/// What a delivery cost; the first round also says whom.
fn noted(
    outcome: &mut Outcome,
    measured: Measured,
    round: usize,
    installation: &Installation,
) -> f64 {
    if round == 0 {
        outcome.note(format!(
            "{} deliverers, CPU-µs a delivery (peak RSS): {}",
            installation.deliverers,
            by_process(&measured.costs, measured.received.deliveries)
        ));
    }
    measured.cpu_us()
}

impl Installation {
    async fn start(context: &Context, deliverers: usize) -> Result<Self> {
        let bench = Bench::with_deliverers(&context.millrace, deliverers).await?;
        let wanted = Wanted { accounts: ACCOUNTS, ..Wanted::default() };
        let unbatched = bench.audience(wanted).await?;
        let wanted = Wanted { batch_events: true, first: ACCOUNTS, ..wanted };
        let batched = bench.audience(wanted).await?;
        let installation = Self { bench, deliverers, unbatched, batched };
        installation.shared().await?;
        for audience in [&installation.unbatched, &installation.batched] {
            installation.bench.run(&Load::steady(audience, 2_000)).await?;
        }
        Ok(installation)
    }

    async fn run(&self, context: &Context, audience: &Audience, rate: u32) -> Result<Measured> {
        let events = usize::try_from(rate * context.seconds(5))?;
        self.bench.run(&Load { batch: BATCH, ..Load::paced(audience, events, rate) }).await
    }

    /// Waits until every deliverer has its share of the partitions.
    async fn shared(&self) -> Result<()> {
        let redis = self.bench.stack.redis().context("services stand on Redis")?;
        let started = Instant::now();
        while redis.owners().await? != Some(self.deliverers) {
            ensure!(started.elapsed() < PATIENCE, "the partitions are not shared");
            sleep(PAUSE).await;
        }
        Ok(())
    }
}
